"""From normalized numbers to the robot's and back, with the quantiles that a checkpoint brings.

`dataset_statistics.json` holds, per data set, the 1 and 99 % quantiles of actions and proprioception; the interval
between them became [-1, 1] in training, but for the dimensions that the mask leaves out (the gripper).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

EPSILON = 1e-8
"""Added to the width of the interval by OpenVLA-OFT, and for proprioception by everybody."""


@dataclass(frozen=True)
class Bounds:
    """The interval of each dimension."""

    low: tuple[float, ...]
    """1 % quantiles."""
    high: tuple[float, ...]
    """99 % quantiles."""
    mask: tuple[bool, ...]
    """False for a dimension that is not normalized."""

    @classmethod
    def of(cls, data: Any, dimensions: int, what: str) -> Bounds:
        """From the JSON of one quantity. Raises ValueError naming what is missing or has another length."""
        if not isinstance(data, Mapping):
            raise ValueError(f"there are no statistics of the {what}")
        mask = data.get("mask", [True] * dimensions)
        for name, values in (("q01", data.get("q01")), ("q99", data.get("q99")), ("mask", mask)):
            if not isinstance(values, list) or len(values) != dimensions:
                raise ValueError(f"the statistics of the {what} have {name} {values!r}; it must be {dimensions} values")
        return cls(tuple(map(float, data["q01"])), tuple(map(float, data["q99"])), tuple(map(bool, mask)))

    def unnormalized(self, values: np.ndarray, epsilon: float = 0.0) -> np.ndarray:
        """float64[..., N] in [-1, 1] to the robot's units; what is masked out stays as it is."""
        low, high = np.array(self.low), np.array(self.high)
        return np.where(self.mask, 0.5 * (values + 1) * (high - low + epsilon) + low, values)

    def normalized(self, values: np.ndarray) -> np.ndarray:
        """float64[..., N] in the robot's units to [-1, 1], clipped."""
        low, high = np.array(self.low), np.array(self.high)
        return np.clip(np.where(self.mask, 2 * (values - low) / (high - low + EPSILON) - 1, values), -1, 1)


def of_suite(statistics: Mapping[str, Any], suite: str | None, where: str) -> Mapping[str, Any]:
    """The statistics of the data set of `suite`, also under the name that data without pauses has.

    Raises ValueError, with the data sets that there are, if it is not among them, or if there are several and no suite
    was named.
    """
    keys = ", ".join(statistics) or "none"
    if suite is None:
        if len(statistics) != 1:
            raise ValueError(f"{where} has statistics of {keys}; name the suite: FAMILY:SUITE=FOLDER")
        return next(iter(statistics.values()))
    for key in (suite, f"{suite}_no_noops"):
        if key in statistics:
            return statistics[key]
    raise ValueError(f"{where} has no statistics for suite {suite!r}, so its actions have no units; it has {keys}")


def to_robot(actions: np.ndarray, low: float, high: float) -> np.ndarray:
    """Actions float64[..., 7] of the network's convention, gripper from 0, close, to 1, open, as legal float32 ones.

    The gripper is binarized and inverted; translation and rotation are clipped to the limits of the controller.
    """
    legal = np.clip(actions, low, high).astype(np.float32)
    legal[..., -1] = -np.sign(2 * actions[..., -1] - 1)
    return legal
