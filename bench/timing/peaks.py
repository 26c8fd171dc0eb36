"""What the maker of a device publishes of it, for estimates that are labelled as such and never mixed with timings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peaks:
    """Upper bounds that no program exceeds."""

    bandwidth_gb_s: float
    """Gigabytes (10⁹) that the memory delivers in a second."""
    int8_tops: float
    """Dense integer operations in a second, 10¹²; a multiplication with addition counts as two."""
    half_tflops: float
    """Dense operations in half precision in a second, 10¹²."""
    source: str
    """Where the figures are published."""
