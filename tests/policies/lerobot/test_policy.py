from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("lerobot", reason="LeRobot is not installed; `make test-lerobot` has an environment with it")

from policies.base import KeyedPolicy, MovablePolicy, QuantizablePolicy
from policies.errors import CheckpointError
from policies.lerobot.policy import Groot, Pi0, Pi05, SmolVLA
from policies.registry import POLICIES, policy_class
from quantizers.calibration import CalibrationSet
from quantizers.preserved import check_folds
from quantizers.quantize import accounted, quantize_
from quantizers.registry import METHODS, parse_method
from quantizers.saved import Origin
from quantizers.storage import load_quantized_, save_quantized
from tests.policies.lerobot.conftest import seen

KINDS = {"pi0": Pi0, "pi05": Pi05, "smolvla": SmolVLA, "groot": Groot}


@pytest.fixture(params=KINDS)
def policy(request, checkpoint):
    """A tiny policy of every kind."""
    torch.set_num_threads(1)
    return KINDS[request.param](f"libero_object={checkpoint(request.param)}")


def calibration(policy) -> CalibrationSet:
    observations, episodes = policy.calibration_observations()
    return CalibrationSet.of([policy.batch(observations[i:i + 4]) for i in (0, 4)], episodes)


def lerobots_own(policy, batch, monkeypatch) -> torch.Tensor:
    model = policy.module.model
    if policy.kind == "groot":
        monkeypatch.setattr(torch, "randn", lambda *_, **__: batch["noise"].clone())
        inputs = {"eagle_pixel_values": batch["images"].flatten(0, 1), "eagle_input_ids": batch["tokens"],
                  "eagle_attention_mask": torch.ones_like(batch["tokens"]), "eagle_image_sizes": None,
                  "state": batch["state"], "embodiment_id": batch["embodiment"]}
        return policy._lerobot._groot_model.get_action(inputs)["action_pred"]
    images, masks = list(batch["images"].unbind(1)), list(batch["image_masks"].unbind(1))
    state = (batch["state"],) if "state" in batch else ()
    return model.sample_actions(images, masks, batch["tokens"], batch["token_masks"], *state, noise=batch["noise"])


def test_it_computes_what_lerobot_computes(policy, monkeypatch):
    batch = policy.batch([seen(0), seen(1)])
    wanted = lerobots_own(policy, batch, monkeypatch)
    with torch.no_grad():
        got = policy.layout.forward(policy.module, batch)
        others = policy.layout.forward(policy.module, batch | {"images": batch["images"].flip(0)})
    effect = (others - got).abs().max()
    assert effect > 0.01 and (got - wanted).abs().max() < min(1e-4, 1e-3 * effect)


def test_its_layout_names_every_linear_and_its_folds_preserve_the_actions(policy):
    assert isinstance(policy, QuantizablePolicy)
    accounted(policy.module, policy.layout)
    roles = {site.role for site in policy.layout.linears}
    assert roles == {"vision", "projector", "language", "dit", "action_head"}
    batch = policy.batch([seen(0)])
    check_folds(policy.module, policy.layout, CalibrationSet.of([batch], ["e"]))


def test_its_network_and_what_the_network_is_given_are_on_the_device_that_it_was_moved_to(policy):
    assert isinstance(policy, MovablePolicy) and policy.to("meta") is policy
    held = [*policy.module.parameters(), *policy.module.buffers()]
    given = [*policy.batch([seen(0), seen(1)]).values(), policy.inputs([seen(0)])["tokens"]]
    assert {tensor.device.type for tensor in held + given} == {"meta"}


def test_linears_are_called_in_the_order_of_their_blocks_and_the_denoiser_sees_every_step(policy):
    called, times = [], []
    for site in policy.layout.linears:
        layer = policy.module.get_submodule(site.name)
        layer.register_forward_pre_hook(lambda _layer, _args, name=site.name: called.append(name))
    policy.module.get_submodule(policy.layout.denoiser).register_forward_pre_hook(
        lambda _part, args: times.append(args[1].tolist()))
    policy.act([seen(0)])
    first = list(dict.fromkeys(called))
    assert set(first) == {site.name for site in policy.layout.linears}
    blocks = dict.fromkeys(b for name in first for b in policy.layout.blocks if name.startswith(b + "."))
    assert list(blocks) == list(policy.layout.blocks)
    assert np.allclose(times, [[0.0], [1 / 3], [2 / 3]])


def test_noise_follows_from_the_episode_and_the_decision(policy):
    policy.reset((1, 2, 3, 4))
    chunks = [policy.act([seen(0)]) for _ in range(2)]
    assert chunks[0].shape == (1, 6, 7) and np.abs(chunks[0]).max() <= 1 and not np.array_equal(*chunks)
    policy.reset((1, 2, 3, 4))
    assert np.array_equal(policy.act([seen(0)]), chunks[0])


def test_several_episodes_at_once_are_as_each_alone_and_in_any_order(policy):
    assert isinstance(policy, KeyedPolicy)
    rows, decisions = [seen(0), seen(1, "milk"), seen(1), seen(0)], [((1, 2), 1), ((1, 2), 1), ((3,), 0), ((3,), 1)]
    alone = []
    for row, (key, number) in zip(rows, decisions, strict=True):
        policy.reset(key)
        alone.append([policy.act([row])[0] for _ in range(number + 1)][-1])
    for order in ([0, 1, 2, 3], [3, 1], [2], [0, 0]):
        found = policy.act_keyed([rows[i] for i in order], [decisions[i] for i in order])
        assert np.allclose(found, [alone[i] for i in order], atol=1e-4)
    apart = policy.act_keyed([seen(0)] * 4, [((1, 2), 1), ((1, 3), 1), ((1, 2), 0), ((1, 2, 1), 1)])
    assert all(np.abs(apart[i] - apart[j]).max() > 0.01 for i in range(4) for j in range(i))


def test_a_keyed_answer_is_lerobots_own_for_the_noise_of_the_key(policy, monkeypatch):
    rows, decisions = [seen(0), seen(1)], [((1, 2), 0), ((7,), 5)]
    got = policy.act_keyed(rows, decisions)
    shape = policy.batch(rows)["noise"].shape[1:]
    noise = [np.random.Generator(np.random.Philox(np.random.SeedSequence([len(key), *key, number])))
             .standard_normal(shape, dtype=np.float32) for key, number in decisions]
    batch = policy.inputs(rows) | {"noise": torch.from_numpy(np.stack(noise))}
    with torch.no_grad():
        own = lerobots_own(policy, batch, monkeypatch)[..., :7].float()
    wanted = np.stack([policy._recipe.after(row).numpy() for row in own])
    free = np.abs(wanted) < 1  # the rest is clipped
    assert free.mean() > 0.2 and np.allclose(got[free], wanted[free], atol=1e-4)
    assert np.abs(got[0] - got[1]).max() > 0.01


def test_a_row_of_a_batch_answers_as_it_does_alone_whatever_the_others_say(policy):
    rows = [seen(0), seen(1, "pick up the milk , the milk : up"), seen(2, "milk")]
    batch = policy.batch(rows)
    with torch.no_grad():
        together = policy.module(**batch)
        alone = torch.cat([policy.module(**policy.batch([row])) for row in rows])
    assert torch.allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_quantizes_it_and_what_is_saved_acts_as_before(policy, method, tmp_path):
    if method == "fp":
        pytest.skip("full precision quantizes nothing")
    needed = calibration(policy) if METHODS[method].needs_calibration else None
    before = policy.act([seen(0)])
    audit = quantize_(policy.module, policy.layout, parse_method(method), needed)
    quantized = [layer for layer in audit.layers if layer.status == "quantized"]
    assert {layer.role for layer in quantized} >= {"language", "dit"}
    # Turns by 64 take more than such narrow layers do.
    assert all(layer.bytes_after - layer.metadata_bytes < layer.bytes_before for layer in quantized)
    policy.reset((1, 2, 3, 4))
    chunk = policy.act([seen(0)])
    assert np.isfinite(chunk).all() and chunk.shape == before.shape
    save_quantized(policy.module, tmp_path / "saved", audit, Origin(policy.name, method, None, policy.network_config()))
    network = json.loads((tmp_path / "saved" / "config.json").read_text())["network"]
    again = type(policy).skeleton(network)
    load_quantized_(again.module, tmp_path / "saved")
    again.reset((1, 2, 3, 4))
    assert np.array_equal(again.act([seen(0)]), chunk)


@pytest.mark.parametrize(("spoil", "reason"), [
    (lambda weights: weights.pop("action_in_proj.weight"), "1 keys are missing.*model.action_in_proj.weight"),
    (lambda weights: weights.update(other=torch.zeros(1)), "1 unexpected.*model.other"),
    (lambda weights: weights.update({"action_in_proj.bias": torch.zeros(3)}), "1 of another shape"),
])
def test_a_checkpoint_that_does_not_fit_is_refused_by_key(checkpoint, tmp_path, spoil, reason):
    folder = shutil.copytree(checkpoint("pi0"), tmp_path / "spoilt")
    weights = load_file(folder / "model.safetensors")
    spoil(weights)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=reason):
        Pi0(f"={folder}")


@pytest.mark.parametrize("kind", KINDS)
def test_the_registry_says_that_it_denoises(kind, checkpoint):
    policy = KINDS[kind](f"libero_object={checkpoint(kind)}")
    assert POLICIES[policy.name].denoises and policy.layout.denoiser is not None
    assert policy_class(POLICIES[policy.name]) is KINDS[kind]


def test_what_is_no_checkpoint_of_this_kind_is_refused(checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="checkpoint of 'pi0', not of 'pi05'"):
        Pi05(f"={checkpoint('pi0')}")
    with pytest.raises(CheckpointError, match="lacks config.json"):
        Pi0(f"={tmp_path}")
    folder = shutil.copytree(checkpoint("pi0"), tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickled weights are not read"):
        Pi0(f"={folder}")
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="damaged"):
        Pi0(f"={folder}")
