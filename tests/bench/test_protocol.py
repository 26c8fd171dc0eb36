from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from bench.cli import main
from bench.errors import UsageError
from bench.profiles import diff, show
from bench.protocol import PROTOCOLS
from bench.rollout import rollout
from bench.spec import EpisodeKey
from bench.variants import build, make_variants
from envs.registry import SUITES
from envs.toy import open_task
from envs.types import OSC_POSE, SpecMismatch
from policies.conventions import Conventions
from policies.registry import POLICIES

LIBERO = ("libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90")


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_every_protocol_can_play_every_suite(protocol):
    assert all(protocol.cap(suite) > 0 for suite in SUITES)
    assert json.loads(json.dumps(protocol.to_json())) == protocol.to_json()


@pytest.mark.parametrize(("name", "settle", "replan", "caps", "size"), [
    ("oft", 10, 8, [220, 280, 300, 520, 400], 256), ("openvla", 10, 1, [220, 280, 300, 520, 400], 256),
    ("openpi", 10, 5, [220, 280, 300, 520, 400], 256), ("lerobot", 10, 10, [280, 280, 300, 520, 400], 360),
    ("groot", 0, 8, [720] * 5, 256),
])
def test_the_profiles_have_the_published_numbers(name, settle, replan, caps, size):
    protocol = PROTOCOLS[name]
    assert (protocol.settle_steps, protocol.replan_every, protocol.inputs.image_size) == (settle, replan, size)
    assert [protocol.cap(suite) for suite in LIBERO] == caps
    assert protocol.inputs.mirrored is True


def test_the_default_is_the_one_of_the_oft_policies():
    assert next(iter(PROTOCOLS)) == "oft"


def test_a_suite_without_a_cap_is_named():
    with pytest.raises(UsageError, match="kitchen"):
        PROTOCOLS["oft"].cap("kitchen")


def test_only_a_seed_per_episode_replaces_the_keys_own():
    key = EpisodeKey("fp-0", "toy", 0, 3, 0)
    assert PROTOCOLS["lerobot"].reset_seed(key) == 1003
    assert PROTOCOLS["lerobot"].reset_seed(dataclasses.replace(key, seed=2)) == 3003
    assert PROTOCOLS["oft"].reset_seed(key) == PROTOCOLS["groot"].reset_seed(key) == key.env_seed()


class Asked:
    """The toy world, noting how it is reset and what it is told to do."""

    stepping = "none"

    def __init__(self) -> None:
        self.world = open_task("toy", 0, 16, "none", False)
        self.task, self.action_spec, self.resets, self.grippers = self.world.task, OSC_POSE, [], []

    def reset(self, init_state, seed, observe=True):
        self.resets.append((init_state, seed))
        return self.world.reset(init_state, seed, observe)

    def step(self, action, observe=True):
        self.grippers.append(action[6])
        return self.world.step(action, observe)


@pytest.mark.parametrize(("name", "init_state", "seed"), [
    ("oft", 0, None), ("groot", None, None), ("lerobot", 0, 1000),
])
def test_the_rollout_resets_as_the_profile_says(still, key, name, init_state, seed):
    env = Asked()
    rollout(env, still(), key, dataclasses.replace(PROTOCOLS[name], max_steps={"toy": 2}))
    assert env.resets == [(init_state, key.env_seed() if seed is None else seed)]


@pytest.mark.parametrize(("name", "executed"), [("oft", [1.0, -1.0, 0.0]), ("openpi", [0.25, -0.5, 0.0])])
def test_the_rollout_executes_the_gripper_as_the_profile_says(still, key, name, executed):
    chunk = np.zeros((3, 7), np.float32)
    chunk[:, 6] = [0.25, -0.5, 0.0]
    env = Asked()
    rollout(env, still(answer=lambda call: chunk), key,
            dataclasses.replace(PROTOCOLS[name], max_steps={"toy": 3}, settle_steps=0))
    assert env.grippers == executed


def test_the_record_names_the_profile(still, key):
    protocol = dataclasses.replace(PROTOCOLS["openpi"], max_steps={"toy": 1})
    assert rollout(Asked(), still(), key, protocol).protocol == "openpi"


def test_a_policy_of_the_profiles_own_kind_deviates_in_nothing():
    lerobot = PROTOCOLS["lerobot"]
    assert lerobot.deviations("p", dataclasses.replace(lerobot.inputs, sampling=False, horizon=50)) == []
    (noise,) = lerobot.deviations("p", dataclasses.replace(lerobot.inputs, sampling=True))
    assert noise.startswith("noise: seed 1000")
    (placements,) = PROTOCOLS["oft"].deviations("p", PROTOCOLS["oft"].inputs)
    assert placements.startswith("placements: seed 0 once per task")


def test_every_difference_and_an_absent_declaration_are_said():
    text = "; ".join(PROTOCOLS["oft"].deviations("small", Conventions(("agentview",), 128, crop_area=1.0)))
    for part in ("cameras: agentview + wrist in the protocol, agentview for policy 'small'", "image_size: 256",
                 "crop_area: 0.9"):
        assert part in text
    assert "does not declare" in PROTOCOLS["oft"].deviations("small", None)[0]


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "remote"])  # a server declares for itself
def test_registered_policies_declare_what_they_were_trained_on(name):
    trained_on = POLICIES[name].trained_on
    open_fields = {f.name for f in dataclasses.fields(trained_on) if getattr(trained_on, f.name) is None}
    pictures = {"image_size", "mirrored", "jpeg", "resize", "crop_area", "prompt"}
    assert open_fields == (set() if trained_on.cameras else pictures)


def test_a_declaration_that_the_policy_does_not_keep_is_refused(monkeypatch):
    (variant,) = make_variants("toy-vla", ["fp"])
    entry = POLICIES["toy-vla"]
    wrong = dataclasses.replace(entry, trained_on=dataclasses.replace(entry.trained_on, image_size=256))
    monkeypatch.setitem(POLICIES, "toy-vla", wrong)
    with pytest.raises(SpecMismatch, match="32 pixels.*256"):
        build(variant)


def test_show_has_every_field_and_diff_only_what_differs():
    assert "max_steps.libero_10" in show("oft") and "inputs.crop_area" in show("oft")
    text = diff("oft", "openvla")
    assert "replan_every" in text and "inputs.cameras" in text and "settle_steps" not in text
    assert diff("oft", "oft") == "oft and oft are the same"


def test_the_command_prints_a_table_and_refuses_unknown_names(capsys):
    assert main(["protocol", "diff", "oft", "lerobot"]) == 0
    assert "360" in capsys.readouterr().out
    assert main(["protocol", "show", "open"]) == 2
    assert "did you mean 'openpi'?" in capsys.readouterr().err
