from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import saved, variants
from bench.cli import main
from bench.errors import UsageError
from bench.quantize import default_name
from bench.saved import load_saved, named_folder, saved_variant
from bench.variants import build, make_variants
from policies.registry import POLICIES, policy_class

BENCH = ["bench", "--suite", "toy", "--trials", "1", "--threads", "1", "--quiet", "--no-video"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch) -> Path:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def quantized(method: str = "rtn", *options: str) -> Path:
    assert main(["quantize", "--policy", "toy-vla", "--method", method, "--threads", "1", *options]) == 0
    return Path("variants") / default_name("toy-vla", method)


def test_quantize_list_bench_goes_from_a_method_to_the_same_actions(capsys):
    folder = quantized("qvla")
    out = capsys.readouterr().out
    sizes = json.loads(out.splitlines()[-1])
    assert sizes["folder"] == str(folder) == "variants/toy-vla-qvla" and f"wrote {folder}: {sizes['bytes']:,}" in out
    assert sizes["bytes"] == sum(path.stat().st_size for path in folder.iterdir())

    assert main(["list"]) == 0
    assert f"  toy-vla-qvla  toy-vla qvla; {sizes['bytes']:,} bytes" in capsys.readouterr().out

    assert main([*BENCH, "--policy", str(folder), "--method", "qvla"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    run = Path(summary["run"])
    header = json.loads((run / "header.json").read_text())
    described = [(v["policy"], v["method"], v["baseline"]) for v in header["variants"]]
    assert described == [("toy-vla", "fp", True), ("toy-vla", f"saved:{folder}", False), ("toy-vla", "qvla", False)]
    _, loaded, made = (v["variant_id"] for v in header["variants"])
    traces = [sorted((run / "traces" / variant).iterdir()) for variant in (loaded, made)]
    assert len(traces[0]) == 2 and [p.read_bytes() for p in traces[0]] == [p.read_bytes() for p in traces[1]]
    audits = [json.loads((run / "audits" / f"{variant}.json").read_text()) for variant in (loaded, made)]
    assert audits[0] == audits[1]


def test_without_a_method_a_saved_variant_runs_beside_full_precision_only(capsys):
    folder = quantized("rtn")
    assert main([*BENCH, "--policy", f"{folder}/"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [v["method"] for v in summary["variants"].values()] == ["fp", f"saved:{folder}"]
    assert main([*BENCH, "--policy", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == summary


def test_the_identity_of_a_saved_variant_is_its_content_and_not_its_place():
    folder = quantized("rtn")
    first = saved_variant(folder, None)
    os.rename(folder, "elsewhere")
    assert saved_variant(Path("elsewhere"), None).variant_id == first.variant_id
    other = saved_variant(quantized("rtn:w4a8"), None)
    (_, fresh) = make_variants("toy-vla", ["rtn"])
    assert len({first.variant_id, other.variant_id, fresh.variant_id}) == 3
    with pytest.raises(UsageError, match="no folder variants/toy-vla-rtn;"):
        load_saved(first)
    os.rename("elsewhere", folder)
    os.rename(other.method.removeprefix("saved:"), "other")
    os.rename(folder, "rtn")
    os.rename("other", folder)
    with pytest.raises(UsageError, match="was replaced"):
        load_saved(first)


def test_no_checkpoint_is_read_to_load_a_saved_variant(monkeypatch):
    (_, variant) = make_variants("toy-vla", ["rtn"])
    expected, audit = build(variant)
    observations, _ = expected.calibration_observations()
    folder = quantized("rtn")
    import policies.toy_vla

    monkeypatch.setattr(policies.toy_vla, "_planted", lambda: pytest.fail("the full-precision weights were made"))
    policy, again = build(saved_variant(folder, None))
    np.testing.assert_array_equal(policy.act(observations), expected.act(observations))
    assert again == json.loads(json.dumps(audit))


def test_other_weights_than_those_it_was_made_from_are_refused(monkeypatch, capsys):
    folder = quantized("rtn")
    monkeypatch.setattr(variants, "weights_digest", lambda name, entry: "b" * 64)
    assert main([*BENCH, "--policy", str(folder)]) == 2
    assert "was made from weights None of 'toy-vla', the full-precision weights here" in capsys.readouterr().err


def test_an_unsupported_layer_is_refused_unless_it_is_allowed(monkeypatch, capsys):
    import policies.toy_vla

    planted = policies.toy_vla._planted

    def tied():
        network = planted()
        network.offset.weight = network.projector.weight
        return network

    monkeypatch.setattr(policies.toy_vla, "_planted", tied)
    assert main(["quantize", "--policy", "toy-vla", "--method", "rtn"]) == 2
    assert "cannot quantize 1 layers" in capsys.readouterr().err and not Path("variants").exists()


def test_what_a_method_cannot_do_is_said_and_nothing_is_written(capsys, monkeypatch):
    assert main(["quantize", "--policy", "toy-vla", "--method", "rtn:w8,group=4", "--out", "new"]) == 2
    assert "layer 'words' (2 -> 64): group size 4 does not divide the 2 inputs" in capsys.readouterr().err
    import policies.toy_vla

    planted = policies.toy_vla._planted

    def broken():
        network = planted()
        network.select.weight.data[0, 0] = float("nan")
        return network

    monkeypatch.setattr(policies.toy_vla, "_planted", broken)
    assert main(["quantize", "--policy", "toy-vla", "--method", "rtn", "--out", "new"]) == 2
    assert "the weight of 'select' holds NaN or infinite values" in capsys.readouterr().err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(("options", "hint"), [
    (["--policy", "toy-vl"], "did you mean 'toy-vla'?"),
    (["--policy", "expert"], "no network to quantize"),
    (["--policy", "toy-vla", "--method", "rnt"], "did you mean 'rtn'?"),
    (["--policy", "toy-vla", "--method", "rtn,qvla"], "must be one method"),
    (["--policy", "toy-vla", "--method", "fp"], "quantizes nothing"),
    (["--policy", "toy-vla", "--out", "taken"], "taken is there already"),
])
def test_what_cannot_be_saved_is_refused_before_any_work(options, hint, capsys, monkeypatch):
    Path("taken").write_text("")
    monkeypatch.setattr("bench.quantize.build", lambda variant: pytest.fail("something was quantized"))
    assert main(["quantize", *options]) == 2
    assert hint in capsys.readouterr().err and [path.name for path in Path().iterdir()] == ["taken"]


def test_a_folder_that_is_not_there_or_broken_is_answered_with_what_is(capsys):
    folder = quantized("rtn")
    for policy, hint in ((f"{folder}x", f"did you mean '{folder}'?"), ("variants", "legal: pocket-oft"),
                         ("./variants", "it has no config.json")):
        assert main([*BENCH, "--policy", policy]) == 2
        assert hint in capsys.readouterr().err
    model = folder / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    assert main([*BENCH, "--policy", str(folder)]) == 2
    assert "is not the file that was written" in capsys.readouterr().err
    (folder / "config.json").write_text("{")
    assert main(["list"]) == 0
    assert "  toy-vla-rtn  cannot be used: variants/toy-vla-rtn/config.json is broken" in capsys.readouterr().out


@pytest.mark.parametrize(("change", "hint"), [
    ({"policy": "toy-vl"}, "did you mean 'toy-vla'?"),
    ({"policy": "toy-scripted"}, "no network to quantize"),
    ({"network": {"width": 3}}, "a network that 'toy-vla' cannot build"),
])
def test_a_config_that_names_no_network_of_ours_is_refused(change, hint, capsys):
    path = quantized("rtn") / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert main([*BENCH, "--policy", str(path.parent)]) == 2
    assert hint in capsys.readouterr().err


def test_a_name_of_a_policy_is_not_taken_for_a_folder():
    Path("toy-vla").mkdir()
    Path("toy-vla", "config.json").write_text("{}")
    assert named_folder(None) is None and named_folder("toy-vla") is None and named_folder("nothing") is None
    assert named_folder("./toy-vla") == Path("toy-vla")


@pytest.mark.parametrize("name", [name for name, e in POLICIES.items() if e.quantizable and e.takes is None])
def test_every_policy_with_a_network_builds_an_equal_one_from_its_sizes(name):
    try:
        policy = policy_class(POLICIES[name])()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    sizes = json.loads(json.dumps(policy.network_config()))
    skeleton = policy_class(POLICIES[name]).skeleton(sizes)
    shapes = {key: (tensor.shape, tensor.dtype) for key, tensor in policy.module.state_dict().items()}
    assert {key: (tensor.shape, tensor.dtype) for key, tensor in skeleton.module.state_dict().items()} == shapes
    assert skeleton.layout.linears == policy.layout.linears and not skeleton.module.training
    with pytest.raises((TypeError, ValueError)):
        policy_class(POLICIES[name]).skeleton(sizes | {"no_such_size": 1})


def test_list_says_how_to_save_if_nothing_is_saved(capsys):
    assert main(["list"]) == 0
    assert "`qvla-bench quantize` makes one" in capsys.readouterr().out and saved.saved_listing(Path("variants")) == {}


def test_a_file_of_the_shipped_policy_is_about_as_large_as_its_audit_says():
    assert main(["quantize", "--method", "rtn:w4a8", "--out", "x", "--threads", "1"]) == 0
    audit = json.loads(Path("x", "audit.json").read_text())
    assert abs(Path("x", "model.safetensors").stat().st_size / audit["storage_bytes"] - 1) < 0.03
