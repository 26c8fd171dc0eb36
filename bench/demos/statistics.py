"""Minimum, maximum, mean and spread of a column, for each episode and of all episodes together, as LeRobot has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def of_array(values: np.ndarray) -> dict[str, list]:
    """Statistics of T rows, each a list with one number per column; "count" is T."""
    table = values.reshape(len(values), -1).astype(np.float64)
    found = {name: getattr(table, name)(0).tolist() for name in ("min", "max", "mean", "std")}
    return found | {"count": [len(table)]}


def merged(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list]]:
    """Statistics of the rows of all episodes from the columns "stats/FEATURE/NAME" of each."""
    features = [name.removeprefix("stats/").removesuffix("/count") for name in rows[0] if name.endswith("/count")]
    found = {}
    for feature in features:
        part = {name: np.array([row[f"stats/{feature}/{name}"] for row in rows], dtype=np.float64)
                for name in ("min", "max", "mean", "std", "count")}
        weight = (part["count"] / part["count"].sum()).reshape(-1, *[1] * (part["mean"].ndim - 1))
        mean = (weight * part["mean"]).sum(0)
        variance = (weight * (part["std"] ** 2 + (part["mean"] - mean) ** 2)).sum(0)
        found[feature] = {
            "min": part["min"].min(0).tolist(), "max": part["max"].max(0).tolist(), "mean": mean.tolist(),
            "std": np.sqrt(variance).tolist(), "count": [int(part["count"].sum())],
        }
    return found
