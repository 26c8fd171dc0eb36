from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("lerobot", reason="LeRobot is not installed; `make test-lerobot` has an environment with it")

from policies.errors import CheckpointError, CheckpointMissing
from policies.lerobot.policy import Groot
from policies.registry import POLICIES, resolved
from tests.policies.lerobot.conftest import seen

EAGLE = "_groot_model.backbone.eagle_model"


@pytest.fixture
def folder(checkpoint, tmp_path):
    """A copy of a tiny checkpoint, to be changed."""
    return shutil.copytree(checkpoint("groot"), tmp_path / "copy")


def rewrite(path, **changed):
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def test_a_file_as_lerobot_writes_it_has_a_tied_head_for_words_and_a_pooling_that_nothing_reads(checkpoint, folder):
    weights = load_file(folder / "model.safetensors")
    weights[f"{EAGLE}.language_model.lm_head.weight"] = weights.pop(
        f"{EAGLE}.language_model.model.embed_tokens.weight")
    weights[f"{EAGLE}.vision_model.vision_model.head.probe"] = torch.zeros(1, 1, 32)
    save_file(weights, folder / "model.safetensors")
    chunks = [Groot(f"libero_object={place}").act([seen(0)]) for place in (folder, checkpoint("groot"))]
    assert np.array_equal(*chunks)


def test_the_sizes_come_from_the_base_model_and_the_eagle_that_the_checkpoint_names(checkpoint, folder, monkeypatch):
    def offline(*_, **__):
        raise FileNotFoundError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    sizes = json.loads((folder / "sizes.json").read_text())
    (folder / "sizes.json").unlink()
    with pytest.raises(CheckpointMissing, match="nvidia/GR00T-N1.5-3B is not on this machine.*--local-dir checkpoints"):
        Groot(f"libero_object={folder}")
    (folder / "base").mkdir()
    (folder / "base" / "config.json").write_text(json.dumps(sizes["network"]))
    rewrite(folder / "config.json", base_model_path=str(folder / "base"))
    chunks = [Groot(f"libero_object={place}").act([seen(0)]) for place in (folder, checkpoint("groot"))]
    assert np.array_equal(*chunks)


def test_actions_and_state_have_the_units_of_the_checkpoints_statistics(checkpoint, folder):
    whole = Groot(f"libero_object={checkpoint('groot')}").act([seen(0)])
    path, = folder.glob("policy_postprocessor_step_*.safetensors")
    save_file({name: value / 4 for name, value in load_file(path).items()}, path)
    quarter = Groot(f"libero_object={folder}").act([seen(0)])
    inside = np.abs(whole) < 1  # the rest is clipped
    assert inside.sum() > 10 and np.allclose(quarter[inside], whole[inside] / 4, atol=1e-6)
    path, = folder.glob("policy_preprocessor_step_*.safetensors")
    save_file({name: value * 3 for name, value in load_file(path).items()}, path)
    assert not np.allclose(Groot(f"libero_object={folder}").act([seen(0)]), quarter, atol=1e-4)


@pytest.mark.parametrize(("name", "changed", "reason"), [
    ("tokenizer/processor_config.json", {"tokens_per_tile": 5}, "8 places for pictures"),
    ("sizes.json", {"eagle": {"text_config": {"architectures": ["LlamaForCausalLM"]}, "vision_config": {}}},
     "reads with SigLIP and Qwen3ForCausalLM"),
    ("sizes.json", {"eagle": None, "network": None}, "lack network, eagle"),
])
def test_files_that_do_not_belong_together_are_refused(folder, name, changed, reason):
    rewrite(folder / name, **changed)
    with pytest.raises(ValueError, match=reason):
        Groot(f"libero_object={folder}").act([seen(0)])


def test_a_pipeline_that_does_not_encode_for_the_eagle_is_refused(folder):
    path = folder / "policy_preprocessor.json"
    steps = json.loads(path.read_text())["steps"]
    rewrite(path, steps=[step for step in steps if step["registry_name"] != "groot_eagle_encode_v3"])
    with pytest.raises(CheckpointError, match="lacks the steps groot_eagle_encode_v3"):
        Groot(f"libero_object={folder}")


def test_an_eagle_without_its_processor_is_refused_by_file(folder):
    (folder / "tokenizer" / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match="lacks preprocessor_config.json"):
        Groot(f"libero_object={folder}")


def test_it_computes_in_the_type_that_the_config_names(checkpoint, folder):
    rewrite(folder / "config.json", use_bf16=True)
    half, full = Groot(f"libero_object={folder}"), Groot(f"libero_object={checkpoint('groot')}")
    assert {parameter.dtype for parameter in half.module.parameters()} == {torch.bfloat16}
    difference = np.abs(half.act([seen(0)]) - full.act([seen(0)]))
    assert 0 < difference.max() < 0.2


def test_its_published_checkpoints_are_one_per_suite():
    entry = resolved(POLICIES["groot-n1.5"], "", "libero_goal")
    assert entry.argument == "libero_goal" and len(set(Groot.family.repositories.values())) == 4
