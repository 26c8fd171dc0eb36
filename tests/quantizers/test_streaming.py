"""Quantizing never holds two copies of a network."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn

from quantizers import quantize
from quantizers.layout import LinearSite, ModelLayout
from quantizers.quantize import quantize_
from quantizers.registry import parse_method


def network(widths: tuple[int, ...]) -> tuple[nn.Sequential, ModelLayout]:
    torch.manual_seed(0)
    module = nn.Sequential(*(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)))
    sites = tuple(LinearSite(str(index), "language") for index in range(len(module)))
    return module, ModelLayout(sites, lambda m, b: m(b["x"]))


def test_each_layer_is_let_go_before_the_next_is_quantized(monkeypatch):
    module, layout = network((32, 32, 32, 32))
    weights = [weakref.ref(layer.weight) for layer in module]
    alive: list[int] = []
    real = quantize._quantized

    def counted(site, layer, config, plan, backend, rows=None):
        gc.collect()
        if rows is None:
            alive.append(sum(ref() is not None for ref in weights))
        return real(site, layer, config, plan, backend, rows)

    monkeypatch.setattr(quantize, "_quantized", counted)
    audit = quantize_(module, layout, parse_method("rtn:w4a4"))
    assert alive == [3, 2, 1] and len(audit.layers) == 3 and "arithmetic" in audit.diagnostics


def test_a_layer_that_does_not_fit_is_refused_before_the_first_is_touched():
    module, layout = network((128, 128, 96, 32))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(ValueError, match="layer '2'.*128 does not divide"):
        quantize_(module, layout, parse_method("rtn:w4,group=128"))
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
