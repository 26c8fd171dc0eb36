"""T2 of rotations: none changes the actions before rounding, whether a neighbour takes it or it is run."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from quantizers.preserved import LayoutError
from quantizers.turning import Recipe, prove, turning
from tests.quantizers import architectures, denoising

RECIPES = {
    "svd with outputs": Recipe("svd", 16, outputs=True),
    "svd hadamard dealt": Recipe("svd_hadamard", 8, "zigzag", outputs=True),
    "hadamard": Recipe("hadamard", 64, "snake"),
    "outputs alone": Recipe("none", 8, outputs=True),
}


def recipes(layout, recipe: Recipe, *without: str) -> dict[str, Recipe]:
    return {site.name: recipe for site in layout.linears
            if site.role in ("language", "dit") and site.name not in without}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("kind", [*architectures.KINDS, "denoiser"])
def test_rotations_leave_the_actions(kind, recipe):
    network, layout, calibration = denoising.build() if kind == "denoiser" else architectures.build(kind)
    made = turning(network, layout, recipes(layout, recipe))
    assert prove(made, network, layout, calibration) < 1e-5
    changed = [name for name, weight in network.state_dict().items() if not torch.equal(
        weight, made.module.state_dict()[name])]
    assert bool(changed) == bool(made.values or made.rows_done)


@pytest.mark.parametrize("kind", architectures.KINDS)
def test_scales_of_channels_move_without_changing_the_actions(kind):
    network, layout, calibration = architectures.build(kind)
    for recipe in (RECIPES["svd hadamard dealt"], Recipe("none", 8)):
        made = turning(network, layout, recipes(layout, recipe))
        for name in made.around:
            asked = torch.rand(network.get_submodule(name).in_features) + 0.5
            got = made.divide_(name, asked)
            assert torch.equal(got, asked) or name in made.values
        assert prove(made, network, layout, calibration) < 1e-5


def test_what_a_neighbour_can_take_is_not_run():
    network, layout, calibration = architectures.build("modulated")
    made = turning(network, layout, recipes(layout, RECIPES["svd with outputs"]))
    for block in ("blocks.0", "blocks.1"):
        assert made.around[f"{block}.o"].turn_in is None and f"{block}.o" in made.values
        assert {f"{block}.q", f"{block}.k", f"{block}.v"} <= made.rows_done
        assert all(made.around[f"{block}.{name}"].turn_out is None for name in "qkv")
        assert made.around[f"{block}.o"].turn_out is not None and made.around[f"{block}.q"].turn_in is not None


def test_positions_keep_queries_and_keys_apart():
    network, layout, _ = architectures.build("llama")
    made = turning(network, layout, recipes(layout, RECIPES["svd with outputs"]))
    assert made.around["blocks.0.q"].turn_out is not None and "blocks.0.q" not in made.rows_done


def test_layers_that_are_kept_take_no_rotation():
    network, layout, calibration = architectures.build("modulated")
    kept = ("blocks.0.v", "blocks.1.k")
    made = turning(network, layout, recipes(layout, RECIPES["svd with outputs"], *kept))
    state = made.module.state_dict()
    assert all(torch.equal(state[f"{name}.weight"], network.get_submodule(name).weight) for name in kept)
    assert made.around["blocks.0.o"].turn_in is not None and made.around["blocks.1.q"].turn_out is not None
    assert prove(made, network, layout, calibration) < 1e-5


def test_a_wrong_layout_is_found_before_anything_is_rounded():
    network, layout, calibration = architectures.build("llama")
    wrong = dataclasses.replace(layout, attention=tuple(dataclasses.replace(site, rotary="none")
                                                        for site in layout.attention))
    made = turning(network, wrong, recipes(layout, RECIPES["svd with outputs"]))
    with pytest.raises(LayoutError, match="the rotations move the actions by .* before anything is rounded"):
        prove(made, network, wrong, calibration)
