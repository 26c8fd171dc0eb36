"""An episode as one Parquet file: a row per control step, and the rest as JSON in the file's metadata."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.demos.episode import Episode

COLUMNS = {
    "states": "observation.state", "actions": "action", "succeeded": "next.success", "simulator": "simulator_state",
    "shown": "shown_positions", "decisions": "is_decision", "chunks": "expert_chunk", "focus": "focus",
    "expert_drives": "expert_drives", "noise": "noise_scale",
}
"""Array of an `Episode` -> column."""
_KEY = b"qvla_bench.episode"


def column(values: np.ndarray) -> pa.Array:
    """A row per first index; what a row has beyond one number is flattened to a list of fixed length."""
    if values.ndim == 1:
        return pa.array(values)
    width = values[0].size
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), width)


def save(path: Path, episode: Episode) -> None:
    """Write one episode; the file appears whole or not at all."""
    plain = {f.name: getattr(episode, f.name) for f in fields(Episode) if f.name not in COLUMNS}
    plain["fixtures"] = episode.fixtures.tolist()
    table = pa.table({name: column(getattr(episode, array)) for array, name in COLUMNS.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    pq.write_table(table.replace_schema_metadata({_KEY: json.dumps(plain)}), draft, compression="zstd")
    draft.replace(path)


def facts(path: Path) -> dict[str, Any]:
    """The fields of an episode that are not arrays, and `length`, its number of control steps; reads no row."""
    read = pq.read_metadata(path)
    return json.loads(read.metadata[_KEY]) | {"length": read.num_rows}


def load(path: Path) -> Episode:
    """Read one episode."""
    table = pq.read_table(path)
    plain = json.loads(table.schema.metadata[_KEY])
    plain["fixtures"] = np.array(plain["fixtures"], dtype=np.float64).reshape(-1, 7)
    arrays = {array: values(table, name) for array, name in COLUMNS.items()}
    arrays["chunks"] = arrays["chunks"].reshape(table.num_rows, -1, 7)
    return Episode(**plain, **arrays)


def values(table: pa.Table, name: str) -> np.ndarray:
    """A column as an array, lists as its second axis."""
    array = table[name].combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0)
    if pa.types.is_fixed_size_list(array.type):
        return array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), -1)
    return array.to_numpy(zero_copy_only=False)
