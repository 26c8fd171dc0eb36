"""What is exported is what the library itself reads back, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bench.cli import main
from bench.saved import load_network
from policies.toy_vla import ToyNetwork
from quantizers import compressed
from quantizers.linear import QuantLinear

pytest.importorskip("compressed_tensors", reason="compressed-tensors is not installed; install qvla-bench[export]")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def quantized(method: str) -> Path:
    assert main(["quantize", "--policy", "toy-vla", "--method", method, "--out", "variant", "--threads", "1"]) == 0
    return Path("variant")


def read_back(folder: Path) -> nn.Module:
    """A network of plain Linears with the weights that the library makes of the files."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config

    config = QuantizationConfig.model_validate(json.loads((folder / "config.json").read_text())["quantization_config"])
    network = ToyNetwork().requires_grad_(False)
    apply_quantization_config(network, config, show_progress=False)
    compressor = ModelCompressor(quantization_config=config)
    compressor.compress_model(network)  # gives the modules the tensors that the files have
    missing, unexpected = network.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    assert not missing and not unexpected
    compressor.decompress_model(network)
    return network


@pytest.mark.parametrize("method", ["rtn:w8a8", "rtn:w4a16", "rtn:w4a16,clip=search", "gptq:w4a16,group=none",
                                    "gptq:w4a16", "rtn:w4a16,clip=minmax"])
def test_the_library_gives_back_every_weight_bit_for_bit(method, capsys):
    source, out = quantized(method), Path("exported")
    assert main(["export", "--policy", str(source), "--out", str(out)]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["format"] == "compressed-tensors" and said["bytes"] == sum(p.stat().st_size for p in out.iterdir())
    policy, _ = load_network("toy-vla", source)
    network = read_back(out)
    layers = {name: part for name, part in policy.module.named_modules() if isinstance(part, QuantLinear)}
    assert layers
    for name, part in policy.module.named_modules():
        if isinstance(part, QuantLinear):
            assert torch.equal(network.get_submodule(name).weight, part.dequantized_weight())
            assert torch.equal(network.get_submodule(name).bias, part.bias)
        elif isinstance(part, nn.Linear):
            assert torch.equal(network.get_submodule(name).weight, part.weight)


def test_the_config_says_the_layout_to_whoever_reads_it():
    main(["export", "--policy", str(quantized("rtn:w8a8")), "--out", "exported"])
    said = json.loads(Path("exported/config.json").read_text())["quantization_config"]
    group = said["config_groups"]["group_0"]
    assert said["quant_method"] == "compressed-tensors" and said["format"] == "int-quantized"
    assert group["weights"]["strategy"] == "channel" and group["input_activations"]["strategy"] == "token"
    assert group["input_activations"]["dynamic"] is True and "action_head" in said["ignore"]


@pytest.mark.parametrize(("method", "hint"), [
    ("rtn:w4a8", "has W4 A8; what compressed-tensors can say is uniform W8A8 and W4A16"),
    ("qvla", "what compressed-tensors can say is uniform"),
])
def test_what_the_layout_cannot_say_is_refused_and_nothing_is_written(method, hint, capsys):
    assert main(["export", "--policy", str(quantized(method)), "--out", "exported"]) == 2
    assert hint in capsys.readouterr().err and not Path("exported").exists()


@pytest.mark.parametrize(("options", "hint"), [
    (["--policy", "nothing", "--out", "o"], "there is no folder nothing"),
    (["--policy", "nothing", "--out", "o", "--format", "compressed-tensor"], "did you mean 'compressed-tensors'?"),
])
def test_wrong_names_are_answered(options, hint, capsys):
    assert main(["export", *options]) == 2
    assert hint in capsys.readouterr().err


def test_a_taken_place_and_a_missing_library_are_said_before_any_work(capsys, monkeypatch):
    source = quantized("rtn:w8a8")
    assert main(["export", "--policy", str(source), "--out", str(source)]) == 2
    assert "is there already" in capsys.readouterr().err
    monkeypatch.setattr(compressed, "find_spec", lambda name: None)
    assert main(["export", "--policy", str(source), "--out", "exported"]) == 2
    assert "install qvla-bench[export]" in capsys.readouterr().err and not Path("exported").exists()


def test_weights_that_would_change_are_not_written(monkeypatch):
    source = quantized("rtn:w8a8")
    policy, _ = load_network("toy-vla", source)
    from compressed_tensors.compressors import BaseCompressor

    kind = BaseCompressor.get_value_from_registry("int-quantized")
    monkeypatch.setattr(kind, "decompress", classmethod(lambda cls, state, scheme: {"weight": torch.zeros(1)}))
    with pytest.raises(ValueError, match="would come back .* with other weights"):
        compressed.export_compressed(policy.module, Path("exported"), None)
    assert not Path("exported").exists()
