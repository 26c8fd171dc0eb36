"""NVIDIA GeForce RTX 4070, the desktop card, and no other: not the Ti, the SUPER or the laptop's."""

from __future__ import annotations

from bench.timing.cuda import CudaProbe
from bench.timing.peaks import Peaks

NAME = "NVIDIA GeForce RTX 4070"


class Rtx4070Probe(CudaProbe):
    """See `bench.timing.probe.TimingProbe`."""

    device = "rtx4070"
    peaks = Peaks(bandwidth_gb_s=504.0, int8_tops=233.0, half_tflops=116.5, source=(
        "NVIDIA's product page of the GeForce RTX 4070: 12 GB GDDR6X on 192 bits at 21 Gbit/s; 466 sparse tensor "
        "operations (10¹² a second) of 8 bits, of which dense ones are half, and half-precision ones a quarter"))

    def unavailable(self) -> str | None:
        """Refuses every other card by name."""
        import torch

        return super().unavailable() or _wrong_card(torch.cuda.get_device_name(0))


def _wrong_card(name: str) -> str | None:
    return None if name == NAME else f"this card is {name!r}, not {NAME!r}; --device cuda times any card"
