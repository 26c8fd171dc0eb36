"""What can time a step: one probe per device, our own and plug-ins of the entry-point group `qvla_bench.timing`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

from bench.errors import UsageError, lookup
from bench.timing.peaks import Peaks

GROUP = "qvla_bench.timing"
"""Entry points of this group are callables without arguments that give a `TimingProbe`."""

BUILTIN = (
    EntryPoint("rtx4070", "bench.timing.rtx4070:Rtx4070Probe", GROUP),
    EntryPoint("orin", "bench.timing.orin:OrinProbe", GROUP),
    EntryPoint("cuda", "bench.timing.cuda:CudaProbe", GROUP),
    EntryPoint("cpu", "bench.timing.cpu:CpuProbe", GROUP),
)
"""Probes that come with the project; written here so that a checkout works without being installed. A device before
the kind of device that it is."""

AUTO = "auto"
"""In place of a device: the first that this machine has, plug-ins before our own."""


class Watch(Protocol):
    """Listens to the device while something is timed. Used as a context manager, once."""

    def __enter__(self) -> Watch: ...

    def __exit__(self, *exception: object) -> None: ...

    def to_json(self) -> dict[str, Any]:
        """What was heard: `power_w` and whatever else the device tells, each with n, median, least and greatest.

        Something that the device does not tell is absent; `reason` says why nothing was heard at all.
        """


class TimingProbe(Protocol):
    """A clock that knows when a step on its device has really ended."""

    device: str
    """Name of the device, and of the file of its measurements."""
    torch_device: str
    """Where a network must lie to run on it, as `torch.device` names it."""
    measures_power: bool
    """Whether its watch tells `power_w`."""
    peaks: Peaks | None
    """What its maker publishes, None where nothing is."""

    def unavailable(self) -> str | None:
        """Why this machine cannot be timed with it, or None if it can."""

    def once_ms(self, step: Callable[[], object]) -> float:
        """Milliseconds of one call of `step`, until its result is ready."""

    def facts(self) -> dict[str, Any]:
        """What stays the same while timing: the device's name, driver, power mode."""

    def watch(self) -> Watch:
        """A new listener."""


def devices() -> list[str]:
    """Names of all probes, the most special ones first: plug-ins, then our own."""
    return list(_table())


def open_probe(device: str) -> TimingProbe:
    """The probe of a device, or of the first available one for "auto".

    Raises `UsageError` with the near match for an unknown name, and for a plug-in that cannot be loaded.
    """
    if device != AUTO:
        return _loaded(lookup("device", device, _table()))
    for entry in _table().values():
        probe = _loaded(entry)
        if probe.unavailable() is None:
            return probe
    raise UsageError("no device of this machine can be timed; `qvla-bench list` says why")


def absent(device: str) -> str | None:
    """Why a device of `devices` cannot be timed on this machine, its plug-in being broken included; None if it can."""
    try:
        return open_probe(device).unavailable()
    except UsageError as error:
        return str(error)


def _loaded(entry: EntryPoint) -> TimingProbe:
    try:
        return entry.load()()
    except Exception as error:
        package = f" of package {entry.dist.name}" if entry.dist else ""
        raise UsageError(f"the plug-in {entry.name} = {entry.value}{package} cannot be loaded ({type(error).__name__}: "
                         f"{error}); mend it, remove it, or name another device with --device") from error


def _table() -> dict[str, EntryPoint]:
    table = {entry.name: entry for entry in entry_points(group=GROUP)}
    return table | {entry.name: entry for entry in BUILTIN if entry.name not in table}
