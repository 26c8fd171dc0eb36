import pytest
import torch
from torch import nn

from quantizers.blocks import chain, frozen, in_turn
from quantizers.calibration import CalibrationSet
from quantizers.layout import LinearSite, ModelLayout
from tests.quantizers import architectures, denoising


class Row(nn.Module):
    """Three Linears; what lies between the second and the third is told."""

    def __init__(self, between) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(4, 4) for _ in range(3))
        self.between = between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.between(self.b(self.a(x)))).unflatten(-1, (2, 2))


def row(between=lambda x: x) -> tuple[Row, ModelLayout, CalibrationSet]:
    module = Row(between)
    sites = tuple(LinearSite(name, "language") for name in "abc")
    return module, ModelLayout(sites, lambda m, b: m(b["x"])), CalibrationSet.of([{"x": torch.randn(3, 4)}] * 2)


@pytest.mark.parametrize("kind", architectures.KINDS)
def test_blocks_that_pass_on_what_they_got_are_a_chain(kind):
    network, layout, calibration = architectures.build(kind)
    assert chain(network, layout, ["blocks.0", "blocks.1"], calibration) == {"blocks.1"}


@pytest.mark.parametrize("between", [lambda x: x + 1, lambda x: x.add_(1), torch.relu], ids=["new", "in place", "relu"])
def test_what_is_changed_on_the_way_breaks_a_chain(between):
    network, layout, calibration = row(between)
    assert chain(network, layout, list("abc"), calibration, 2) == {"b"}
    assert chain(*row()[:2], list("abc"), calibration) == {"b", "c"}


def test_blocks_in_another_order_than_they_are_called_are_no_chain():
    network, layout, calibration = row()
    assert chain(network, layout, list("acb"), calibration) == set()


def test_blocks_in_a_row_are_rewritten_one_by_one_and_others_together():
    network, layout, calibration = row()
    assert in_turn(network, layout, list("abc"), calibration) == [("a",), ("b",), ("c",)]
    assert in_turn(network, layout, list("acb"), calibration) == [("a",), ("c", "b")]
    network.unused = nn.Linear(4, 4)
    assert in_turn(network, layout, ["a", "unused", "b"], calibration) == [("a",), ("unused",), ("b",)]


def test_layers_of_a_loop_are_rewritten_together():
    network, layout, calibration = denoising.build()
    names = ["language", "dit.attention.to_q", "dit.fc1", "dit.fc2"]
    assert in_turn(network, layout, names, calibration) == [("language",), tuple(names[1:])]


def test_frozen_parameters_ask_for_gradients_again_even_after_an_error():
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    with pytest.raises(RuntimeError, match="why"), frozen(module):
        assert not module.weight.requires_grad
        raise RuntimeError("why")
    assert module.weight.requires_grad and not module.bias.requires_grad
