"""Protocol profiles as text: one of them, or what sets two apart."""

from __future__ import annotations

import json
from typing import Any

from bench.errors import lookup
from bench.protocol import PROTOCOLS, Protocol

CHECKED = "inputs."
"""Fields that begin so are compared with what the policy declares; a difference is stamped on the run."""
SEEDS = ("env_seed", "env_seed_every", "policy_seed")
"""Kept where they follow from an episode's key; where they do not, that is stamped on the run."""


def show(name: str) -> str:
    """Every field of the profile `name`, its value, and who keeps it. Raises `UsageError` for an unknown name."""
    rows = [(field, _text(value), _keeper(field)) for field, value in _flat(_profile(name)).items()]
    return _table(("field", name, "kept by"), rows)


def diff(first: str, second: str) -> str:
    """The fields in which two profiles differ. Raises `UsageError` for an unknown name."""
    one, other = _flat(_profile(first)), _flat(_profile(second))
    rows = [(field, _text(one.get(field)), _text(other.get(field)), _keeper(field))
            for field in {**one, **other} if one.get(field) != other.get(field)]
    return _table(("field", first, second, "kept by"), rows) if rows else f"{first} and {second} are the same"


def _profile(name: str) -> Protocol:
    return lookup("protocol", name, PROTOCOLS)


def _flat(protocol: Protocol) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for field, value in protocol.to_json().items():
        if isinstance(value, dict):
            flat |= {f"{field}.{inner}": content for inner, content in value.items()}
        elif field != "name":
            flat[field] = value
    return flat


def _keeper(field: str) -> str:
    if field.startswith(CHECKED):
        return "policy, checked"
    return "harness, or stamped" if field in SEEDS else "harness"


def _text(value: Any) -> str:
    if value is None:
        return "not fixed"
    return " + ".join(value) if isinstance(value, list) else value.replace("\n", "\\n") if isinstance(value, str) \
        else json.dumps(value)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in (head, *rows)]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
