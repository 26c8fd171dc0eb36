"""Read the trace of an episode, a Parquet file with a row per control step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from reports.load import CorruptRun


def read_trace(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """These columns of a trace; raises `CorruptRun` that names the file if it lacks one or is no Parquet file."""
    try:
        return pd.read_parquet(path, columns=list(columns))
    except (OSError, ValueError) as error:
        raise CorruptRun(f"{path} is not a trace with the columns {', '.join(columns)}: {error}") from error
