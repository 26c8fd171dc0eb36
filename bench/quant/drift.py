"""How far each method moves the actions of a policy, and for how many bytes.

Drift is teacher-forced on the policy's own training-side observations. Every observation is answered by a network that
was calibrated on the other half of them (two folds), and by full precision. One half alone has a single moment at which
the gripper is undecided, which then decides what is measured.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.drift import compare_actions
from bench.figure import figure
from bench.sources.source import BATCH
from policies.registry import POLICIES, policy_class
from quantizers.audit import QuantAudit
from quantizers.calibration import CalibrationSet
from quantizers.plan import Plan
from quantizers.quantize import accounted, quantize_
from quantizers.qvla import QVLA, Measured, allocate_widths, measure
from quantizers.registry import METHODS, parse_method
from quantizers.scope import reasons_to_keep

WIDTHS = ("w8a8", "w4a16", "w4a8", "w4a4")
LEARNED_WIDTHS = ("w4a16", "w4a4")
"""The settings that OmniQuant is published for; learning takes minutes."""
BASELINES = ("rtn:w4a8", "smoothquant:w4a8", "awq:w4a8,group=none")
"""Scales per row and token, as QVLA's."""
MEAN_BITS = "qvla:check_channels=32"
"""4 bits on average."""
EQUAL_BYTES = "qvla:budget=bytes,rule=hull,check_channels=32,target_bits={bits:.5f}"
RELEASED = ("qvla:budget=bytes,rule=released,sensitivity=gram,clip=absmax,rounding=nearest,prune_penalty=1,"
            "check_channels=0,target_bits={bits:.5f}")
_ALLOCATION_FIELDS = ("target_bits", "budget", "rule", "prune_penalty", "activation_bits", "backend")
"""Knobs of QVLA that change nothing about what is measured."""


def folds(policy: Any) -> list[tuple[CalibrationSet, list[Any]]]:
    """What is calibrated on and what is answered: the even and the odd observations, and the other way round."""
    observations, episodes = policy.calibration_observations()
    return [(calibration_set(policy, observations[first::2], episodes[first::2]), observations[1 - first::2])
            for first in (0, 1)]


def calibration_set(policy: Any, observations: Sequence[Any], episodes: Sequence[str]) -> CalibrationSet:
    """The observations in batches."""
    batches = [policy.batch(observations[i:i + BATCH]) for i in range(0, len(observations), BATCH)]
    return CalibrationSet.of(batches, episodes)


def answers(policy: Any, observations: Sequence[Any]) -> np.ndarray:
    """float32[N * H, 7]: the actions for observations of one decision each, with the same noise every time."""
    policy.reset((0,))
    return np.concatenate([policy.act([observation])[0] for observation in observations])


class Drifts:
    """One policy, and how far each method moves what it answers."""

    def __init__(self, name: str, policy: Any = None) -> None:
        """`policy` is what is at hand already under this name."""
        self.name, self.policy = name, policy_class(POLICIES[name])() if policy is None else policy
        self.folds = folds(self.policy)
        self.calibration, self.observations = self.folds[0]
        self.full = self.policy.module
        self.references = [answers(self.policy, observations) for _, observations in self.folds]
        self.rows: dict[str, dict[str, Any]] = {}
        self.audits: dict[str, QuantAudit] = {}
        self._measured: dict[tuple[int, QVLA], Measured] = {}

    def of(self, method: str) -> dict[str, Any]:
        """Drift, bytes and seconds of a method; measured once."""
        if method in self.rows:
            return self.rows[method]
        config = parse_method(method)
        found, audits, seconds = [], [], []
        for fold, (calibration, observations) in enumerate(self.folds):
            self.policy.module = copy.deepcopy(self.full)
            began = time.perf_counter()
            planned = self._planned(config, fold) if isinstance(config, QVLA) else None
            audits.append(quantize_(self.policy.module, self.policy.layout, config, calibration, planned))
            seconds.append(time.perf_counter() - began)
            found.append(answers(self.policy, observations))
            self.policy.module = self.full
        spec = self.policy.action_spec
        drift = compare_actions(np.concatenate(self.references), np.concatenate(found), spec)
        each = [compare_actions(*pair, spec)["l2_mean"] for pair in zip(self.references, found, strict=True)]
        share = max(audit.component_bytes / audit.component_bytes_full for audit in audits)
        row = {"drift": drift["l2_mean"], "drift_of_folds": each, "gripper_flips": drift["gripper_flips"],
               "seconds": sum(seconds) / len(seconds), "bytes": max(audit.storage_bytes for audit in audits),
               "bytes_share": share, "mean_bits": audits[0].mean_bits,
               "bits_per_weight": min(audit.mean_bits_per_weight for audit in audits), "backend": audits[0].backend}
        print(f"{self.name:13} {method:62.62} drift {row['drift']:.4f}  flips {row['gripper_flips']:3}  bytes "
              f"{100 * share:5.1f} %  {row['seconds']:6.1f} s  {row['backend']}", flush=True)
        self.rows[method], self.audits[method] = row, audits[0]
        return row

    def scope(self, config: QVLA) -> dict[str, nn.Linear]:
        """The layers of the policy that a config wants."""
        linears = accounted(self.full, self.policy.layout)
        reasons = reasons_to_keep(self.full, self.policy.layout, config)
        return {name: layer for name, layer in linears.items() if name not in reasons}

    def _planned(self, config: QVLA, fold: int) -> Plan:
        """What QVLA does; sensitivities are measured once for all budgets."""
        plain, linears = QVLA(), self.scope(config)
        key = fold, dataclasses.replace(config, **{name: getattr(plain, name) for name in _ALLOCATION_FIELDS})
        layout, calibration = self.policy.layout, self.folds[fold][0]
        if key not in self._measured:
            self._measured[key] = measure(self.full, layout, linears, config, calibration)
        return allocate_widths(layout, linears, config, calibration, self._measured[key])


def table(drifts: Drifts) -> None:
    """Every method at every width, in its own granularity."""
    for method in METHODS:
        if method == "fp":
            continue
        if method == "qvla":
            texts = [f"qvla:{width}" for width in ("a8", "a16", "a4")]
        elif "weight_bits" not in {field.name for field in dataclasses.fields(parse_method(method))}:
            texts = [method]
        else:
            texts = [f"{method}:{width}" for width in (LEARNED_WIDTHS if method == "omniquant" else WIDTHS)]
        for text in texts:
            drifts.of(text)


def drift_figures(drifts: Drifts, whole_table: bool) -> dict[str, Any]:
    """The promises about drift and bytes. One run of QVLA, with no more bytes than any baseline has, is held to all."""
    if whole_table:
        table(drifts)
    four = drifts.of(MEAN_BITS)
    found = {"qvla_4_mean_bits_bytes_share": figure(four["bytes_share"], "<=", 0.292),
             "qvla_4_mean_bits_drift_over_rtn": figure(four["drift"] / drifts.of(BASELINES[0])["drift"], None, None)}
    bits = min(drifts.of(baseline)["bits_per_weight"] for baseline in BASELINES)
    own, released = (drifts.of(text.format(bits=bits)) for text in (EQUAL_BYTES, RELEASED))
    others = {baseline.partition(":")[0]: drifts.of(baseline) for baseline in BASELINES} | {"released_rule": released}
    for name, other in others.items():
        limit = 0.5 if name == "rtn" else 1.0
        ratio = own["drift"] / other["drift"]
        found[f"qvla_drift_over_{name}_at_equal_bytes"] = figure(ratio, "<=", limit)
    found["qvla_bytes_over_least_baseline_bytes"] = figure(
        own["bytes"] / min(drifts.of(baseline)["bytes"] for baseline in BASELINES), "<=", 1.0)
    for width, value in drifts.audits[MEAN_BITS].diagnostics["spearman"].items():
        found[f"spearman_with_exact_channels_at_{width}_bits"] = figure(
            value, ">=", 0.9, None if value is not None else "all estimates or all true values are equal")
    return {f"{drifts.name}.{name}": value for name, value in found.items()}


def sensitivity_figures(drifts: Drifts) -> dict[str, Any]:
    """Seconds for the sensitivity of all channels at 0, 2, 4 and 8 bits, on all observations as `METHOD=qvla` has."""
    observations, episodes = drifts.policy.calibration_observations()
    config = parse_method("qvla:check_channels=0")
    linears, calibration = drifts.scope(config), calibration_set(drifts.policy, observations, episodes)
    began = time.perf_counter()
    measure(drifts.full, drifts.policy.layout, linears, config, calibration)
    seconds = time.perf_counter() - began
    channels = sum(layer.out_features for layer in linears.values())
    print(f"{drifts.name}: sensitivity of {channels:,} channels at 4 widths on {len(observations)} observations: "
          f"{seconds:.1f} s, {torch.get_num_threads()} thread(s)", flush=True)
    return {f"{drifts.name}.sensitivity_of_all_channels_s": figure(seconds, "<=", 60.0, samples=[seconds])}
