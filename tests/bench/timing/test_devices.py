from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace

import pytest
import torch

from bench.errors import UsageError
from bench.timing import orin, rtx4070
from bench.timing.cuda import CudaProbe
from bench.timing.place import cannot_move, move
from bench.timing.probe import BUILTIN, TimingProbe, devices, open_probe
from bench.timing.work import count_work, roofline
from quantizers.linear import QuantLinear


@pytest.mark.parametrize("name", [entry.name for entry in BUILTIN])
def test_every_probe_keeps_the_contract(name):
    probe = open_probe(name)
    assert probe.device == name
    for member in [m for m in vars(TimingProbe) if not m.startswith("_")] + list(TimingProbe.__annotations__):
        assert hasattr(probe, member), member
    assert probe.peaks is None or all(getattr(probe.peaks, f.name) for f in fields(probe.peaks))
    reason = probe.unavailable()
    assert reason is None or len(reason) > 20


def test_auto_takes_the_first_device_of_the_machine():
    assert devices()[-1] == "cpu" and open_probe("auto").unavailable() is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_card_the_reason_names_the_installed_pytorch():
    assert torch.__version__ in CudaProbe().unavailable()


@pytest.mark.parametrize(("name", "right"), [
    ("NVIDIA GeForce RTX 4070", True), ("NVIDIA GeForce RTX 4070 Ti", False), ("NVIDIA GeForce RTX 4070 SUPER", False),
    ("NVIDIA GeForce RTX 4070 Laptop GPU", False), ("NVIDIA H200", False),
])
def test_only_the_desktop_card_is_an_rtx_4070(monkeypatch, name, right):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: name)
    reason = rtx4070.Rtx4070Probe().unavailable()
    assert reason is None if right else name in reason


@pytest.mark.parametrize(("model", "right"), [
    (b"NVIDIA Jetson AGX Orin Developer Kit\x00", True), (b"NVIDIA Jetson Orin Nano Developer Kit\x00", False),
    (b"Raspberry Pi 5\x00", False), (None, False),
])
def test_only_an_agx_orin_is_an_orin(monkeypatch, tmp_path, model, right):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(orin, "MODEL_FILE", tmp_path / "model")
    if model is not None:
        (tmp_path / "model").write_bytes(model)
    assert (orin.OrinProbe().unavailable() is None) is right


def test_a_policy_that_stays_on_the_cpu_is_not_timed_as_a_card():
    card, moved = SimpleNamespace(torch_device="cuda"), []
    still, movable = SimpleNamespace(), SimpleNamespace(to=moved.append)
    assert "has no method `to`" in cannot_move(still, "p", card)
    assert cannot_move(movable, "p", card) is None and cannot_move(still, "p", open_probe("cpu")) is None
    move(movable, card)
    assert moved == ["cuda"]


def test_the_work_of_every_call_of_every_linear_layer_is_counted():
    weight = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    layer = QuantLinear(weight, None, torch.full((8,), 8), activation_bits=8, backend="cpu")
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), layer)
    calls = count_work(net, lambda: [net(torch.zeros(3, 4)) for _ in range(2)])
    assert [c["macs"] for c in calls] == [48, 96, 48, 96] and [c["integer"] for c in calls] == [False, True] * 2
    assert calls[0]["weight_bytes"] == 2 * 20 and calls[1]["weight_bytes"] == layer.held_bytes()
    assert not net[0]._forward_hooks and not layer._forward_hooks


def test_the_roofline_is_the_longer_of_reading_and_multiplying():
    peaks = rtx4070.Rtx4070Probe.peaks
    reading = {"macs": 1, "weight_bytes": 504e6, "integer": True}
    multiplying = {"macs": 233e9 / 2, "weight_bytes": 1, "integer": True}
    assert roofline([reading], peaks, "rtx4070")["ms"] == pytest.approx(1.0)
    assert roofline([multiplying], peaks, "rtx4070")["ms"] == pytest.approx(1.0)
    assert roofline([reading, multiplying], peaks, "rtx4070")["ms"] == pytest.approx(2.0)
    assert roofline([reading], None, "cpu")["reason"] == "no peaks are published for cpu"


def test_an_unknown_device_is_answered_with_the_near_match():
    with pytest.raises(UsageError, match="did you mean 'orin'"):
        open_probe("orion")
