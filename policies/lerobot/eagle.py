"""The files that a GR00T checkpoint of LeRobot names but does not hold: its base model's config, and its Eagle's.

LeRobot downloads 5 GB of base weights to overwrite them, and copies code into a folder that it then runs. Here the two
configs and the words and settings of the Eagle are read, and LeRobot's installed classes are given them.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import transformers
from lerobot.policies.groot.eagle2_hg_model.image_processing_eagle2_5_vl_fast import Eagle25VLImageProcessorFast
from lerobot.policies.groot.eagle2_hg_model.processing_eagle2_5_vl import Eagle25VLProcessor
from lerobot.policies.groot.processor_groot import GrootEagleCollateStep, GrootEagleEncodeStep

from policies.errors import CheckpointError
from policies.openvla.published import CHECKPOINTS, downloaded

CONFIG = ("config.json",)
ASSETS = ("*.json", "merges.txt", "*.jinja")
"""Files of the Eagle: config, tokenizer, chat template, settings of its pictures."""


def read_sizes(config: Any) -> dict[str, Any]:
    """The base model's config and the Eagle's, for `groot.build`; `config` is LeRobot's of the policy.

    Raises `CheckpointMissing` if either is not here.
    """
    base, eagle = place(config.base_model_path, CONFIG), place(config.tokenizer_assets_repo, ASSETS)
    return {"network": _json(base / "config.json"), "eagle": _json(eagle / "config.json")}


def place(name: str, patterns: tuple[str, ...]) -> Path:
    """The folder `name`, or that of the repository of this name. Raises `CheckpointMissing`."""
    folder = next((path for path in (Path(name), CHECKPOINTS / name) if path.is_dir()), None)
    return folder or downloaded(name, None, patterns, "name a folder instead in the config.json of the checkpoint")


def give_processor_(before: Any, name: str) -> None:
    """Let the pipeline before the network read words and pictures with a processor of LeRobot's installed classes.

    `name` is the repository or folder of the Eagle's files. Raises `CheckpointError` for another pipeline.
    """
    steps = [step for step in before.steps if isinstance(step, GrootEagleEncodeStep | GrootEagleCollateStep)]
    if len(steps) != 2:
        raise CheckpointError("the checkpoint's policy_preprocessor.json lacks the steps groot_eagle_encode_v3 and "
                              "groot_eagle_collate_v3")
    made = processor(place(name, ASSETS))
    for step in steps:
        step._proc = made  # otherwise it would run the code of a downloaded folder


def processor(folder: Path) -> Eagle25VLProcessor:
    """The Eagle's processor in `folder`. Raises `CheckpointError` naming a file that it lacks."""
    absent = [name for name in ("preprocessor_config.json", "processor_config.json", "tokenizer_config.json")
              if not (folder / name).is_file()]
    if absent:
        raise CheckpointError(f"{folder} is no folder of an Eagle's files: it lacks {', '.join(absent)}")
    known = set(inspect.signature(Eagle25VLProcessor).parameters) - {"image_processor", "tokenizer", "kwargs"}
    given = {name: value for name, value in _json(folder / "processor_config.json").items() if name in known}
    # The general class of transformers would ask whether to run the code that the folder's config names.
    kind = _json(folder / "tokenizer_config.json").get("tokenizer_class", "Qwen2Tokenizer").removesuffix("Fast")
    tokenizer = getattr(transformers, kind, transformers.PreTrainedTokenizerFast).from_pretrained(folder)
    template = folder / "chat_template.json"
    words = _json(template)["chat_template"] if template.is_file() else tokenizer.chat_template
    pictures = Eagle25VLImageProcessorFast.from_pretrained(folder)
    # LeRobot asks the two together for tensors; transformers 5.3 no longer passes that on to the pictures.
    pictures.return_tensors = "pt"
    made = Eagle25VLProcessor(pictures, tokenizer, **given | {"chat_template": words})
    made.tokenizer.padding_side = "left"
    return made


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"there is no {path.name} in {path.parent}")
    return json.loads(path.read_text())
