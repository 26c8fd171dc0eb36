"""A run quantizes each variant once, whoever needs it and however often the run is begun."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import bench.kept
from bench.errors import StoreCorrupt, StoreFull
from bench.folder import RunFolder
from bench.kept import build_once
from bench.run import run
from bench.shadow import shadow_variants
from bench.speed import time_variants
from bench.variants import build, make_variants


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """Methods of the variants that were quantized, in order."""
    methods: list[str] = []

    def counted(variant):
        if not variant.baseline:
            methods.append(variant.method)
        return build(variant)

    monkeypatch.setattr(bench.kept, "build", counted)
    return methods


def test_episodes_shadows_timings_and_a_second_start_share_one_quantization(vla_spec, open_store, made):
    spec = dataclasses.replace(vla_spec, trials=1, variants=make_variants("toy-vla", ["rtn:w4", "qvla"]))
    for trials in (1, 2):
        longer = dataclasses.replace(spec, trials=trials)
        with open_store(longer) as store:
            assert run(longer, store, shown=False) == set()
            shadow_variants(longer, store, shown=False)
            assert time_variants(longer, store) == []
    assert made == ["rtn:w4", "qvla"]


def test_what_is_loaded_has_the_same_weights_and_the_same_audit(tmp_path):
    _, variant = make_variants("toy-vla", ["qvla"])
    first, second = (build_once(variant, RunFolder(tmp_path)) for _ in range(2))
    assert second[1] == first[1]
    states = [policy.module.state_dict() for policy, _ in (first, second)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_who_asks_at_the_same_time_waits_for_the_first(tmp_path, made):
    _, variant = make_variants("toy-vla", ["rtn:w4"])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: build_once(variant, RunFolder(tmp_path))[0], range(4)))
    assert made == ["rtn:w4"]
    weights = [policy.module.state_dict() for policy in found]
    assert all(np.array_equal(w[name], weights[0][name]) for w in weights for name in weights[0])


def test_several_workers_quantize_once(vla_spec, open_store):
    """The folder is made by one process; another that made one too would have found its place taken and failed."""
    with open_store(vla_spec) as store:
        assert run(vla_spec, store, shown=False, workers=2) == set()
        place = store.folder.variant(vla_spec.variants[1].variant_id)
        assert sorted(path.name for path in place.iterdir()) == ["audit.json", "config.json", "model.safetensors"]


def test_full_precision_is_not_copied_into_the_run(tmp_path):
    for variant in make_variants("toy-vla", ["aa"]):
        build_once(variant, RunFolder(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_copy_is_named_and_not_used(tmp_path):
    _, variant = make_variants("toy-vla", ["rtn:w4"])
    folder = RunFolder(tmp_path)
    build_once(variant, folder)
    model = folder.variant(variant.variant_id) / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(StoreCorrupt, match="damaged or was replaced.*; remove .*makes it again"):
        build_once(variant, folder)


def test_a_full_disk_leaves_no_half_of_a_copy(tmp_path, monkeypatch):
    def no_room(*args):
        raise OSError(28, "No space left on device")

    _, variant = make_variants("toy-vla", ["rtn:w4"])
    monkeypatch.setattr("quantizers.saved.os.rename", no_room)
    with pytest.raises(StoreFull, match="No space left"):
        build_once(variant, RunFolder(tmp_path))
    monkeypatch.undo()
    assert not RunFolder(tmp_path).variant(variant.variant_id).exists()
    assert build_once(variant, RunFolder(tmp_path))[1]["method"] == "rtn"
