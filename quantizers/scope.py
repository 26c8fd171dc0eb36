"""What the configs of all methods have in common: legal values, the layers in scope, the backend that `auto` means."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from torch import nn

from quantizers import native
from quantizers.audit import Status
from quantizers.backends import Backend
from quantizers.layout import ModelLayout

BackendChoice = Literal["auto", "reference", "cpu", "mixed"]
"""A backend of `quantizers.linear`, or `auto`."""


def resolve_backend(choice: BackendChoice, activation_bits: int | None) -> tuple[Backend, str | None]:
    """The backend that a config gets on this machine, and why it is not the faster one, if it is not."""
    if choice != "auto":
        return choice, None
    if activation_bits is None:
        return "reference", "activations are not quantized, so there is no integer product"
    reason = native.why_unavailable()
    return ("mixed", None) if reason is None else ("cpu", reason)


def literals(hint: Any) -> tuple[Any, ...]:
    """All values that a type hint made of Literal, None and tuples of them allows; empty if it allows others."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) is tuple:
        return literals(get_args(hint)[0])
    if hint is type(None):
        return (None,)
    if hint is bool:
        return (True, False)
    parts = [literals(part) for part in get_args(hint)]
    return tuple(value for part in parts for value in part) if parts and all(parts) else ()


GROUPS = (128, 64, 32)
"""Group sizes that `auto` tries, the published one first."""
GroupChoice = int | Literal["auto"] | None
"""Inputs that share a scale; None for whole rows; `auto` for the first of `GROUPS` that divides the inputs of a layer,
and the whole row if none does. A number must divide the inputs of every layer in scope."""


def group_of(inputs: int, choice: GroupChoice) -> int | None:
    """The group size of a layer with this many inputs."""
    if choice == "auto":
        return next((size for size in GROUPS if inputs % size == 0), None)
    return choice


def check_positive(config: Any, *names: str) -> None:
    """Raise ValueError unless the named fields of a config are positive numbers, or not numbers at all."""
    for name in names:
        value = getattr(config, name)
        if isinstance(value, int | float) and not value > 0:
            raise ValueError(f"{name} is {value}; it must be positive")


def check_static(config: Any, *scales: str) -> None:
    """Raise ValueError for scales per input channel on a backend that multiplies integers, or a bad percentile."""
    if not 0 < config.percentile <= 100:
        raise ValueError(f"percentile is {config.percentile}; it must lie above 0 and be at most 100")
    if "channel" in scales and config.backend != "reference":
        raise ValueError(
            f"scales per input channel stand inside the sum of a product, which no integer backend can do; backend is "
            f"{config.backend!r}, it must be 'reference', or take scales per token, tensor or step"
        )


def check_head(config: Any, denoises: bool) -> None:
    """Raise ValueError for a config that asks for what only a diffusion head has, of a policy without one."""
    reason = config.needs_denoiser() if hasattr(config, "needs_denoiser") and not denoises else None
    if reason is not None:
        raise ValueError(f"this policy does not denoise: {reason}")


def check_groups(linears: Mapping[str, nn.Linear], choice: GroupChoice) -> None:
    """Raise ValueError for the first layer whose inputs the group size does not divide."""
    for name, layer in linears.items():
        size = group_of(layer.in_features, choice)
        if size is not None and layer.in_features % size:
            raise ValueError(
                f"layer {name!r} ({layer.in_features} -> {layer.out_features}): group size {size} does not divide the "
                f"{layer.in_features} inputs of the layer"
            )


def check_choices(config: Any) -> None:
    """Raise ValueError for a field with a value outside the Literal that its type names."""
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        legal = literals(hints[field.name])
        value = getattr(config, field.name)
        many = get_origin(hints[field.name]) is tuple
        if many and (not isinstance(value, tuple) or not value):
            raise ValueError(f"{field.name} is {value!r}; it must be a tuple of at least one value")
        for item in value if many else (value,):
            if legal and item not in legal:
                raise ValueError(f"{field.name} is {item!r}; legal values are {', '.join(map(str, legal))}")
    if config.backend in ("cpu", "mixed") and config.activation_bits is None:
        raise ValueError(
            f"backend {config.backend!r} multiplies integers and needs activation_bits=4 or 8; "
            "use 'reference' or 'auto'"
        )


def reasons_to_keep(module: nn.Module, layout: ModelLayout, config: Any) -> dict[str, tuple[Status, str]]:
    """Name -> (status, reason) of the Linears that `config` leaves alone; the others are to be quantized."""
    owners = Counter(id(part) for _, part in module.named_parameters(remove_duplicate=False))
    roles = getattr(config, "roles", ())
    selected = config.kept(layout) if hasattr(config, "kept") else {}
    reasons: dict[str, tuple[Status, str]] = {}
    for site in layout.linears:
        layer = module.get_submodule(site.name)
        if not roles:
            reasons[site.name] = ("kept", "full precision")
        elif site.role not in roles:
            reasons[site.name] = ("kept", f"role {site.role!r} is outside the scope of the method")
        elif site.name in selected:
            reasons[site.name] = ("kept", selected[site.name])
        elif type(layer) is not nn.Linear:
            reasons[site.name] = ("unsupported", f"a {type(layer).__name__} may be read without being called")
        elif owners[id(layer.weight)] > 1:
            reasons[site.name] = ("unsupported", "its weight is shared with another module")
    return reasons
