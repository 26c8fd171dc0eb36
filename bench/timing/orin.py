"""NVIDIA Jetson AGX Orin: CUDA events for time, tegrastats for power rails, clocks and heat, nvpmodel for the mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.timing import tegrastats
from bench.timing.cuda import CudaProbe, CudaWatch
from bench.timing.monitor import Monitor
from bench.timing.peaks import Peaks

BOARD = "Jetson AGX Orin"
MODEL_FILE = Path("/proc/device-tree/model")
"""Where the kernel of a board with a device tree says what it is."""
RELEASE_FILE = Path("/etc/nv_tegra_release")
"""Version of Jetson Linux."""


class OrinProbe(CudaProbe):
    """See `bench.timing.probe.TimingProbe`."""

    device = "orin"
    peaks = Peaks(bandwidth_gb_s=204.8, int8_tops=85.0, half_tflops=42.5, source=(
        "NVIDIA Jetson AGX Orin Series technical brief, 64 GB module in mode MAXN: 256-bit LPDDR5; 170 sparse INT8 "
        "operations (10¹² a second) of the GPU alone, of which dense ones are half, and half-precision ones a quarter"))

    def unavailable(self) -> str | None:
        """Refuses every other board by name."""
        return _wrong_board(_text(MODEL_FILE)) or super().unavailable()

    def facts(self) -> dict[str, Any]:
        """Board, Jetson Linux, power mode, CUDA."""
        import torch

        return {"name": _text(MODEL_FILE), "cuda": torch.version.cuda, "jetson_linux": _text(RELEASE_FILE),
                **tegrastats.power_mode()}

    def watch(self) -> CudaWatch:
        """Rails, clocks and heat from tegrastats, memory from PyTorch."""
        return CudaWatch(Monitor(tegrastats.stream_command(), tegrastats.parse_stream))


def _wrong_board(model: str | None) -> str | None:
    if model is None:
        return f"{MODEL_FILE} is missing, so this is no {BOARD}"
    return None if BOARD in model else f"this board is {model!r}, not a {BOARD}"


def _text(file: Path) -> str | None:
    # The device tree ends its texts with a zero byte.
    return file.read_text(errors="replace").strip("\x00\n ") if file.is_file() else None
