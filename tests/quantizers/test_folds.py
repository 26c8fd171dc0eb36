from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from quantizers.folds import AttentionSite, LinearFold, NormFold, apply_, float_tensors, fold_, takes_shift
from quantizers.layout import ModelLayout
from quantizers.preserved import LayoutError, check_folds
from tests.quantizers.architectures import HEAD, KINDS, build


@pytest.mark.parametrize("kind", KINDS)
def test_random_scales_through_every_fold_leave_the_actions(kind):
    network, layout, calibration = build(kind)
    check_folds(network, layout, calibration)
    expected = layout.forward(network, calibration.batches[0])
    for fold in layout.folds:
        moved = copy.deepcopy(network)
        inputs = moved.get_submodule(fold.consumers[0]).in_features
        fold_(moved, fold, torch.rand(len(fold.reduce(torch.ones(inputs)))) * 4 + 0.1)
        assert not torch.equal(moved.get_submodule(fold.consumers[0]).weight,
                               network.get_submodule(fold.consumers[0]).weight)
        torch.testing.assert_close(layout.forward(moved, calibration.batches[0]), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["vit with layer scale", "modulated"])
def test_random_shifts_leave_the_actions_where_biases_can_take_them(kind):
    network, layout, calibration = build(kind)
    expected = layout.forward(network, calibration.batches[0])
    tensors = dict(network.named_parameters())
    shiftable = [fold for fold in layout.folds if takes_shift(tensors, fold)]
    assert len(shiftable) == 6
    for fold in shiftable:
        inputs = network.get_submodule(fold.consumers[0]).in_features
        fold_(network, fold, torch.rand(inputs) + 0.5, torch.randn(inputs))
    torch.testing.assert_close(layout.forward(network, calibration.batches[0]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gemma"])
def test_norms_without_biases_take_no_shift(kind):
    network, layout, _ = build(kind)
    assert not any(takes_shift(dict(network.named_parameters()), fold) for fold in layout.folds)
    with pytest.raises(ValueError, match="no bias"):
        fold_(network, layout.folds[0], torch.ones(32), torch.ones(32))


def test_untied_scales_of_a_rotary_pair_change_the_actions():
    network, layout, calibration = build("llama")
    site = dataclasses.replace(layout.attention[0], rotary="none")
    with pytest.raises(LayoutError, match="AttentionSite.*moves the actions by"):
        check_folds(network, dataclasses.replace(layout, attention=(site,)), calibration)
    tied, untied = copy.deepcopy(network), copy.deepcopy(network)
    expected = layout.forward(network, calibration.batches[0])
    for module, rotary in ((tied, layout.attention[0]), (untied, site)):
        tensors = float_tensors(module, site.query, site.key)
        apply_(module, rotary.moved(tensors, torch.rand(rotary.free_channels(32)) * 2 + 0.1))
    change = [(layout.forward(module, calibration.batches[0]) - expected).abs().max() for module in (tied, untied)]
    assert change[0] < 1e-5 and change[1] > 1e-3


def wrong_folds(layout: ModelLayout) -> dict[str, ModelLayout]:
    first = layout.folds[0]
    return {
        "a reader of the norm is missing": dataclasses.replace(first, consumers=first.consumers[:2]),
        "the offset of the norm is wrong": dataclasses.replace(first, unit_offset=True),
        "the gate does not let a scale through": LinearFold("blocks.0.gate", ("blocks.0.down",)),
    }


@pytest.mark.parametrize("case", wrong_folds(build("llama")[1]))
def test_a_fold_that_does_not_preserve_the_function_is_an_error_that_names_it(case):
    network, layout, calibration = build("llama")
    wrong = wrong_folds(layout)[case]
    rest = [fold for fold in layout.folds if not set(fold.consumers) & set(wrong.consumers)]
    with pytest.raises(LayoutError, match=type(wrong).__name__ + ".*correct the layout"):
        check_folds(network, dataclasses.replace(layout, folds=(*rest, wrong)), calibration)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks": ("blocks.9",)}, "block 'blocks.9'"),
        ({"folds": (NormFold("blocks.0.norm3", ("blocks.0.q",)),)}, "names 'blocks.0.norm3'"),
        ({"folds": (NormFold("blocks.0", ("blocks.0.q",)),)}, "no weight to fold into"),
        ({"folds": (LinearFold("blocks.0.up", ("blocks.0.o",)),)}, "must be a Linear with 64 inputs"),
        ({"folds": (NormFold("blocks.0.norm1", ("blocks.0.q",)), NormFold("blocks.0.norm2", ("blocks.0.q",)))},
         "consumes in two folds"),
        ({"attention": (AttentionSite("blocks.0.q", "blocks.0.k", HEAD, 2),)}, "do not fit heads"),
        ({"attention": (AttentionSite("blocks.0.q", "blocks.0.norm1", HEAD),)}, "no Linear of the module"),
    ],
)
def test_a_layout_that_the_module_does_not_have_is_an_error(change, message):
    network, layout, calibration = build("llama")
    with pytest.raises(LayoutError, match=message):
        check_folds(network, dataclasses.replace(layout, **change), calibration)


def test_shared_value_heads_share_a_scale():
    _, layout, _ = build("llama with shared heads")
    fold = layout.folds[2]
    columns = fold.expand(torch.arange(16.0))
    heads = columns.unflatten(0, (4, 8))
    assert torch.equal(heads[0], heads[1]) and torch.equal(heads[2], heads[3]) and not torch.equal(heads[1], heads[2])
    assert torch.equal(fold.reduce(columns), torch.arange(16.0))
