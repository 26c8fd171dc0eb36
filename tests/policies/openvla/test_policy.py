"""Observations in, legal actions out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from envs.types import OSC_POSE
from policies.base import MovablePolicy, QuantizablePolicy
from policies.errors import CalibrationMissing
from policies.openvla.calibration import stored_observations
from policies.openvla.latent import LATENTS, NUCLEUS, TEMPERATURE, draw
from policies.openvla.statistics import Bounds, of_suite, to_robot
from policies.openvla.words import Words, prompt
from tests.policies.openvla import tiny
from tests.policies.openvla.conftest import POLICIES, made, observations

HORIZON = {"openvla": 1, "openvla-oft": 8, "univla": 1}
NOISE = (1, 2, 3, 4)


@pytest.fixture(scope="module", params=POLICIES)
def policy(request, checkpoints):
    return made(request.param, checkpoints[request.param])


def test_chunks_are_legal_and_repeat_for_equal_noise(policy):
    assert isinstance(policy, QuantizablePolicy) and isinstance(policy, MovablePolicy)
    chunks = []
    for _ in range(2):
        policy.reset(NOISE)
        chunks.append([policy.act(observations(1)) for _ in range(2)])
    assert np.array_equal(*chunks) and chunks[0][0].shape == (1, HORIZON[policy.name], 7)
    assert chunks[0][0].dtype == np.float32
    for chunk in chunks[0]:
        for action in chunk[0]:
            OSC_POSE.check(action)
            assert action[-1] in (-1, 1)


def test_a_row_of_a_batch_is_answered_as_it_is_alone(policy):
    seen = observations(2)
    assert len(seen[0].instruction.split()) != len(seen[1].instruction.split())
    batch = policy.batch(seen)
    with torch.no_grad():
        together = policy.layout.forward(policy.module, batch)
        for row in range(2):
            alone = policy.layout.forward(policy.module, policy.batch(seen[row:row + 1]))
            assert torch.allclose(together[row:row + 1], alone, atol=2e-5)


def test_actions_can_be_differentiated_with_respect_to_what_layers_give(policy):
    outputs = []
    layer = policy.module.get_submodule(policy.layout.linears[0].name)
    handle = layer.register_forward_hook(lambda _m, _i, y: outputs.append(y.requires_grad_()) or y.clone())
    actions = policy.layout.forward(policy.module, policy.batch(observations(1)))
    handle.remove()
    (gradient,) = torch.autograd.grad(actions.sum(), outputs[-1])
    assert gradient.abs().sum() > 0


def test_a_missing_camera_is_named(policy):
    (seen,) = observations(1)
    del seen.images["agentview"]
    with pytest.raises(ValueError, match="no picture of camera 'agentview'"):
        policy.batch([seen])


def test_the_network_keeps_the_type_of_its_checkpoint(tmp_path):
    policy = made("openvla-oft", tiny.write_checkpoint(tmp_path / "half", "openvla-oft", torch.bfloat16, side=56))
    assert {tensor.dtype for tensor in policy.module.state_dict().values()} == {torch.bfloat16}
    assert np.isfinite(policy.act(observations(1))).all()
    again = type(policy).skeleton(json.loads(json.dumps(policy.network_config())))
    assert {tensor.dtype for tensor in again.module.state_dict().values()} == {torch.bfloat16}
    with pytest.raises((TypeError, ValueError)):
        type(policy).skeleton(policy.network_config() | {"no_such_part": 1})


def test_univla_remembers_within_an_episode_and_forgets_at_its_end(checkpoints):
    policy = made("univla", checkpoints["univla"])
    seen, asked = observations(1), []
    encode = policy.recipe.words.encode
    policy.recipe.words.encode = lambda prompts: asked.append(prompts[0]) or encode(prompts)
    policy.reset(NOISE)
    first, second = policy.act(seen), policy.act(seen)
    assert "History" not in asked[0] and asked[1].count("<ACT_") == LATENTS
    with pytest.raises(ValueError, match="2 observations follow 1"):
        policy.act(observations(2))
    policy.reset(NOISE)
    assert np.array_equal(policy.act(seen), first) and "History" not in asked[-1]
    assert not np.array_equal(first, second)


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=8), st.floats(0, 0.999))
def test_words_are_drawn_from_the_nucleus(logits, chance):
    chosen = int(draw(torch.tensor([logits]), torch.tensor([chance]))[0])
    chances = torch.softmax(torch.tensor(logits, dtype=torch.float64) / TEMPERATURE, -1)
    likelier = chances[chances > chances[chosen] + 1e-6].sum()
    assert likelier < NUCLEUS + 1e-5
    assert chances[int(draw(torch.tensor([logits]), torch.zeros(1))[0])] == chances.max()


@given(st.lists(st.tuples(st.floats(-2, 0), st.floats(0.1, 2)), min_size=7, max_size=7), st.floats(-1, 1))
def test_normalizing_undoes_unnormalizing(pairs, value):
    low, high = zip(*pairs, strict=True)
    bounds = Bounds(low, high, (True,) * 6 + (False,))
    there = bounds.unnormalized(np.full(7, value))
    assert there[6] == value and np.allclose(bounds.normalized(there)[:6], value, atol=1e-6)
    assert (bounds.normalized(there + 10)[:6] == 1).all()


@pytest.mark.parametrize(("opening", "sent"), [(1.0, -1), (0.6, -1), (0.5, 0), (0.4, 1), (0.0, 1)])
def test_the_gripper_opens_where_the_network_says_one(opening, sent):
    legal = to_robot(np.array([[2.0, -2.0, 0.5, 0, 0, 0, opening]]), -1.0, 1.0)
    assert legal[0].tolist() == [1, -1, 0.5, 0, 0, 0, sent]


def test_without_a_suite_the_only_statistics_count():
    assert of_suite({"a": 1}, None, "x") == 1
    with pytest.raises(ValueError, match="x has statistics of a, b; name the suite"):
        of_suite({"a": 1, "b": 2}, None, "x")


def test_the_prompt_is_the_published_one_and_ends_with_the_empty_token(checkpoints):
    assert prompt("Lift it") == "In: What action should the robot take to lift it?\nOut:"
    assert prompt("lift", "<ACT_1>") == "In: What action should the robot take to lift? History action <ACT_1>\nOut:"
    words = Words((checkpoints["openvla"] / "tokenizer.json").read_bytes())
    tokens, mask = words.encode([prompt("lift the red cube"), prompt("lift")])
    assert tokens[:, 0].tolist() == [1, 1] and tokens[:, -1].tolist() == [29871, 29871]
    assert mask.sum(1).tolist() == [len(mask[0]), len(mask[0]) - 3] and mask[1, 1:4].tolist() == [0, 0, 0]
    assert words.words([32001, 32032]) == "<ACT_0><ACT_31>"
    assert Words.from_json(words.to_json()).encode(["In"])[0].tolist() == [[1, 100, 29871]]
    with pytest.raises(ValueError, match="damaged"):
        Words.from_json("AAAA")


def test_calibration_is_asked_for_where_it_is_missing(checkpoints, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    policy = made("openvla-oft", checkpoints["openvla-oft"])
    with pytest.raises(CalibrationMissing, match="calibration.npz and no calibration/libero_10.npz.*bench.calibration"):
        policy.calibration_observations()
    (tmp_path / "calibration").mkdir()
    seen = observations(2)
    arrays = {"states": np.stack([o.state for o in seen]), "instructions": [o.instruction for o in seen],
              "episodes": ["a", "b"]}
    pictures = np.stack([np.stack([o.images[c] for c in ("wrist", "agentview")]) for o in seen])
    np.savez(tmp_path / "calibration" / "libero_10.npz", images=pictures, cameras=["wrist", "agentview"], **arrays)
    found, episodes = policy.calibration_observations()
    assert episodes == ["a", "b"] and np.array_equal(found[1].images["wrist"], seen[1].images["wrist"])
    np.savez(tmp_path / "calibration" / "libero_10.npz", images=pictures[:, :1], cameras=["wrist"], **arrays)
    with pytest.raises(CalibrationMissing, match="none of 'agentview'"):
        stored_observations(None, "libero_10", ("agentview",))
