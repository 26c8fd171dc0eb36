"""What is wrong with a checkpoint is said before anything is played."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from policies.errors import CheckpointError
from tests.policies.openvla import tiny
from tests.policies.openvla.conftest import made

HEAD = "action_head--150000_checkpoint.pt"
SHARD = "model-00002-of-00002.safetensors"


def change(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rename(folder: Path, old: str, new: str | None) -> None:
    """In the shard that has it and in the index; None removes it."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shard = index["weight_map"].pop(old)
    content = load_file(folder / shard)
    tensor = content.pop(old)
    if new is not None:
        content[new], index["weight_map"][new] = tensor, shard
    save_file(content, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def refused(folder: Path, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        made("openvla-oft", folder)


def test_a_missing_and_an_unexpected_tensor_are_named(oft):
    name = "language_model.model.layers.1.mlp.up_proj.weight"
    rename(oft, name, None)
    refused(oft, f"lacks tensor '{name}' \\(1 such\\)")
    rename(oft, "projector.fc1.bias", "projector.fc9.bias")
    refused(oft, "lacks tensor .*\\(2 such\\)")


def test_what_is_in_every_checkpoint_but_never_computed_must_be_there(oft):
    rename(oft, "vision_backbone.fused_featurizer.attn_pool.latent", None)
    refused(oft, "attn_pool.latent")


def test_another_shape_is_refused_before_a_tensor_is_read(oft):
    content = load_file(oft / SHARD)
    content["projector.fc3.bias"] = torch.zeros(3)
    save_file(content, oft / SHARD)
    refused(oft, r"'projector.fc3.bias' has shape \(3,\); config.json wants \(64,\)")


@pytest.mark.parametrize(("changes", "said"), [
    ({"model_type": "llava"}, "of type 'llava', not 'openvla'"),
    ({"architectures": ["PrismaticForConditionalGeneration"]}, "names the architecture"),
    ({"use_fused_vision_backbone": False}, "two towers"),
    ({"text_config": {"model_type": "mistral"}}, "'mistral'"),
    ({"text_config": {"model_type": "llama", "sliding_window": 4}}, "unknown key 'sliding_window'"),
    ({"tower_sizes": [{"width": 7}]}, "missing 8 required"),
])
def test_another_architecture_is_refused(oft, changes, said):
    change(oft / "config.json", **changes)
    refused(oft, said)


def test_towers_that_nobody_knows_are_refused(oft):
    config = json.loads((oft / "config.json").read_text())
    del config["tower_sizes"]
    (oft / "config.json").write_text(json.dumps(config | {"timm_model_ids": ["vit_tiny", "vit_small"]}))
    refused(oft, "vision towers .*vit_tiny.*known are vit_large_patch14_reg4_dinov2")


def test_statistics_of_another_suite_have_no_units_for_this_one(oft):
    statistics = {"bridge_orig": tiny.STATISTICS[f"{tiny.SUITE}_no_noops"]}
    (oft / "dataset_statistics.json").write_text(json.dumps(statistics))
    refused(oft, "no statistics for suite 'libero_10'.*it has bridge_orig")
    (oft / "dataset_statistics.json").write_text(json.dumps({"libero_10": {"action": {"q01": [0.0]}}}))
    refused(oft, "statistics of the actions have q01")


def test_statistics_may_stand_in_the_config_as_in_older_checkpoints(oft):
    (oft / "dataset_statistics.json").unlink()
    refused(oft, "no statistics for suite")
    change(oft / "config.json", norm_stats=tiny.STATISTICS)
    assert made("openvla-oft", oft).recipe.actions.low[0] == -0.7


def test_weights_in_a_pickle_are_refused(oft):
    for name in ("model.safetensors.index.json", "model-00001-of-00002.safetensors", SHARD):
        (oft / name).unlink()
    refused(oft, "neither model.safetensors.index.json nor|action_head.*a pickle")
    torch.save({}, oft / "a_pytorch_model.bin")
    refused(oft, "a_pytorch_model.bin, a pickle")


class Harm:
    """What a malicious file would have."""

    def __reduce__(self):
        return (Path.touch, (Path("harmed"),))


def test_a_head_with_other_objects_than_tensors_is_refused_unread(oft, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    torch.save({"module.model.fc1.bias": Harm()}, oft / HEAD)
    refused(oft, "action_head.*is refused.*other Python objects than tensors")
    (oft / HEAD).write_bytes(pickle.dumps(Harm()))
    refused(oft, "is refused")
    assert not Path("harmed").exists()


def test_a_head_of_another_kind_or_none_is_refused(oft):
    (oft / HEAD).rename(oft / "head.pt")
    refused(oft, "must have one file action_head--")
    torch.save({}, oft / "noisy_action_projector--1_checkpoint.pt")
    refused(oft, "noisy_action_projector.*which is of a head that")


def test_a_truncated_or_absent_shard_is_an_incomplete_download(oft):
    content = (oft / SHARD).read_bytes()
    (oft / SHARD).write_bytes(content[:len(content) // 2])
    refused(oft, "not a whole file of tensors")
    (oft / SHARD).unlink()
    refused(oft, f"lacks 1 of the files.*first {SHARD}")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "preprocessor_config.json"])
def test_each_file_is_missed_by_its_name(oft, name):
    (oft / name).unlink()
    refused(oft, name)


def test_a_tokenizer_without_llama_s_begin_of_sequence_is_refused(oft):
    content = json.loads((oft / "tokenizer.json").read_text())
    (oft / "tokenizer.json").write_text(json.dumps(content | {"post_processor": None}))
    refused(oft, "does not begin a sequence with token 1")


def test_parts_as_safetensors_and_one_file_of_weights_are_read_too(oft):
    before = made("openvla-oft", oft).module.state_dict()
    head = torch.load(oft / HEAD, weights_only=True)
    save_file({name.removeprefix("module."): tensor for name, tensor in head.items()},
              oft / HEAD.replace(".pt", ".safetensors"))
    (oft / HEAD).unlink()
    shards = ["model-00001-of-00002.safetensors", SHARD]
    save_file({name: t for shard in shards for name, t in load_file(oft / shard).items()}, oft / "model.safetensors")
    for name in ("model.safetensors.index.json", *shards):
        (oft / name).unlink()
    after = made("openvla-oft", oft).module.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
