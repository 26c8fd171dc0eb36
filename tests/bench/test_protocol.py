from __future__ import annotations

import json

import pytest

from bench.errors import UsageError
from bench.protocol import PROTOCOLS
from envs.registry import SUITES


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_every_protocol_can_play_every_suite(protocol):
    assert all(protocol.cap(suite) > 0 for suite in SUITES)
    assert json.loads(json.dumps(protocol.to_json()))["name"] == protocol.name


def test_the_default_is_the_published_one_of_the_oft_policies():
    oft = next(iter(PROTOCOLS.values()))
    caps = [oft.cap(s) for s in ("libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90")]
    assert (oft.name, oft.settle_steps, oft.replan_every, caps) == ("oft", 10, 8, [220, 280, 300, 520, 400])


def test_a_suite_without_a_cap_is_named():
    with pytest.raises(UsageError, match="kitchen"):
        PROTOCOLS["oft"].cap("kitchen")
