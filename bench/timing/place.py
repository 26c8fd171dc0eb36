"""Whether and how a policy gets onto the device where it is timed or plays."""

from __future__ import annotations

from typing import Any

from bench.errors import UsageError
from bench.timing.probe import TimingProbe
from policies.base import MovablePolicy


def cannot_move(policy: Any, name: str, probe: TimingProbe) -> str | None:
    """Why `policy` (or its class) cannot run where `probe` times, or None if it can.

    A network that stays on the CPU while a card's clock runs would give figures under a wrong name.
    """
    if probe.torch_device == "cpu" or callable(getattr(policy, "to", None)):
        return None
    return (f"policy {name!r} runs on the CPU only: it has no method `to`, which would move it to "
            f"{probe.torch_device!r}")


def place(policy: Any, name: str, device: str) -> None:
    """Put the policy called `name` onto `device`, a name of `torch.device`.

    Raises `UsageError` if it cannot move, or the machine has no such device.
    """
    import torch

    if not isinstance(policy, MovablePolicy):
        raise UsageError(f"policy {name!r} runs on the CPU only: it has no method `to`; give --policy-device cpu")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        words = str(error).splitlines()[0]
        raise UsageError(f"policy-device {device!r} is none of this machine's ({words}); legal is cpu, or cuda, cuda:1 "
                         "and so on where PyTorch sees such a card") from error
    policy.to(device)


def move(policy: Any, probe: TimingProbe) -> None:
    """Put the policy's network, and whatever it gives to it, onto the device."""
    if isinstance(policy, MovablePolicy):
        policy.to(probe.torch_device)
