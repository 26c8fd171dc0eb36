from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from quantizers.linear import QuantLinear
from quantizers.native import why_unavailable
from quantizers.quantize import quantize_
from quantizers.registry import parse_method
from quantizers.saved import AUDIT, CONFIG, MODEL, Origin, StorageError, read_config
from quantizers.storage import load_quantized_, save_quantized

ORIGIN = Origin("small", "rtn:w4", "a" * 64, {"width": 24})
METHOD_TEXTS = (
    "rtn:w8a8",
    "rtn:w8a8,backend=cpu",
    "rtn:w4",
    "rtn:w2a8,clip=search",
    "rtn:w4a8,group=8",
    "rtn:w16",
    "rtn:w3a4,clip=minmax,group=4",
    "smoothquant:alpha=0.5",
    "awq:ratios=3",
    "gptq:w3",
    "omniquant:epochs=1",
    "qvla:probes=2,check_channels=3",
    "qvla:target_bits=1,probes=2,check_channels=0,a16,roles=vision/language/projector/action_head",
)


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_same_state(module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    now = module.state_dict()
    assert now.keys() == state.keys()
    for name, tensor in now.items():
        assert tensor.dtype == state[name].dtype and torch.equal(tensor, state[name]), name


@pytest.fixture
def skeleton(policy) -> nn.Module:
    """The same network with other weights."""
    return type(policy)().eval()


@pytest.fixture
def saved(policy, layout, calibration, tmp_path) -> Path:
    """A folder with rows of all widths."""
    config = parse_method("qvla:probes=2,check_channels=0,target_bits=3,roles=vision/language/projector")
    audit = quantize_(policy, layout, config, calibration)
    save_quantized(policy, tmp_path / "saved", audit, ORIGIN)
    return tmp_path / "saved"


@pytest.mark.parametrize("text", METHOD_TEXTS)
def test_a_loaded_network_equals_the_saved_one_bit_for_bit(text, policy, skeleton, layout, calibration, tmp_path):
    audit = quantize_(policy, layout, parse_method(text), calibration)
    save_quantized(policy, tmp_path / "saved", audit, ORIGIN)
    again = load_quantized_(skeleton, tmp_path / "saved")
    assert_same_state(skeleton, state_of(policy))
    assert again.to_json() == json.loads(json.dumps(audit.to_json()))
    for batch in calibration.batches:
        assert torch.equal(layout.forward(skeleton, batch), layout.forward(policy, batch))
    loaded = {name: part for name, part in skeleton.named_modules() if isinstance(part, QuantLinear)}
    for name, part in loaded.items():
        assert part.extra_repr() == policy.get_submodule(name).extra_repr()
        assert part.group_size == policy.get_submodule(name).group_size


@pytest.mark.parametrize("text", METHOD_TEXTS)
def test_the_file_takes_the_bytes_of_the_audit_and_its_header(text, policy, layout, calibration, tmp_path):
    policy.half().float()
    audit = quantize_(policy, layout, parse_method(text), calibration)
    save_quantized(policy, tmp_path / "saved", audit, ORIGIN)
    content = (tmp_path / "saved" / MODEL).read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    # A norm that took a scale is no longer a float16 number; nothing else may take more than the audit says.
    kept = {f"{name}" for name in audit.diagnostics.get("folded_into", ())}
    kept |= {f"{layer.name}.bias" for layer in audit.layers if layer.status == "quantized"}
    wide = [tensor for name, tensor in load_file(tmp_path / "saved" / MODEL).items()
            if name in kept and tensor.dtype == torch.float32]
    assert len(content) - header == audit.storage_bytes + sum(2 * tensor.numel() for tensor in wide)
    assert not wide or audit.method in ("smoothquant", "awq", "omniquant")


def test_what_float16_cannot_hold_is_kept_in_float32(policy, skeleton, layout, tmp_path):
    with torch.no_grad():
        policy.half().float()
        policy.head.weight[0, 0] = 1 + 2.0**-20
        policy.head.bias[0] = -0.0
    audit = quantize_(policy, layout, parse_method("rtn"))
    save_quantized(policy, tmp_path / "saved", audit, ORIGIN)
    stored = load_file(tmp_path / "saved" / MODEL)
    assert stored["head.weight"].dtype == torch.float32 and stored["head.bias"].dtype == torch.float16
    assert stored["vision.scale"].dtype == torch.float16
    load_quantized_(skeleton, tmp_path / "saved")
    assert_same_state(skeleton, state_of(policy))
    assert torch.signbit(skeleton.head.bias[0])


def test_shared_weights_are_stored_once_and_stay_shared(policy, layout, tmp_path):
    def tied(module: nn.Module) -> nn.Module:
        module.blocks[1].o.weight = module.blocks[0].o.weight
        return module

    audit = quantize_(tied(policy), layout, parse_method("rtn"))
    save_quantized(policy, tmp_path / "saved", audit, ORIGIN)
    skeleton = tied(type(policy)().eval())
    load_quantized_(skeleton, tmp_path / "saved")
    assert skeleton.blocks[1].o.weight is skeleton.blocks[0].o.weight
    assert "blocks.1.o.weight" not in load_file(tmp_path / "saved" / MODEL)
    assert_same_state(skeleton, state_of(policy))


def test_auto_is_decided_by_the_machine_that_loads(saved, skeleton, monkeypatch):
    from quantizers import native

    assert {entry["backend"] for entry in read_config(saved).quantization_config["layers"].values()} == {"auto"}
    monkeypatch.setattr(native, "why_unavailable", lambda: "no compiler at all")
    audit = load_quantized_(skeleton, saved)
    assert (audit.backend, audit.diagnostics["backend_reason"]) == ("cpu", "no compiler at all")
    assert skeleton.vision.backend == "cpu"


@pytest.mark.skipif(bool(why_unavailable()), reason=str(why_unavailable()))
def test_a_backend_that_was_asked_for_by_name_is_not_replaced(policy, skeleton, layout, tmp_path, monkeypatch):
    from quantizers import native

    audit = quantize_(policy, layout, parse_method("rtn:backend=mixed"))
    save_quantized(policy, tmp_path / "saved", audit, ORIGIN)
    monkeypatch.setattr(native, "why_unavailable", lambda: "no compiler at all")
    with pytest.raises(StorageError, match="no compiler at all"):
        load_quantized_(skeleton, tmp_path / "saved")


def test_full_precision_is_not_saved(policy, layout, tmp_path):
    audit = quantize_(policy, layout, parse_method("fp"))
    with pytest.raises(StorageError, match="quantized nothing"):
        save_quantized(policy, tmp_path / "saved", audit, ORIGIN)
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_taken_is_refused_and_left_alone(policy, layout, tmp_path):
    audit = quantize_(policy, layout, parse_method("rtn"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("full", "file", "link"):
        with pytest.raises(StorageError, match=f"{name} is there already"):
            save_quantized(policy, tmp_path / name, audit, ORIGIN)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["note"]
    (tmp_path / "empty").mkdir()
    save_quantized(policy, tmp_path / "empty", audit, ORIGIN)
    assert len(list((tmp_path / "empty").iterdir())) == 3


def test_an_interrupted_save_leaves_nothing(policy, layout, tmp_path, monkeypatch):
    audit = quantize_(policy, layout, parse_method("rtn"))

    def fails(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(OSError, match="no space left"):
        save_quantized(policy, tmp_path / "saved", audit, ORIGIN)
    assert not list(tmp_path.iterdir())


def edit_config(folder: Path, edit: Callable[[dict], None]) -> None:
    config = json.loads((folder / CONFIG).read_text())
    edit(config)
    (folder / CONFIG).write_text(json.dumps(config))


def edit_tensors(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change tensors as somebody would who knows to bring the digests up to date."""
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / MODEL).items()}
    edit(tensors)
    save_file(tensors, folder / MODEL)
    digest = hashlib.sha256((folder / MODEL).read_bytes()).hexdigest()
    edit_config(folder, lambda config: config["files"].update({MODEL: digest}))


def truncate(name: str) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size // 2)


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / MODEL).read_bytes())
    content[-7] ^= 1
    (folder / MODEL).write_bytes(content)


def tensors(edit: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    return lambda folder: edit_tensors(folder, edit)


def config(edit: Callable[[dict], None]) -> Callable[[Path], None]:
    return lambda folder: edit_config(folder, edit)


def a_wild_width(tensors: dict[str, torch.Tensor]) -> None:
    tensors["projector.widths"][0] = 5


def widths_of_other_rows(tensors: dict[str, torch.Tensor]) -> None:
    tensors["projector.widths"][:] = 0


DAMAGES = {
    "model truncated": (truncate(MODEL), "is not the file that was written"),
    "one bit flipped": (flip_a_bit, "is not the file that was written"),
    "config truncated": (truncate(CONFIG), "config.json is broken"),
    "audit truncated": (truncate(AUDIT), "audit.json is not the file that was written"),
    "no model": (lambda folder: (folder / MODEL).unlink(), "model.safetensors is missing"),
    "no config": (lambda folder: (folder / CONFIG).unlink(), "has no config.json"),
    "no audit": (lambda folder: (folder / AUDIT).unlink(), "audit.json is missing"),
    "another model's config": (lambda folder: (folder / CONFIG).write_text("{}"), "has no quantization_config"),
    "a later format": (config(lambda c: c.update(format=3)), "format 3; this version reads 1, 2"),
    "no origin": (config(lambda c: c.pop("policy")), "has no 'policy'"),
    "no tables": (config(lambda c: c["quantization_config"].pop("kept")), "must have the tables"),
    "an unknown field": (config(lambda c: c["quantization_config"]["layers"]["vision"].update(x=1)), "'vision' is"),
    "an illegal backend": (
        config(lambda c: c["quantization_config"]["layers"]["vision"].update(backend="gpu")),
        "unknown backend 'gpu'",
    ),
    "other widths": (
        config(lambda c: c["quantization_config"]["layers"]["vision"].update(bits={"4": 24})),
        "config.json says",
    ),
    "another method": (
        config(lambda c: c["quantization_config"]["config"].update(target_bits=5)),
        "describe different networks",
    ),
    "a tensor less": (tensors(lambda t: t.pop("head.weight")), "lacks tensor 'head.weight'"),
    "a tensor more": (tensors(lambda t: t.update(extra=torch.ones(1))), "unexpected tensor 'extra'"),
    "a buffer more": (tensors(lambda t: t.update({"vision.extra": torch.ones(1)})), "unexpected buffer 'extra'"),
    "a buffer less": (tensors(lambda t: t.pop("projector.scale")), "another number of rows of scales"),
    "another shape": (tensors(lambda t: t.update({"head.bias": torch.ones(7)})), "'head.bias' has shape"),
    "another type": (tensors(lambda t: t.update({"head.bias": torch.ones(6).int()})), "stored as torch.int32"),
    "a width that no row has": (tensors(a_wild_width), "illegal values \\[5\\]"),
    "widths of other rows": (tensors(widths_of_other_rows), "leave|exactly once|stored rows"),
    "no bias": (tensors(lambda t: t.pop("vision.bias")), "'vision' has a bias"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_folder_is_refused_and_nothing_is_loaded(damage, message, saved, skeleton):
    before = state_of(skeleton)
    damage(saved)
    with pytest.raises(StorageError, match=message):
        load_quantized_(skeleton, saved)
    assert_same_state(skeleton, before)


def wider(module: nn.Module) -> None:
    module.vision = nn.Linear(24, 30)


def without_a_layer(module: nn.Module) -> None:
    module.vision = nn.Identity()


def with_another_layer(module: nn.Module) -> None:
    module.extra = nn.Linear(2, 2)


def in_half_precision(module: nn.Module) -> None:
    module.half()


@pytest.mark.parametrize("change", [wider, without_a_layer, with_another_layer, in_half_precision])
def test_a_folder_of_another_network_is_refused_and_nothing_is_loaded(change, saved, skeleton):
    change(skeleton)
    before = state_of(skeleton)
    with pytest.raises(StorageError, match="another network"):
        load_quantized_(skeleton, saved)
    assert_same_state(skeleton, before)


def test_a_folder_is_not_loaded_twice_into_one_network(saved, skeleton):
    load_quantized_(skeleton, saved)
    with pytest.raises(StorageError, match="is QuantLinear"):
        load_quantized_(skeleton, saved)
