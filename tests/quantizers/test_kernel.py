"""The layer in one compiled call gives the bits of backend `cpu`, on any number of threads, whatever the shape."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quantizers import compiling, kernel
from quantizers.around import Around
from quantizers.grids import quantize_rows
from quantizers.linear import QuantLinear

pytestmark = pytest.mark.skipif(kernel.why_unavailable() is not None, reason=str(kernel.why_unavailable()))


@pytest.fixture(scope="module", autouse=True, params=kernel.available())
def source(request):
    """Every kernel that this processor can run, also those that it would not choose."""
    best = kernel.library
    kernel.library = lambda: best(request.param)
    yield request.param
    kernel.library = best


WIDTHS = ([8], [4], [3], [2], [0, 2, 4, 8], [0, 2, 3, 4, 8, 16], [8, 16], [0, 4])


def made(inputs: int, outputs: int, widths: list[int], seed: int = 0, **options) -> tuple[QuantLinear, QuantLinear]:
    """One layer on the backends `cpu` and `mixed`."""
    generator = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn(outputs, inputs, generator=generator), torch.randn(outputs, generator=generator)
    bits = torch.tensor(widths)[torch.randint(len(widths), (outputs,), generator=generator)]
    options = {"activation_bits": 8} | options
    return tuple(QuantLinear(weight, bias, bits, backend=backend, **options) for backend in ("cpu", "mixed"))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 200), st.integers(1, 80), st.sampled_from(WIDTHS), st.sampled_from(["search", "minmax"]),
       st.integers(1, 40), st.integers(0, 99))
@example(151, 5, [0, 2, 4, 8], "search", 1, 47)
def test_one_call_gives_the_bits_of_tensor_operations(inputs, outputs, widths, clip, tokens, seed):
    one, other = made(inputs, outputs, widths, seed, clip=clip)
    x = torch.randn(tokens, inputs, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(one(x), other(x))


@pytest.mark.parametrize("group_size", [4, 32, 96])
@pytest.mark.parametrize("clip", ["search", "minmax"])
@pytest.mark.parametrize("widths", WIDTHS)
def test_groups_are_added_in_the_same_order(widths, clip, group_size):
    one, other = made(192, 40, widths, clip=clip, group_size=group_size)
    x = torch.randn(27, 192, generator=torch.Generator().manual_seed(0))
    assert torch.equal(one(x), other(x))


def test_threads_change_no_bit():
    one, other = made(300, 333, [0, 2, 4, 8])
    x = torch.randn(50, 300, generator=torch.Generator().manual_seed(0))
    expected, before = one(x), torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            assert torch.equal(other(x), expected)
    finally:
        torch.set_num_threads(before)


def test_the_largest_codes_do_not_overflow():
    for widths in WIDTHS:
        one, other = made(4096, 40, widths)
        x = torch.ones(7, 4096)
        for packed in (0, 127, 128, 255):
            for name, codes in (*one.named_buffers(), *other.named_buffers()):
                if name.startswith("codes"):
                    codes.fill_(packed)
            assert torch.equal(one(x), other(x)) and torch.equal(one(-x), other(-x))


def test_scratch_beyond_the_stack_is_found_elsewhere():
    one, other = made(9000, 35, [4])
    x = torch.randn(70, 9000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(one(x), other(x))


@pytest.mark.parametrize("scale", [torch.tensor([[0.05]]), torch.tensor([[1e-30]])])
def test_static_scales_clip_as_they_do_in_tensor_operations(scale):
    coded = quantize_rows(torch.randn(20, 48, generator=torch.Generator().manual_seed(0)), 4)
    layers = [QuantLinear.from_codes(coded, 4, None, around=Around(static_scale=scale), activation_bits=4, backend=b)
              for b in ("cpu", "mixed")]
    x = torch.randn(9, 48, generator=torch.Generator().manual_seed(1))
    x[3, 5] = float("nan")
    results = [layer(x) for layer in layers]
    assert not torch.isfinite(results[1][3]).any()
    assert torch.equal(results[0].nan_to_num(), results[1].nan_to_num())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_broken_token_shows_and_spares_the_others(value):
    _, layer = made(70, 33, [8])
    x = torch.randn(5, 70, generator=torch.Generator().manual_seed(0))
    expected = layer(x)
    x[2, 69] = value
    y = layer(x)
    assert not torch.isfinite(y[2]).any() and torch.equal(y[[0, 1, 3, 4]], expected[[0, 1, 3, 4]])


def test_no_tokens_give_no_rows():
    _, layer = made(64, 32, [8])
    assert layer(torch.empty(0, 64)).shape == (0, 32)


def test_a_replaced_buffer_is_used_and_a_copy_has_its_own():
    _, layer = made(64, 32, [8])
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    expected = layer(x)
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    layer.scale = 2 * layer.scale
    assert not torch.equal(layer(x), expected)
    assert all(torch.equal(other(x), expected) for other in copies)


def test_what_does_not_fit_is_computed_in_steps(monkeypatch):
    assert "multiples of 4" in kernel.why_not(9, 3) and "65536 at most" in kernel.why_not(65540, 1)
    one, other = made(9, 7, [4, 8], group_size=3)
    x = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(one(x), other(x)) and other.call is None


def test_a_processor_without_the_instructions_is_told_and_uses_the_steps(monkeypatch):
    monkeypatch.setattr(kernel, "processor_features", lambda: "flags : sse2 avx")
    kernel.why_unavailable.cache_clear()
    try:
        assert kernel.why_unavailable() == "the processor has none of avx512_vnni, avx2"
        one, other = made(64, 32, [0, 4, 8, 16])
        x = torch.randn(6, 64, generator=torch.Generator().manual_seed(0))
        assert torch.equal(one(x), other(x)) and other.call is None
    finally:
        monkeypatch.undo()
        kernel.why_unavailable.cache_clear()


def test_threads_are_those_of_the_library_that_torch_uses():
    """A second OpenMP library would have threads of its own, which spin on the cores that torch's threads want."""
    def loaded() -> set[str]:
        lines = Path("/proc/self/maps").read_text().splitlines()
        return {line.split()[-1] for line in lines if "libgomp" in line or "libiomp" in line}

    before = loaded()
    made(64, 32, [8])[1](torch.ones(1, 64))
    assert loaded() == before


def test_without_openmp_one_thread_gives_the_same(tmp_path, monkeypatch, source):
    monkeypatch.setattr(compiling.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(compiling, "_OPENMP", "-fno-such-openmp")
    library = compiling.load(Path(kernel.__file__).with_name(source), kernel._SIGNATURES, openmp=True)
    monkeypatch.setattr(kernel, "library", lambda: library)
    one, other = made(64, 40, [0, 4, 8])
    x = torch.randn(13, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(one(x), other(x))
