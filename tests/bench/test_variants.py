from __future__ import annotations

import pytest

from bench import variants
from bench.command import legal_policy
from bench.errors import UsageError
from bench.variants import build, make_variants, split_methods, weights_digest
from policies.registry import POLICIES, PolicyEntry


@pytest.mark.parametrize(("text", "methods"), [
    ("qvla", ["qvla"]),
    ("rtn qvla", ["rtn", "qvla"]),
    (" rtn,qvla, fp ", ["rtn", "qvla", "fp"]),
    ("rtn:w4,group=64,qvla:bits=4/8,rule=hull rtn", ["rtn:w4,group=64", "qvla:bits=4/8,rule=hull", "rtn"]),
    ("rtn:w8a8,rtn:w4,clip=search", ["rtn:w8a8", "rtn:w4,clip=search"]),
    ("", []),
])
def test_commas_separate_methods_but_not_the_options_of_one(text, methods):
    assert split_methods(text) == methods


def test_full_precision_is_first_and_nothing_is_twice():
    made = make_variants("toy-vla", ["rtn:w4", "fp", "rtn:w4a16", "rtn"])
    assert [v.method for v in made] == ["fp", "rtn:w4", "rtn"]


def test_every_file_of_the_checkpoint_decides_the_variant(tmp_path, monkeypatch):
    entry = PolicyEntry("m:C", ("toy",), True, "checkpoint", "a checkpoint")
    monkeypatch.setattr(variants, "package_root", lambda: tmp_path)
    with pytest.raises(UsageError, match="no file"):
        weights_digest("p", entry)
    (tmp_path / "checkpoint").mkdir()
    digests = []
    for name, content in (("model", b"1"), ("calibration", b"1"), ("calibration", b"2")):
        (tmp_path / "checkpoint" / name).write_bytes(content)
        digests.append(weights_digest("p", entry))
    assert len(set(digests)) == 3 and weights_digest("p", entry) == digests[-1]


def test_a_method_with_calibration_gets_the_policy_s_own():
    _, variant = make_variants("toy-vla", ["qvla"])
    _, audit = build(variant)
    assert audit["method"] == "qvla" and len(audit["calibration_digest"]) == 64
    assert build(variant)[1]["calibration_digest"] == audit["calibration_digest"]


def test_a_policy_without_a_network_has_no_audit():
    (variant,) = make_variants("toy-scripted", ["fp"])
    policy, audit = build(variant)
    assert policy.name == "toy-scripted" and audit is None


def test_the_default_policy_of_a_suite_can_be_quantized():
    for suite in {suite for e in POLICIES.values() if e.quantizable and e.takes is None for suite in e.suites}:
        assert POLICIES[legal_policy(suite, None)].quantizable
