"""Proof that the folds of a layout change nothing: move random scales through them and compare the actions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial

import torch
from torch import nn

from quantizers.calibration import CalibrationSet
from quantizers.folds import AttentionSite, Fold, ModulationFold, ValueFold, apply_, float_tensors, folded_owner
from quantizers.layout import ModelLayout
from quantizers.plan import replace_
from quantizers.sharing import Changed, sharing_copy

TOLERANCE = 1e-5
"""Largest deviation of the actions, relative to the largest action, for a float32 network."""


class LayoutError(ValueError):
    """A declared fold that the module does not have, or that changes what the module computes."""


def check_folds(module: nn.Module, layout: ModelLayout, calibration: CalibrationSet, seed: int = 0) -> None:
    """Raise LayoutError naming the first fold or attention site that is wrong; two forward passes if all are right.

    Moved weights are made when they are called and let go of, so that no second network is held.
    """
    sites = (*layout.folds, *layout.attention)
    _check_names(module, layout)
    if not sites:
        return
    batch = {name: tensor[:1] for name, tensor in calibration.batches[0].items()}
    with torch.no_grad():
        expected = _expected(module, layout, batch)
        if _deviation(module, layout, sites, batch, expected, seed) <= _tolerance(module):
            return
        for site in sites:
            deviation = _deviation(module, layout, (site,), batch, expected, seed)
            if not deviation <= _tolerance(module):
                raise LayoutError(
                    f"the layout declares {site}, but a random scale through it moves the actions by {deviation:.1e} "
                    f"of the largest; the limit is {_tolerance(module):.1e}; correct the layout of the policy"
                )
    raise LayoutError("the folds of the layout change the actions together, though none does alone; do they overlap?")


def check_unchanged(
    module: nn.Module, moved: nn.Module, layout: ModelLayout, calibration: CalibrationSet, what: str
) -> float:
    """How far the actions of `moved` are from those of `module`, relative to the largest, on one sample.

    Raises LayoutError, naming `what` was done, above the limit that holds for folds.
    """
    batch = {name: tensor[:1] for name, tensor in calibration.batches[0].items()}
    with torch.no_grad():
        expected = _expected(module, layout, batch)
        deviation = _relative(layout.forward(moved, batch), expected)
    if not deviation <= _tolerance(module):
        raise LayoutError(
            f"{what} move the actions by {deviation:.1e} of the largest, before anything is rounded; the limit is "
            f"{_tolerance(module):.1e}; correct the folds and attention sites in the layout of the policy"
        )
    return deviation


def _expected(module: nn.Module, layout: ModelLayout, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    actions = layout.forward(module, batch).clone()
    if not torch.isfinite(actions).all():
        raise ValueError(
            "the actions of the full-precision network hold NaN or infinite values on the first calibration sample; "
            "the checkpoint or the observation is broken"
        )
    return actions


def _relative(actions: torch.Tensor, expected: torch.Tensor) -> float:
    return ((actions - expected).abs().max() / expected.abs().max().clamp_min(1e-30)).item()


def _deviation(
    module: nn.Module,
    layout: ModelLayout,
    sites: tuple[Fold | AttentionSite, ...],
    batch: Mapping[str, torch.Tensor],
    expected: torch.Tensor,
    seed: int,
) -> float:
    generator = torch.Generator().manual_seed(seed)
    moves = [(site, torch.empty(_channels(module, site)).uniform_(0.5, 2.0, generator=generator)) for site in sites]
    moved = sharing_copy(module)
    owners = Counter(id(parameter) for _, parameter in module.named_parameters(remove_duplicate=False))
    touched = dict.fromkeys(name for site in sites for name in _parts(site))
    if any(owners[id(tensor)] > 1 for name in touched for tensor in module.get_submodule(name).parameters()):
        # Moving scales into a shared weight changes what its other owner computes, which must not escape the proof.
        for site, scale in moves:
            tensors = float_tensors(moved, *_parts(site))
            for part in _parts(site):
                apply_(moved, _moved(tensors, site, part, scale))
    else:
        for name in touched:
            own = [move for move in moves if name in _parts(move[0])]
            replace_(moved, name, Changed(module.get_submodule(name), partial(_changed, module, name, own)))
    return _relative(layout.forward(moved, batch), expected)


def _changed(
    module: nn.Module, name: str, moves: list[tuple[Fold | AttentionSite, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """The parameters of one part, by its own names, after these moves."""
    tensors = float_tensors(module, name)
    for site, scale in moves:
        tensors |= _moved(tensors, site, name, scale)
    own = dict(module.get_submodule(name).named_parameters(recurse=False))
    return {key: tensors[f"{name}.{key}"].to(parameter.dtype) for key, parameter in own.items()}


def _moved(
    tensors: Mapping[str, torch.Tensor], site: Fold | AttentionSite, name: str, scale: torch.Tensor
) -> dict[str, torch.Tensor]:
    if isinstance(site, AttentionSite):
        return {key: value for key, value in site.moved(tensors, scale).items() if key.startswith(f"{name}.")}
    return folded_owner(tensors, site, name, scale)


def _parts(site: Fold | AttentionSite) -> tuple[str, ...]:
    """The modules that a scale through the site changes."""
    return (site.query, site.key) if isinstance(site, AttentionSite) else (site.producer, *site.consumers)


def _channels(module: nn.Module, site: Fold | AttentionSite) -> int:
    """How many numbers a scale through the site has."""
    if isinstance(site, AttentionSite):
        return site.free_channels(module.get_submodule(site.key).out_features)
    return len(site.reduce(torch.ones(module.get_submodule(site.consumers[0]).in_features)))


def _tolerance(module: nn.Module) -> float:
    dtypes = {parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()}
    # A network of lower precision is moved in float32 but keeps its type, so its own rounding is all one can ask for.
    return max([TOLERANCE, *(64 * torch.finfo(dtype).eps for dtype in dtypes if dtype.itemsize < 4)])


def _check_names(module: nn.Module, layout: ModelLayout) -> None:
    parts = dict(module.named_modules())
    for block in layout.blocks:
        if block not in parts:
            raise LayoutError(f"the layout names the block {block!r}, which the module does not have")
    seen: set[str] = set()
    for fold in layout.folds:
        for name in (fold.producer, *fold.consumers):
            if name not in parts:
                raise LayoutError(f"{fold} names {name!r}, which the module does not have")
        if not hasattr(parts[fold.producer], "weight"):
            raise LayoutError(f"{fold}: {fold.producer!r} has no weight to fold into")
        _check_sizes(parts, fold)
        for name in fold.consumers:
            if name in seen:
                raise LayoutError(f"{name!r} consumes in two folds; a Linear reads one input")
            seen.add(name)
    for site in layout.attention:
        _check_heads(parts, site)


def _check_sizes(parts: Mapping[str, nn.Module], fold: Fold) -> None:
    given = len(parts[fold.producer].weight)
    if isinstance(fold, ModulationFold):
        starts = [start for start in (fold.scale_row, fold.shift_row) if start is not None]
        if min(starts) < 0 or max(starts) + fold.width > given:
            raise LayoutError(f"{fold}: {fold.producer!r} has {given} rows")
        given = fold.width
    elif isinstance(fold, ValueFold):
        if given % fold.head_dim:
            raise LayoutError(f"{fold}: {given} channels are not whole heads of {fold.head_dim}")
        given *= fold.repeats
    for name in fold.consumers:
        if not isinstance(parts[name], nn.Linear) or parts[name].in_features != given:
            raise LayoutError(f"{fold}: {name!r} is {parts[name]}; it must be a Linear with {given} inputs")


def _check_heads(parts: Mapping[str, nn.Module], site: AttentionSite) -> None:
    for name in (site.query, site.key):
        if not isinstance(parts.get(name), nn.Linear):
            raise LayoutError(f"{site} names {name!r}, which is no Linear of the module")
    keys, queries = parts[site.key].out_features, parts[site.query].out_features
    odd = site.rotary != "none" and site.head_dim % 2
    if keys % site.head_dim or queries != keys * site.repeats or odd:
        raise LayoutError(
            f"{site}: {queries} query and {keys} key channels do not fit heads of {site.head_dim}, "
            f"{site.repeats} query heads per key head"
        )
