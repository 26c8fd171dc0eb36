"""Methods by name: the one table, and configs as text and as JSON.

A method is written `name`, `name:field=value,field=value`, or with the short forms `wN`, `wNaM`, `aM` for its widths:
`rtn:w4` (weights only), `rtn:w8a8`, `rtn:w4a16,group=64`, `qvla:target_bits=4,budget=bytes`. Tuples are separated by
slashes: `qvla:bits=0/4/8`.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from quantizers.awq import AWQ
from quantizers.gptq import GPTQ
from quantizers.identity import Identity
from quantizers.omega_qvla import OmegaQVLA
from quantizers.omniquant import OmniQuant
from quantizers.quantvla import QuantVLA
from quantizers.qvla import QVLA
from quantizers.rtn import RTN
from quantizers.scope import literals
from quantizers.smoothquant import SmoothQuant

QuantConfig = Identity | RTN | SmoothQuant | AWQ | GPTQ | OmniQuant | QVLA | QuantVLA | OmegaQVLA


@dataclass(frozen=True)
class Method:
    """An entry of the registry."""

    target: str
    """`module:attribute` of the config's class."""
    needs_calibration: bool
    """Whether `quantize_` wants a calibration set."""
    least_samples: int = 1
    """Fewest calibration observations from which its statistics are worth anything."""


METHODS: Mapping[str, Method] = {
    "fp": Method("quantizers.identity:Identity", needs_calibration=False),
    "rtn": Method("quantizers.rtn:RTN", needs_calibration=False),
    "smoothquant": Method("quantizers.smoothquant:SmoothQuant", needs_calibration=True, least_samples=8),
    "awq": Method("quantizers.awq:AWQ", needs_calibration=True, least_samples=8),
    "gptq": Method("quantizers.gptq:GPTQ", needs_calibration=True, least_samples=8),
    "omniquant": Method("quantizers.omniquant:OmniQuant", needs_calibration=True, least_samples=8),
    "qvla": Method("quantizers.qvla:QVLA", needs_calibration=True, least_samples=8),
    "quantvla": Method("quantizers.quantvla:QuantVLA", needs_calibration=True, least_samples=8),
    "omega-qvla": Method("quantizers.omega_qvla:OmegaQVLA", needs_calibration=True, least_samples=8),
}

_FIELD_ALIASES = {"group": "group_size"}


class UnknownMethod(ValueError):
    """A method name that is not in the registry."""


def config_class(name: str) -> type:
    """The config class of a method. Raises UnknownMethod with the near matches."""
    if name not in METHODS:
        raise UnknownMethod(f"unknown method {name!r}; legal names are {', '.join(METHODS)}{_nearest(name, METHODS)}")
    module, attribute = METHODS[name].target.split(":")
    return getattr(importlib.import_module(module), attribute)


def method_name(config: QuantConfig) -> str:
    """The registry name of a config. Raises TypeError for a class that is not registered."""
    for name, method in METHODS.items():
        if method.target == f"{type(config).__module__}:{type(config).__qualname__}":
            return name
    raise TypeError(f"{type(config).__name__} is not the config of a registered method")


def parse_method(text: str) -> QuantConfig:
    """The config that `text` names. Raises UnknownMethod for the name, ValueError for a field or value."""
    name, _, options = text.strip().partition(":")
    kind = config_class(name)
    fields: dict[str, Any] = {}
    for option in filter(None, (part.strip() for part in options.split(","))):
        for field, value in _option(kind, name, option).items():
            if field in fields:
                raise ValueError(f"{text!r} gives {field} twice")
            fields[field] = value
    return kind(**fields)


def to_json(config: QuantConfig) -> dict[str, Any]:
    """The config as plain JSON, with its registry name under "method"."""
    fields = dataclasses.asdict(config)
    return {"method": method_name(config)} | {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


def from_json(data: Mapping[str, Any]) -> QuantConfig:
    """The config that `to_json` wrote. Raises UnknownMethod for the name, ValueError for a field or value."""
    fields = dict(data)
    name = fields.pop("method", None)
    kind = config_class(name)
    for field in fields:
        _check_field(kind, name, field)
    return kind(**{field: tuple(value) if isinstance(value, list) else value for field, value in fields.items()})


def _option(kind: type, name: str, option: str) -> dict[str, Any]:
    field, equals, text = option.partition("=")
    if equals:
        field = _FIELD_ALIASES.get(field.strip(), field.strip())
        _check_field(kind, name, field)
        return {field: _value(field, text.strip(), get_type_hints(kind)[field])}
    short = re.fullmatch(r"(?:w(\d+))?(?:a(\d+))?", option)
    if not short:
        raise ValueError(f"{option!r} is neither field=value nor a short form such as w4, w8a8 or a8")
    weight, activation = short.groups()
    widths: dict[str, Any] = {} if weight is None else {"weight_bits": int(weight)}
    # W4 alone has meant weights only since GPTQ; an activation of 16 bits is one that is not quantized.
    widths["activation_bits"] = None if activation in (None, "16") else int(activation)
    for field in widths:
        _check_field(kind, name, field)
    return widths


def _check_field(kind: type, name: str, field: str) -> None:
    legal = [known.name for known in dataclasses.fields(kind)]
    if field not in legal:
        listed = ", ".join(legal) if legal else "none"
        raise ValueError(f"method {name!r} has no field {field!r}; its fields are {listed}{_nearest(field, legal)}")


def _value(field: str, text: str, hint: Any) -> Any:
    if get_origin(hint) is tuple:
        return tuple(_value(field, part, get_args(hint)[0]) for part in text.split("/"))
    legal = literals(hint)
    if legal:
        for value in legal:
            if text.lower() == str(value).lower():
                return value
        names = [str(value) for value in legal]
        raise ValueError(f"{field} is {text!r}; legal values are {', '.join(names)}{_nearest(text, names)}")
    if NoneType in get_args(hint) and text.lower() == "none":
        return None
    words = [word for part in get_args(hint) for word in literals(part) if isinstance(word, str)]
    if text.lower() in words:
        return text.lower()
    number = next(kind for kind in (hint, *get_args(hint)) if kind in (int, float))
    kinds = ["an integer" if number is int else "a number", *map(repr, words)]
    try:
        return number(text)
    except ValueError as error:
        raise ValueError(f"{field} is {text!r}; it must be {' or '.join(kinds)}") from error


def _nearest(text: str, names: Any) -> str:
    close = difflib.get_close_matches(str(text), list(names), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
