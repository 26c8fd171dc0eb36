"""The setting of a quantization as papers write it: bits of weights and of activations, such as W4A8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.load import RunData, Variant
from reports.measures import Missing

WEIGHT_FIELDS = ("weight_bits", "target_bits")
"""Names under which a config states bits of the weights; the first that it has counts."""

FULL = "FP"
"""Setting of full precision."""


def setting_of(run: RunData, variant: Variant) -> Any:
    """"W4A8"; activations that are left alone are A16. `Missing` if the header does not say."""
    if variant.served:
        return Missing("the policy runs on a server, which decides its precision; the header has what it says")
    if variant.method in ("fp", "aa"):
        return FULL
    specs = run.header["spec"].get("variants", ())
    listed = [v["variant_id"] for v in run.header["variants"]]
    if len(specs) != len(listed):
        return Missing("the header does not state the method's bits")
    config: Mapping[str, Any] = specs[listed.index(variant.variant_id)]["config"]
    config = config.get("quantized", config)
    weights = next((config[name] for name in WEIGHT_FIELDS if config.get(name) is not None), None)
    if not isinstance(weights, int | float):
        return Missing("the method's config does not state one number of bits")
    activations = config.get("activation_bits") or 16
    return f"W{weights:g}A{activations:g}"
