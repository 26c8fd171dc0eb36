"""What was really quantized, layer by layer, with the bytes that were counted rather than computed from a formula.

Two measures of size, never mixed: *storage* is what a file of the weights takes (packed codes, everything kept as
float16) and *held* is what the process keeps in memory (on a CPU the kept parts are float32). A ratio is only fair
between two numbers of the same kind.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["quantized", "kept", "unsupported"]


@dataclass(frozen=True)
class LayerAudit:
    """What became of one Linear."""

    name: str
    """Dotted name inside the module."""
    role: str
    """The part of the network it belongs to."""
    status: Status
    """`kept` by choice of the method, `unsupported` if the method wanted it and could not have it."""
    reason: str | None
    """Why it was not quantized, or what is remarkable; None if there is nothing to say."""
    bits: Mapping[str, int]
    """Width in bits -> number of output channels."""
    bytes_before: int
    """Storage as float16, with the bias."""
    bytes_after: int
    """Storage now, with scales, widths and bias."""
    metadata_bytes: int
    """Scales and widths, part of `bytes_after`."""


@dataclass(frozen=True)
class QuantAudit:
    """What became of a policy's module."""

    method: str
    """Registry name of the method."""
    config: Mapping[str, Any]
    """The method's config as JSON."""
    backend: str
    """`none` (nothing quantized), `reference`, `cpu` or `mixed`; the last two give equal results."""
    integer_arithmetic: bool
    """True if the quantized layers multiply integers; only then may a speed-up be claimed."""
    calibration_digest: str | None
    """Digest of the calibration set, None if the method used none."""
    storage_bytes_full: int
    """Bytes of a file of the full-precision module as float16."""
    storage_bytes: int
    """Bytes of a file of the quantized module: packed layers, the rest as float16."""
    held_bytes_full: int
    """Bytes in memory of all parameters and buffers before."""
    held_bytes: int
    """Bytes in memory of all parameters and buffers now."""
    component_bytes_full: int
    """Storage as float16 of the layers that were quantized."""
    component_bytes: int
    """Storage now of the layers that were quantized, with scales and widths."""
    mean_bits: float
    """Mean over the output channels of the quantized layers (of all Linears if none is quantized)."""
    mean_bits_per_weight: float
    """Bits of codes, scales and widths per weight of the same layers."""
    layers: tuple[LayerAudit, ...]
    """One entry for every Linear, in forward order."""
    calibration_episodes: tuple[str, ...] = ()
    """The episodes that the calibration set comes from, each once; none of them may be evaluated on."""
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    """What the method measured about itself, such as the rank correlation of its sensitivity."""

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers for `json.dumps`."""
        lists = {"layers": [dataclasses.asdict(layer) for layer in self.layers],
                 "calibration_episodes": list(self.calibration_episodes)}
        return dataclasses.asdict(self) | lists

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> QuantAudit:
        """The audit that `to_json` wrote. Raises TypeError for unknown or missing fields."""
        tuples = {"layers": tuple(LayerAudit(**layer) for layer in data["layers"]),
                  "calibration_episodes": tuple(data.get("calibration_episodes", ()))}
        return cls(**{**data, **tuples})
