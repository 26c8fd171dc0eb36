"""Backend `cuda` equals `reference`: on a CUDA device if there is one, else in Triton's interpreter on the CPU."""

from __future__ import annotations

import copy
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from quantizers import cuda
from quantizers.around import Around
from quantizers.grids import quantize_rows
from quantizers.linear import QuantLinear

pytest.importorskip("triton", reason="Triton is not installed; install qvla-bench[cuda]")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WIDTHS = ([8], [4], [3], [2], [2, 4, 8], [0, 2, 3, 4, 8, 16], [16, 0])


def made(inputs: int, outputs: int, widths: list[int], bias: bool = True, **options) -> tuple[QuantLinear, QuantLinear]:
    """One layer on the backends `reference` and `cuda`."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(outputs, inputs, generator=generator)
    bits = torch.tensor(widths)[torch.randint(len(widths), (outputs,), generator=generator)]
    options = {"activation_bits": 8} | options
    added = torch.randn(outputs, generator=generator) if bias else None
    return tuple(QuantLinear(weight, added, bits, backend=backend, **options).to(DEVICE)
                 for backend in ("reference", "cuda"))


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)


def check(one: QuantLinear, other: QuantLinear, x: torch.Tensor) -> None:
    assert other.backend == "cuda"
    if one.scale is not None:
        assert torch.equal(other.accumulators(x), one.accumulators(x))
    expected, y = one(x), other(x)
    assert (y - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("activation_bits", [4, 8])
@pytest.mark.parametrize("widths", WIDTHS)
def test_integers_are_equal_and_outputs_within_a_hundred_thousandth(widths, activation_bits):
    check(*made(70, 45, widths, activation_bits=activation_bits), drawn(19, 70))


@pytest.mark.parametrize("widths", [[4], [2, 8], [3, 4]])
def test_zero_points_are_taken_off_in_integers(widths):
    check(*made(70, 37, widths, clip="minmax"), drawn(5, 70))


@pytest.mark.parametrize("clip", ["search", "minmax"])
@pytest.mark.parametrize(("widths", "inputs", "group"), [([4], 128, 32), ([8], 96, 32), ([2, 4, 8], 256, 64),
                                                         ([3, 4], 192, 96)])
def test_groups_of_inputs_have_scales_of_their_own(widths, inputs, group, clip):
    check(*made(inputs, 21, widths, clip=clip, group_size=group), drawn(3, inputs))


@pytest.mark.parametrize("tokens", [1, 16, 17, 40, 130])
def test_every_tiling_gives_the_same_integers(tokens):
    """One program's part is decided by the number of tokens; what is computed is not."""
    one, other = made(64, 150, [0, 4, 8], bias=False)
    check(one, other, drawn(tokens, 64))
    first, *rest = (cuda.Layer(other._buffers, 64, 150, None)(drawn(tokens, 64), 8, tiling=t) for t in cuda.TILINGS)
    assert all(torch.equal(first, y) for y in rest)


def test_a_token_gives_the_same_alone_and_in_a_batch():
    _, layer = made(64, 33, [4])
    x = drawn(20, 64)
    assert torch.equal(layer(x)[7:8], layer(x[7:8]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_goes_in_and_comes_out(dtype):
    one, other = made(64, 33, [4, 8])
    x = drawn(2, 5, 64).to(dtype)
    assert other(x).dtype == dtype
    torch.testing.assert_close(other(x), one(x), rtol=torch.finfo(dtype).eps, atol=torch.finfo(dtype).eps)


@pytest.mark.parametrize("scale", [0.05, 3.0])
def test_static_scales_and_turns_are_those_of_the_reference(scale):
    coded = quantize_rows(drawn(20, 48).cpu(), 4)
    around = Around(static_scale=torch.tensor([[scale]]), order=torch.arange(48).flip(0).int(),
                    input_scale=torch.linspace(0.5, 2, 48))
    layers = [QuantLinear.from_codes(coded, 4, None, around=around, activation_bits=8, backend=b).to(DEVICE)
              for b in ("reference", "cuda")]
    check(*layers, drawn(6, 48))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_token_shows_and_spares_the_others(value):
    _, layer = made(64, 33, [8])
    x = drawn(5, 64)
    expected = layer(x)
    x[2, 63] = value
    with np.errstate(invalid="ignore"):
        y = layer(x)
    assert not torch.isfinite(y[2]).any() and torch.equal(y[[0, 1, 3, 4]], expected[[0, 1, 3, 4]])


def test_tokens_of_zeros_give_the_bias_and_no_tokens_nothing():
    _, layer = made(64, 33, [8, 0])
    assert torch.equal(layer(torch.zeros(1, 64, device=DEVICE))[0], layer.bias)
    assert layer(torch.empty(0, 64, device=DEVICE)).shape == (0, 33)


def test_tables_count_as_memory_and_a_copy_has_its_own():
    _, layer = made(64, 33, [0, 4])
    before = layer.held_bytes()
    y = layer(drawn(3, 64))
    assert layer.held_bytes() > before and copy.deepcopy(layer).held_bytes() == before
    assert torch.equal(copy.deepcopy(layer)(drawn(3, 64)), y)


def test_what_the_kernels_cannot_do_is_said():
    one, _ = made(70, 45, [4])
    assert "no integer product" in cuda.why_not(one._buffers, 70, None, None)
    grouped = QuantLinear(torch.randn(4, 40), None, torch.full((4,), 4), group_size=10, activation_bits=8)
    assert "groups of 10 of 40 inputs" in cuda.why_not(grouped._buffers, 40, 10, 8)


def test_without_a_device_the_backend_is_refused_and_a_moved_layer_computes_by_reference(monkeypatch, request):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cuda.why_unavailable.cache_clear()
    request.addfinalizer(cuda.why_unavailable.cache_clear)
    with pytest.raises(ValueError, match="'cuda' cannot be used here: PyTorch .* sees no CUDA device"):
        QuantLinear(torch.randn(4, 8), None, torch.full((4,), 8), activation_bits=8, backend="cuda")
    layer = QuantLinear(torch.randn(4, 8), None, torch.full((4,), 8), activation_bits=8, backend="cpu")
    assert layer.to("meta").backend == "reference" and layer(torch.randn(2, 8, device="meta")).device.type == "meta"


_COMPILED = """
import re, sys, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from quantizers import triton_kernels

has8 = sys.argv[1] == "8"
fixed = dict(HAS2=False, HAS3=False, HAS4=not has8, HAS8=has8, HAS16=False, GROUPED=False, ZERO=False, BIAS=True,
             RAW=False, PRECISION="tf32", BM=16, BN=32, BK=128)
kinds = dict(codes="*i8", token_scale="*fp32", x="*bf16", w2="*u8", w3="*u8", w4="*u8", w8="*u8", w16="*fp16",
             scale="*fp32", zero="*i8", bias="*fp32", tiles="*i32", targets="*i32", y="*bf16", raw="*i32")
names = triton_kernels.linear.arg_names
source = ASTSource(triton_kernels.linear, {n: "constexpr" if n in fixed else kinds.get(n, "i32") for n in names},
                   {(names.index(n),): value for n, value in fixed.items()})
print(triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["ptx"])
"""


@pytest.mark.parametrize("width", ["4", "8"])
def test_the_kernel_compiles_to_int8_tensor_cores_without_a_device(width, tmp_path, monkeypatch):
    """In a process of its own: an interpreter's kernels cannot be compiled."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", _COMPILED, width], capture_output=True, text=True, check=True)
    assert re.search(r"mma\.sync\.aligned\.m16n8k32\.row\.col\.satfinite\.s32\.s8\.s8\.s32", done.stdout)
