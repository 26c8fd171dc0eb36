"""Which policies there are: one literal table, name -> "module:Class" and what it needs.

Nothing is imported until a policy is built, so an unknown name costs nothing. Every class is built without
arguments and is a `policies.base.Policy`; one marked `quantizable` is a `QuantizablePolicy` as well. A family stands
for names that nobody can list, such as `remote:ws://HOST:PORT`; its class takes what is behind the colon.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from policies.conventions import INSTRUCTION, OPEN_CLOSE, POSE_AND_FINGERS, Conventions


@dataclass(frozen=True)
class PolicyEntry:
    """One policy of the table."""

    target: str
    """"module:Class"; the class takes no arguments."""
    suites: tuple[str, ...]
    """Suites it was made for; the first entry that names a suite is that suite's default policy. () for a family whose
    members nothing here knows: no suite is refused."""
    quantizable: bool
    """Whether it has a network that a quantizer may rewrite."""
    weights: str | None
    """Folder of its checkpoint below the package root, or None if it has none; its digest is part of every result."""
    needs: str
    """What must be on the machine, in words."""
    trained_on: Conventions | None = None
    """What its network was trained to be shown and to answer, compared with the protocol of every run; None if that is
    not known, which every result then says."""
    reference: str | None = None
    """What stands behind the colon of a family's name, and is given to the class; None outside of families."""

    def made_for(self, suite: str) -> bool:
        """Whether it may run on `suite`."""
        return not self.suites or suite in self.suites


_TRUTH = Conventions(cameras=(), state=POSE_AND_FINGERS, horizon=1, gripper=OPEN_CLOSE, sampling=False)
"""A scripted policy that reads simulator truth."""

_POCKET_SUITES = ("libero_object",)
"""Suites that the pocket policies were trained on."""
_POCKET_NEEDS = "torch and transformers on a CPU; weights are in the package (`make pocket` trains them again)"
_POCKET = Conventions(("agentview", "wrist"), 128, mirrored=False, jpeg=False, resize="none", crop_area=1.0,
                      state=POSE_AND_FINGERS, prompt=INSTRUCTION, horizon=8, gripper=OPEN_CLOSE, sampling=False)


POLICIES: Mapping[str, PolicyEntry] = {
    "pocket-oft": PolicyEntry("policies.pocket.oft:PocketOFT", _POCKET_SUITES, True,
                              "policies/pocket/weights/pocket-oft", _POCKET_NEEDS, _POCKET),
    "pocket-token": PolicyEntry("policies.pocket.token:PocketToken", _POCKET_SUITES, True,
                                "policies/pocket/weights/pocket-token", _POCKET_NEEDS, _POCKET),
    "pocket-flow": PolicyEntry("policies.pocket.flow:PocketFlow", _POCKET_SUITES, True,
                               "policies/pocket/weights/pocket-flow", _POCKET_NEEDS, replace(_POCKET, sampling=True)),
    "expert": PolicyEntry(
        "policies.experts.expert:Expert", ("libero_object",), False, None,
        "simulator truth: it reads object poses, no images", _TRUTH),
    "toy-vla": PolicyEntry(
        "policies.toy_vla:ToyVLA", ("toy",), True, None, "torch on a CPU; its weights are computed, not trained",
        Conventions(("agentview",), 32, mirrored=False, jpeg=False, resize="none", crop_area=1.0,
                    state=POSE_AND_FINGERS, prompt=INSTRUCTION, horizon=8, gripper=OPEN_CLOSE, sampling=False)),
    "toy-scripted": PolicyEntry(
        "policies.scripted:ToyScripted", ("toy",), False, None, "simulator truth of the toy world",
        replace(_TRUTH, horizon=8)),
}
"""Policy name -> entry."""

FAMILIES: Mapping[str, PolicyEntry] = {
    "remote": PolicyEntry(
        "policies.remote.policy:RemotePolicy", (), False, None,
        "a policy server that speaks openpi's protocol at ws://HOST:PORT, such as `qvla-bench serve`, and the extra "
        "`serve`"),
}
"""Family -> entry of all its names, `FAMILY:REFERENCE`."""


def find_entry(name: str) -> PolicyEntry | None:
    """The entry of a policy's name, None if there is no such policy."""
    family, _, reference = name.partition(":")
    if family in FAMILIES and reference:
        return replace(FAMILIES[family], reference=reference)
    return POLICIES.get(name)


def policy_class(entry: PolicyEntry) -> Any:
    """The class of an entry."""
    module, _, attribute = entry.target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def open_policy(entry: PolicyEntry) -> Any:
    """The policy of an entry."""
    kind = policy_class(entry)
    return kind() if entry.reference is None else kind(entry.reference)
