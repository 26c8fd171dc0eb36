"""What can time a step: one probe per device, our own and plug-ins of the entry-point group `qvla_bench.timing`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from bench.errors import lookup

GROUP = "qvla_bench.timing"
"""Entry points of this group are callables without arguments that give a `TimingProbe`."""

BUILTIN = (EntryPoint("cpu", "bench.timing.cpu:CpuProbe", GROUP),)
"""Probes that come with the project; written here so that a checkout works without being installed."""


class TimingProbe(Protocol):
    """A clock that knows when a step on its device has really ended."""

    device: str
    """Name of the device, and of the file of its measurements."""

    def unavailable(self) -> str | None:
        """Why this machine cannot be timed with it, or None if it can."""

    def once_ms(self, step: Callable[[], object]) -> float:
        """Wall milliseconds of one call of `step`, until its result is ready."""


def devices() -> list[str]:
    """Names of all probes, installed ones included."""
    return sorted(_table())


def open_probe(device: str) -> TimingProbe:
    """The probe of a device; raises `UsageError` with the near match for an unknown name."""
    return lookup("device", device, _table()).load()()


def _table() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in (*BUILTIN, *entry_points(group=GROUP))}
