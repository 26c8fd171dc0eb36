"""Which policies there are: one literal table, name -> "module:Class" and what it needs.

Nothing is imported until a policy is built, so an unknown name costs nothing. Every class is a `policies.base.Policy`;
one marked `quantizable` is a `QuantizablePolicy` as well. It is built without arguments, or, where an entry `takes`
something, with what its name has behind a colon, as in `openvla-oft:libero_10`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from policies.conventions import INSTRUCTION, OPEN_CLOSE, OPEN_ONE, OPENVLA_PROMPT, POSE_AND_FINGERS, Conventions


@dataclass(frozen=True)
class PolicyEntry:
    """One policy of the table."""

    target: str
    """"module:Class"; the class takes `argument` if the entry `takes` something, else nothing."""
    suites: tuple[str, ...]
    """Suites it was made for; the first entry that names a suite and takes nothing is that suite's default policy."""
    quantizable: bool
    """Whether it has a network that a quantizer may rewrite."""
    weights: str | None
    """Folder of its checkpoint below the package root, or None if it has none; its digest is part of every result."""
    needs: str
    """What must be on the machine, in words."""
    trained_on: Conventions | None = None
    """What its network was trained to be shown and to answer, compared with the protocol of every run; None if that is
    not known, which every result then says."""
    _: KW_ONLY
    denoises: bool = False
    """Whether its network turns noise into actions in steps; methods that correct such a head are refused otherwise."""
    takes: str | None = None
    """What a name has behind its colon, in words; None for an entry that is one policy and has no colon."""
    resolve: str | None = None
    """"module:function" of an entry that `takes` something: from what was typed behind the colon ("" if nothing was)
    and the suite of the run (None if there is none) to its full form, which alone decides what the class builds. It
    imports no torch and raises ValueError for what cannot be."""
    folder: str | None = None
    """"module:function" from the full form to the folder of the checkpoint, whose digest is part of every result, or
    None if there is no checkpoint here. It may download; raises `policies.errors.PolicyError` that says what to do."""
    argument: str | None = None
    """What stands behind the colon; None in the table."""


_TRUTH = Conventions(cameras=(), state=POSE_AND_FINGERS, horizon=1, gripper=OPEN_CLOSE, sampling=False)
"""A scripted policy that reads simulator truth."""

_LIBERO = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
"""The four suites that policies are trained on: the pocket policies here, and OpenVLA's family as published."""
_OPENVLA = Conventions(("agentview",), 256, mirrored=True, jpeg=True, resize="lanczos3 to 224", crop_area=0.9,
                       state="none", prompt=OPENVLA_PROMPT, horizon=1, gripper=OPEN_ONE, sampling=False)


def _openvla(target: str, family: str, trained_on: Conventions) -> PolicyEntry:
    place = f"policies.openvla.published:{family}"
    return PolicyEntry(target, _LIBERO, True, None,
                       "about 15 GB of weights, which are downloaded or stand in a folder, and memory to hold them",
                       trained_on, resolve=f"{place}.resolve", folder=f"{place}.folder",
                       takes="a suite, for the published checkpoint (SUITE@REVISION for one revision of it), or the "
                       "folder of a checkpoint")


_PI = Conventions(("agentview", "wrist"), 256, mirrored=True, jpeg=False, resize="pad to 224", crop_area=1.0,
                  state=POSE_AND_FINGERS, prompt=INSTRUCTION, horizon=50, gripper=OPEN_CLOSE, sampling=True)


def _lerobot(target: str, family: str, trained_on: Conventions = _PI, size: str = "14 GB") -> PolicyEntry:
    place = f"policies.lerobot.published:{family}"
    return PolicyEntry(target, _LIBERO, True, None,
                       f"LeRobot 0.5.1 in an environment of its own (make lerobot), about {size} of weights, which are "
                       "downloaded or stand in a folder, and memory to hold them", trained_on, denoises=True,
                       takes="nothing or a suite, for the published checkpoint, or the folder of a checkpoint",
                       resolve=f"{place}.resolve", folder=f"{place}.folder")


_EXPERT_SUITES = (*_LIBERO, "libero_90")
"""Suites that the scripted expert solves, libero_90 as far as the same motions reach; docs/experts.md says how far."""
_POCKET_NEEDS = "torch and transformers on a CPU; weights are in the package (`make pocket` trains them again)"
_POCKET = Conventions(("agentview", "wrist"), 128, mirrored=False, jpeg=False, resize="none", crop_area=1.0,
                      state=POSE_AND_FINGERS, prompt=INSTRUCTION, horizon=8, gripper=OPEN_CLOSE, sampling=False)


POLICIES: Mapping[str, PolicyEntry] = {
    "pocket-oft": PolicyEntry("policies.pocket.oft:PocketOFT", _LIBERO, True,
                              "policies/pocket/weights/pocket-oft", _POCKET_NEEDS, _POCKET),
    "pocket-token": PolicyEntry("policies.pocket.token:PocketToken", _LIBERO, True,
                                "policies/pocket/weights/pocket-token", _POCKET_NEEDS, _POCKET),
    "pocket-flow": PolicyEntry("policies.pocket.flow:PocketFlow", _LIBERO, True,
                               "policies/pocket/weights/pocket-flow", _POCKET_NEEDS, replace(_POCKET, sampling=True),
                               denoises=True),
    "openvla": _openvla("policies.openvla.policy:OpenVLA", "OPENVLA", _OPENVLA),
    "openvla-oft": _openvla("policies.openvla.policy:OpenVLAOFT", "OFT", replace(
        _OPENVLA, cameras=("agentview", "wrist"), state=POSE_AND_FINGERS, horizon=8)),
    "univla": _openvla("policies.openvla.univla:UniVLA", "UNIVLA", replace(_OPENVLA, sampling=True)),
    "pi0": _lerobot("policies.lerobot.policy:Pi0", "PI0"),
    "pi05": _lerobot("policies.lerobot.policy:Pi05", "PI05"),
    "smolvla": _lerobot("policies.lerobot.policy:SmolVLA", "SMOLVLA", replace(_PI, resize="pad to 512"), "2 GB"),
    "groot-n1.5": _lerobot("policies.lerobot.policy:Groot", "GROOT", replace(
        _PI, resize="bicubic to 224", horizon=16), "6 GB"),
    "expert": PolicyEntry(
        "policies.experts.expert:Expert", _EXPERT_SUITES, False, None,
        "simulator truth: it reads object poses, no images", _TRUTH),
    "toy-vla": PolicyEntry(
        "policies.toy_vla:ToyVLA", ("toy",), True, None, "torch on a CPU; its weights are computed, not trained",
        Conventions(("agentview",), 32, mirrored=False, jpeg=False, resize="none", crop_area=1.0,
                    state=POSE_AND_FINGERS, prompt=INSTRUCTION, horizon=8, gripper=OPEN_CLOSE, sampling=False)),
    "toy-scripted": PolicyEntry(
        "policies.scripted:ToyScripted", ("toy",), False, None, "simulator truth of the toy world",
        replace(_TRUTH, horizon=8)),
    "remote": PolicyEntry(
        "policies.remote.policy:RemotePolicy", (*_EXPERT_SUITES, "toy"), False, None,
        "the extra `serve`, and a server of openpi's protocol such as `qvla-bench serve`", takes="ws://HOST:PORT"),
}
"""Policy name -> entry."""


def policy_class(entry: PolicyEntry) -> Any:
    """The class of an entry."""
    return _imported(entry.target)


def make_policy(entry: PolicyEntry) -> Any:
    """The policy of an entry with its own weights."""
    kind = policy_class(entry)
    return kind() if entry.argument is None else kind(entry.argument)


def resolved(entry: PolicyEntry, typed: str, suite: str | None) -> PolicyEntry:
    """The entry of one name of a family: with the full form of what was typed behind the colon. Raises ValueError."""
    return replace(entry, argument=_imported(entry.resolve)(typed, suite) if entry.resolve else typed)


def checkpoint_folder(entry: PolicyEntry) -> Path | None:
    """Folder of the checkpoint, relative to the package root if it is part of the package; None if there is none."""
    if entry.folder is not None:
        found = _imported(entry.folder)(entry.argument)
        return None if found is None else Path(found)
    return None if entry.weights is None else Path(entry.weights)


def _imported(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return attrgetter(attribute)(importlib.import_module(module))
