"""The traces of one group of paired episodes as a script file.

A page that was opened as a file may not read other files, but it may run scripts that lie beside it. So each group
is one small script that hands its numbers to the page, loaded when the group is first looked at.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.trace import read_trace

ACTIONS = tuple(f"a{i}" for i in range(7))
COLUMNS = ("decision", *ACTIONS, "x", "y", "z", "g0", "g1")
MM_PER_M = 1000.0


def group_script(group_id: str, traces: Sequence[tuple[str, Path]], baselines: dict[str, str | None]) -> str:
    """The script of a group: `REVIEW_EPISODE(id, {variant_id: trace})`.

    `traces` are (variant_id, Parquet file); `baselines` says which variant's path a variant's distance is taken from.
    Each trace has per control step `actions` (7 lists, raw units), `position_mm` (3 lists), `gripper_mm` (opening),
    `distance_mm` (to full precision while both moved, None without it) and `looks` (steps at which the policy looked).
    Raises `CorruptRun` if a file lacks a column.
    """
    frames = {variant_id: read_trace(path, COLUMNS) for variant_id, path in traces}
    content = {}
    for variant_id, frame in frames.items():
        reference = frames.get(baselines.get(variant_id) or "")
        content[variant_id] = _trace(frame, reference)
    text = json.dumps([group_id, content], allow_nan=False, separators=(",", ":"))
    return f"REVIEW_EPISODE(...{text});\n"


def _trace(frame: pd.DataFrame, reference: pd.DataFrame | None) -> dict[str, Any]:
    position = MM_PER_M * frame[["x", "y", "z"]].to_numpy(np.float64)
    decisions = frame["decision"].to_numpy()
    looks = np.flatnonzero(np.diff(decisions, prepend=-1))
    distance = None
    if reference is not None:
        other = MM_PER_M * reference[["x", "y", "z"]].to_numpy(np.float64)
        both = min(len(position), len(other))
        distance = np.linalg.norm(position[:both] - other[:both], axis=1).round(2).tolist()
    return {
        "actions": [frame[name].to_numpy(np.float64).round(4).tolist() for name in ACTIONS],
        "position_mm": position.T.round(1).tolist(),
        # The two fingers move apart along one axis, with opposite signs.
        "gripper_mm": (MM_PER_M * (frame["g0"] - frame["g1"])).abs().round(1).tolist(),
        "distance_mm": distance,
        "looks": looks.tolist(),
    }
