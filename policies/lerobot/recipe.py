"""A LeRobot checkpoint without its weights: its config, and the processors before and after the network, as files.

The small files travel with a saved quantized network, so that it acts without the checkpoint that it came from. Only a
tokenizer is too large for that and is named instead, by its repository on the hub or its folder.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors

from policies.errors import CheckpointError

PRE, POST = "policy_preprocessor", "policy_postprocessor"
"""Names of the two pipelines' files."""
TOKENIZER_STEP, ASSETS = "tokenizer_processor", "tokenizer_assets_repo"
"""LeRobot's name of the step that has the tokenizer, and what names GR00T's in the config of the policy."""
DEVICE_STEP = "device_processor"
"""LeRobot's name of the step that moves tensors to a device."""
TOKENIZER, SIZES = "tokenizer", "sizes.json"
"""Folder of a checkpoint that brings its own tokenizer, and file of one whose network has sizes of its own."""

Files = Mapping[str, Any]
"""File name -> parsed JSON, or base64 text of a safetensors file."""


def read_files(folder: Path) -> dict[str, Any]:
    """The small files of a checkpoint. Raises `CheckpointError` naming what is not there."""
    wanted = ["config.json", f"{PRE}.json", f"{POST}.json"]
    absent = [name for name in wanted if not (folder / name).is_file()]
    if absent:
        raise CheckpointError(f"{folder} is no LeRobot checkpoint of version 0.4 or later: it lacks "
                              f"{', '.join(absent)}")
    files = {name: json.loads((folder / name).read_text()) for name in wanted}
    if ASSETS in files["config.json"] and (folder / TOKENIZER).is_dir():
        files["config.json"][ASSETS] = str((folder / TOKENIZER).absolute())
    for pipeline in (PRE, POST):
        for step in files[f"{pipeline}.json"]["steps"]:
            if (name := step.get("state_file")) is not None:
                files[name] = base64.b64encode((folder / name).read_bytes()).decode()
            if step.get("registry_name") == TOKENIZER_STEP and (folder / TOKENIZER).is_dir():
                step["config"]["tokenizer_name"] = str((folder / TOKENIZER).absolute())
    return files


class Recipe:
    """The config and the two pipelines in such files."""

    def __init__(self, files: Files, kind: str) -> None:
        """Raises `CheckpointError` for files of another kind of policy, or that LeRobot cannot read."""
        found = dict(files["config.json"]).get("type")
        if found != kind:
            raise CheckpointError(f"this is a checkpoint of {found!r}, not of {kind!r}")
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                if name.endswith(".json"):
                    (Path(folder) / name).write_text(json.dumps(_on_cpu(content)))
                else:
                    (Path(folder) / name).write_bytes(base64.b64decode(content))
            self.config = PreTrainedConfig.from_pretrained(folder)
            self.config.device, self.config.pretrained_path = "cpu", None
            self.before, self.after = make_pre_post_processors(self.config, folder)
        self.files = files


def _on_cpu(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """A pipeline whose steps stay on the CPU: the device of training need not be here, and policies move tensors."""
    steps = [step | {"config": step["config"] | {"device": "cpu"}} if step.get("registry_name") == DEVICE_STEP else step
             for step in content.get("steps", ())]
    return content | {"steps": steps} if steps else content
