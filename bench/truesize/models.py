"""The models of `make bench-7b`: one literal table; who adds a large policy adds a line.

A model is a registered policy, a function that writes a checkpoint of it with random weights, and the modules that its
stages are.
"""

from __future__ import annotations

import importlib
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
    """"module:class" of the sizes, whose defaults are the published ones."""
    tiny: str
    """"module:name" of sizes that a CPU answers with at once."""
    stages: Mapping[str, tuple[str, ...]]
    """Stage -> modules whose calls it is made of."""


_FOLDER = "policies.openvla.random_weights"
_STAGES = {"vision": ("vision_backbone",), "projector": ("projector", "proprio_projector"),
           "language": ("language_model.model",), "head": ("language_model.lm_head", "action_head", "action_decoder")}


def _openvla(policy: str, function: str) -> Model:
    return Model(policy, f"{_FOLDER}:{function}", f"{_FOLDER}:Sizes", f"{_FOLDER}:TINY", _STAGES)


MODELS: Mapping[str, Model] = {
    "openvla-7b": _openvla("openvla", "write_openvla"),
    "openvla-7b-oft": _openvla("openvla-oft", "write_oft"),
    "univla-7b": _openvla("univla", "write_univla"),
}
"""Name -> model. pi0.5 and GR00T N1.5 join when their policies are registered."""


def write(model: Model, folder: Path, tiny: bool) -> None:
    """Write the model's checkpoint with random weights."""
    sizes = _imported(model.tiny) if tiny else _imported(model.sizes)()
    _imported(model.write)(folder, sizes)


def _imported(target: str) -> object:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
