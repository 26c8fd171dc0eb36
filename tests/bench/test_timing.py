from __future__ import annotations

import pytest

from bench.errors import UsageError
from bench.timing.cpu import CpuProbe
from bench.timing.interleave import interleaved, timing_json
from bench.timing.probe import devices, open_probe
from bench.timing.samples import LatencySamples, speedup


class CountingProbe:
    device = "counter"

    def unavailable(self):
        return None

    def once_ms(self, step):
        return float(step())


def test_variants_take_turns_on_the_same_input():
    calls = []

    def step(name):
        return lambda value: calls.append((name, value)) or 1

    interleaved(CountingProbe(), {"a": step("a"), "b": step("b")}, [0, 1, 2], rounds=4, warmup=0)
    assert calls == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2), ("b", 0), ("a", 0)]


def test_warm_up_calls_are_not_samples():
    calls = []
    samples = interleaved(CountingProbe(), {"a": lambda value: calls.append(1) or len(calls)}, [0], rounds=2, warmup=5)
    assert samples["a"].samples_ms == (6.0, 7.0)


def test_the_speed_up_is_the_median_of_the_ratios_within_rounds():
    ratio = speedup(LatencySamples((2.0, 20.0, 4.0)), LatencySamples((1.0, 10.0, 1.0)))
    assert ratio["median"] == 2.0 and ratio["low"] == pytest.approx(2.0) and 2.0 < ratio["high"] <= 4.0


def test_a_variant_without_a_claim_has_its_reason_in_place_of_a_figure():
    samples = {"fp": LatencySamples((2.0,)), "x": LatencySamples((1.0,)), "y": LatencySamples((1.0,))}
    content = timing_json("cpu", 1, samples, "fp", {"y": "reference"})
    assert content["speedup"]["x"]["median"] == 2.0
    assert content["speedup"]["y"] == {"median": None, "low": None, "high": None, "reason": "reference"}
    assert "fp" not in content["speedup"] and content["rounds"] == 1


def test_the_cpu_can_be_timed_everywhere():
    assert CpuProbe().unavailable() is None
    assert CpuProbe().once_ms(lambda: None) >= 0
    assert "cpu" in devices() and open_probe("cpu").device == "cpu"


def test_an_unknown_device_is_answered_with_the_near_match():
    with pytest.raises(UsageError, match="did you mean 'cpu'"):
        open_probe("cpuu")
