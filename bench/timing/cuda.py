"""Any CUDA device: the time between two events on the stream, so launching ahead of the device is not mistaken for
speed. Clocks, throttling, power and memory are read beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.timing import nvidia_smi
from bench.timing.monitor import Monitor
from bench.timing.peaks import Peaks


class CudaProbe:
    """See `bench.timing.probe.TimingProbe`. Device 0; choose another with CUDA_VISIBLE_DEVICES."""

    device = "cuda"
    torch_device = "cuda"
    measures_power = True
    peaks: Peaks | None = None

    def unavailable(self) -> str | None:
        """Without a CUDA device and a PyTorch that drives it there is nothing to time."""
        import torch

        if torch.cuda.is_available():
            return None
        built = torch.version.cuda or "no CUDA"
        return f"PyTorch {torch.__version__} (built for {built}) sees no CUDA device"

    def once_ms(self, step: Callable[[], object]) -> float:
        """Milliseconds between an event before the call and one after it, once both have happened."""
        import torch

        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        step()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end))

    def facts(self) -> dict[str, Any]:
        """Name, compute capability, CUDA version; driver and limits from nvidia-smi."""
        import torch

        return {"name": torch.cuda.get_device_name(0), "capability": list(torch.cuda.get_device_capability(0)),
                "cuda": torch.version.cuda, "card": nvidia_smi.static_facts()}

    def watch(self) -> CudaWatch:
        """Clocks and power from nvidia-smi, memory from PyTorch."""
        return CudaWatch(Monitor(nvidia_smi.stream_command(), nvidia_smi.parse_stream))


class CudaWatch:
    """A monitor, and the greatest memory that PyTorch held meanwhile."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._memory: dict[str, int] = {}

    def __enter__(self) -> CudaWatch:
        import torch

        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        self._before = torch.cuda.memory_allocated()
        self._monitor.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        import torch

        torch.cuda.synchronize()
        self._monitor.__exit__(*exception)
        self._memory = {"allocated_before_bytes": self._before,
                        "peak_allocated_bytes": torch.cuda.max_memory_allocated(),
                        "peak_reserved_bytes": torch.cuda.max_memory_reserved()}

    def to_json(self) -> dict[str, Any]:
        """Readings of the monitor, and PyTorch's memory."""
        return self._monitor.to_json() | {"memory": self._memory}
