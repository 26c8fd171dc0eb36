"""The models of `make bench-7b`: one literal table; who adds a large policy adds a line.

A model is a registered policy, a function that writes a checkpoint of it with random weights, and the modules that its
stages are.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Model:
    """One model at its true size."""

    policy: str
    """Name in `policies.registry`; its class reads the folder of a checkpoint."""
    write: str
    """"module:function" that takes a folder and sizes and writes a checkpoint with random weights."""
    sizes: str
    """"module:callable" that gives the published sizes, such as their class."""
    tiny: str
    """"module:name" or "module:name.key" of sizes that a CPU answers with at once."""
    stages: Mapping[str, tuple[str, ...]]
    """Stage -> modules whose calls it is made of."""
    needs: str | None = None
    """Package that must be importable."""

    def unavailable(self) -> str | None:
        """Why it cannot be run here, None if it can."""
        if self.needs is None or importlib.util.find_spec(self.needs) is not None:
            return None
        return (f"it runs in the classes of {self.needs}, which is not installed here; `make bench-7b-lerobot` "
                "measures it in an environment that has it")


_FOLDER = "policies.openvla.random_weights"
_STAGES = {"vision": ("vision_backbone",), "projector": ("projector", "proprio_projector"),
           "language": ("language_model.model",), "head": ("language_model.lm_head", "action_head", "action_decoder")}


def _openvla(policy: str, function: str) -> Model:
    return Model(policy, f"{_FOLDER}:{function}", f"{_FOLDER}:Sizes", f"{_FOLDER}:TINY", _STAGES)


_LEROBOT = "policies.lerobot.sizes"


def _lerobot(policy: str, kind: str, sizes: str, stages: Mapping[str, tuple[str, ...]]) -> Model:
    return Model(policy, "policies.lerobot.random_weights:write", f"{_LEROBOT}:{sizes}", f"{_LEROBOT}:TINY.{kind}",
                 stages, "lerobot")


_PALIGEMMA, _GROOT = "model.paligemma_with_expert.paligemma.model", "model.backbone.eagle_model"
# LeRobot calls the language model of pi0.5 past its hooks, and never its expert; a step has the latter.
_PI05_STAGES = {"vision": (f"{_PALIGEMMA}.vision_tower",), "projector": (f"{_PALIGEMMA}.multi_modal_projector",),
                "language": tuple(f"{_PALIGEMMA}.language_model.layers.{number}" for number in range(18)),
                "head": ("step",)}
_GROOT_STAGES = {
    "vision": (f"{_GROOT}.vision_model",), "projector": (f"{_GROOT}.mlp1",),
    "language": (f"{_GROOT}.language_model.model",),
    "head": (*(f"model.action_head.vl_self_attention.transformer_blocks.{number}" for number in range(4)),
             "model.action_head.state_encoder", "step")}

MODELS: Mapping[str, Model] = {
    "openvla-7b": _openvla("openvla", "write_openvla"),
    "openvla-7b-oft": _openvla("openvla-oft", "write_oft"),
    "univla-7b": _openvla("univla", "write_univla"),
    "pi0.5": _lerobot("pi05", "pi05", "pi05", _PI05_STAGES),
    "gr00t-n1.5": _lerobot("groot-n1.5", "groot", "groot_n15", _GROOT_STAGES),
}
"""Name -> model."""


def write(model: Model, folder: Path, tiny: bool) -> None:
    """Write the model's checkpoint with random weights."""
    sizes = _imported(model.tiny) if tiny else _imported(model.sizes)()
    _imported(model.write)(folder, sizes)


def _imported(target: str) -> object:
    module, _, attribute = target.partition(":")
    name, _, key = attribute.partition(".")
    found = getattr(importlib.import_module(module), name)
    return found[key] if key else found
