"""From names to the thing under test: method texts to variants, variants to policies with their audits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError, unknown
from bench.policies import first_quantizable, full_name, policy_entry, quantizable
from bench.saved import SAVED, load_saved, saved_variant
from bench.serve.remote import connected, server_config
from bench.sources.source import Choice, calibration_set
from bench.spec import FULL_PRECISION, REPEAT, SERVER, PolicyVariant
from envs.types import SpecMismatch
from policies.errors import PolicyError
from policies.registry import PolicyEntry, checkpoint_folder, make_policy

if TYPE_CHECKING:  # they import torch, and names are checked before that
    from policies.base import Policy
    from quantizers.calibration import CalibrationSet


def split_methods(text: str) -> list[str]:
    """The methods of a list separated by blanks or commas; a comma between a method's own options separates nothing.

    After `name:` a comma ends the method only if a method's name follows it.
    """
    from quantizers.registry import METHODS

    found: list[str] = []
    for part in re.split(r"([\s,]+)", text.strip(" ,")):
        if not part or re.fullmatch(r"[\s,]+", part):
            separator = part
        elif found and "," in separator and ":" in found[-1] and part.partition(":")[0] not in (*METHODS, REPEAT):
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found


def make_variants(policy: str, methods: Sequence[str], saved: Path | None = None) -> tuple[PolicyVariant, ...]:
    """Full precision first, then what is saved in `saved`, then one variant per method; one named twice is one.

    Raises `UsageError` for an unknown policy or method, for a policy without a network to quantize, for a method that
    corrects a kind of head that the policy does not have, and for a folder that holds no variant of this very policy.
    """
    policy = full_name(policy)
    entry = policy_entry(policy)
    wanted = [FULL_PRECISION, *(m for m in methods if m != FULL_PRECISION)]
    if set(wanted) - {FULL_PRECISION, REPEAT} and not entry.quantizable:
        raise UsageError(f"policy {policy!r} has no network to quantize, so its only method is {FULL_PRECISION!r}; "
                         f"policies with one: {', '.join(quantizable())}")
    digest = weights_digest(policy, entry)
    for method in wanted:
        _check_head(method, policy, entry)
    server = server_config(policy)
    made = [PolicyVariant(policy, digest, method, _config_json(method) | server) for method in wanted]
    if saved is not None:
        made.insert(1, saved_variant(saved, digest))
    variants: dict[str, PolicyVariant] = {}
    for variant in made:
        variants.setdefault(variant.variant_id, variant)
    return tuple(variants.values())


def one_variant(policy: str | None, method: str) -> PolicyVariant:
    """The variant of one method; None is the first policy with a network to quantize.

    Raises `UsageError` as `make_variants` does, and for several methods or a policy without a network.
    """
    methods = split_methods(method)
    if len(methods) != 1:
        raise UsageError(f"method must be one method, got {methods}; run the command once for each")
    policy = policy or first_quantizable()
    if not policy_entry(policy).quantizable:
        raise UsageError(f"policy {policy!r} has no network to quantize")
    if methods == [REPEAT]:
        raise UsageError(f"{REPEAT!r} is full precision played again, not a quantization")
    return make_variants(policy, methods)[-1]


def weights_digest(name: str, entry: PolicyEntry) -> str | None:
    """sha256 over names and contents of the checkpoint's files, None for a policy without weights.

    Raises `UsageError` if the checkpoint is not here. Calibration observations lie there too, so other ones are another
    variant; a model card is words about the checkpoint, and code that lies beside it is never run.
    """
    try:
        relative = checkpoint_folder(entry)
    except PolicyError as error:
        raise UsageError(f"policy {name!r}: {error}") from error
    if relative is None:
        return None
    folder = package_root() / relative
    files = sorted(path for path in folder.glob("*") if path.is_file() and path.suffix not in (".md", ".py"))
    if not files:
        raise UsageError(f"policy {name!r} needs its weights in {folder}, where no file is; it needs {entry.needs}")
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:  # a shard may be larger than the memory
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def package_root() -> Path:
    """The folder that holds the packages."""
    return Path(find_spec("policies").origin).parent.parent


def build(
    variant: PolicyVariant, calibrate: Callable[[Policy], CalibrationSet] | None = None
) -> tuple[Policy, dict[str, Any] | None]:
    """The policy of a variant, quantized or loaded so, and its audit as JSON; None for one without a network.

    `calibrate` is asked for a calibration set if the method needs one; by default the policy's own observations serve.
    Raises `SpecMismatch` if the policy is not what its entry declares, `UsageError` if the method cannot quantize it.
    """
    entry = policy_entry(variant.policy)
    if SERVER in variant.config:
        return connected(variant), None
    if variant.config["method"] == SAVED:
        return load_saved(variant)
    if variant.config["method"] == REPEAT:
        return build(replace(variant, method=FULL_PRECISION, config=_config_json(FULL_PRECISION)))
    try:
        policy = make_policy(entry)
    except (PolicyError, OSError) as error:
        raise UsageError(f"policy {variant.policy!r}: {error}") from error
    declared = entry.trained_on.image_size if entry.trained_on else None
    if declared not in (None, policy.image_size):
        raise SpecMismatch(f"policy {variant.policy!r} asks for pictures of {policy.image_size} pixels, and "
                           f"policies/registry.py declares that it was trained on {declared}")
    if not entry.quantizable:
        return policy, None
    from quantizers.quantize import quantize_
    from quantizers.registry import METHODS, from_json

    calibration = None
    if METHODS[variant.config["method"]].needs_calibration:
        try:
            calibration = (calibrate or own_calibration)(policy)
        except PolicyError as error:
            raise UsageError(f"method {variant.method!r} of policy {variant.policy!r}: {error}") from error
    try:
        return policy, quantize_(policy.module, policy.layout, from_json(variant.config), calibration).to_json()
    except ValueError as error:
        raise UsageError(f"method {variant.method!r} cannot quantize {variant.policy!r}: {error}") from error


def own_calibration(policy: Any) -> CalibrationSet:
    """All observations that a policy brings for it."""
    return calibration_set(policy, None, Choice())


def require_supported(variant: PolicyVariant, audit: Mapping[str, Any] | None) -> None:
    """Raise `UsageError` if a Linear that the method wanted is unsupported."""
    bad = [layer for layer in (audit or {"layers": ()})["layers"] if layer["status"] == "unsupported"]
    if bad:
        raise UsageError(f"method {variant.method!r} cannot quantize {len(bad)} layers of {variant.policy!r}, first "
                         f"{bad[0]['name']!r} ({bad[0]['reason']}); allow it with --allow-unsupported")


def _check_head(method: str, policy: str, entry: PolicyEntry) -> None:
    if method == REPEAT:
        return
    from quantizers.registry import from_json
    from quantizers.scope import check_head

    try:
        check_head(from_json(_config_json(method)), entry.denoises)
    except ValueError as error:
        raise UsageError(f"method {method!r} on {policy!r}: {error}") from error


def _config_json(method: str) -> dict[str, Any]:
    if method == REPEAT:
        return {"method": REPEAT}
    from quantizers.registry import METHODS, UnknownMethod, parse_method, to_json

    try:
        return to_json(parse_method(method))
    except UnknownMethod as error:
        raise UsageError(unknown("method", method.partition(":")[0], (*METHODS, REPEAT))) from error
    except ValueError as error:
        raise UsageError(f"method {method!r}: {error}") from error
