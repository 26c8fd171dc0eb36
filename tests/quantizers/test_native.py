import os
import subprocess
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantizers import compiling, integer, native
from quantizers.grids import CODE_BITS
from quantizers.packing import pack

needs_compiler = pytest.mark.skipif(native.why_unavailable() is not None, reason=str(native.why_unavailable()))


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """No compiled library yet: an empty folder for temporary files, and nothing remembered from other tests."""
    monkeypatch.setattr(compiling.tempfile, "tempdir", str(tmp_path))
    for function in (native._library, native.why_unavailable):
        function.cache_clear()
    yield tmp_path
    for function in (native._library, native.why_unavailable):
        function.cache_clear()


@needs_compiler
@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 70), st.integers(0, 1000))
def test_compiled_tokens_equal_those_of_tensor_operations(tokens, inputs, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, inputs, generator=generator) * 10 ** torch.randn(tokens, 1, generator=generator)
    for ours, theirs in zip(native.quantize_tokens(x), integer.quantize_tokens(x), strict=True):
        assert torch.equal(ours, theirs)


@needs_compiler
def test_compiled_tokens_of_zeros_and_of_the_smallest_floats_are_zero():
    codes, scale = native.quantize_tokens(torch.tensor([[0.0, -0.0], [1e-45, -1e-45]]))
    assert not codes.any() and scale[0] == 0


@needs_compiler
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_broken_token_has_a_scale_that_is_not_finite(value):
    _, scale = native.quantize_tokens(torch.tensor([[1.0, value, 3.0], [1.0, 2.0, 3.0]]))
    assert not torch.isfinite(scale[0]) and torch.isfinite(scale[1])


@needs_compiler
@settings(deadline=None)
@given(st.integers(1, 70), st.integers(0, 1000))
def test_rows_are_unpacked_to_their_own_places(inputs, seed):
    generator = torch.Generator().manual_seed(seed)
    codes = {
        bits: torch.randint(-(1 << bits - 1), 1 << bits - 1, (2, inputs), generator=generator).to(torch.int8)
        for bits in CODE_BITS
    }
    positions = torch.randperm(10, generator=generator).to(torch.int32)
    rows = native.unpack_rows({bits: pack(block, bits) for bits, block in codes.items()}, positions, 10, inputs)
    stored = torch.cat([*codes.values(), torch.zeros(2, inputs, dtype=torch.int8)])
    assert torch.equal(rows, stored[positions.long()])


def test_without_a_compiler_the_reason_and_the_next_step_are_given(fresh, monkeypatch):
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    assert (
        "no C compiler found (looked for gcc, cc, clang); install one, or use backend 'cpu'" in native.why_unavailable()
    )


@needs_compiler
def test_a_compiler_that_fails_is_quoted(fresh, monkeypatch):
    monkeypatch.setattr(compiling, "_FLAGS", ("--no-such-flag",))
    assert "--no-such-flag" in native.why_unavailable()
    assert not list(fresh.rglob("*.so"))


@needs_compiler
def test_the_library_is_compiled_once_per_machine(fresh, monkeypatch):
    assert native.why_unavailable() is None
    assert len(list(fresh.rglob("mixed-*.so"))) == 1
    native._library.cache_clear()
    real = subprocess.run

    def only_version(command, **options):
        assert command[1:] == ["--version"]
        return real(command, **options)

    monkeypatch.setattr(compiling.subprocess, "run", only_version)
    native._library()


@needs_compiler
def test_compiled_code_lies_in_a_private_folder_and_not_below_home(fresh, monkeypatch):
    monkeypatch.setenv("HOME", str(fresh / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert native.why_unavailable() is None
    (folder,) = fresh.iterdir()
    assert folder.name == f"qvla-bench-native-{os.getuid()}" and folder.stat().st_mode & 0o777 == 0o700


def _readable_by_others(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)


def _link(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(folder.parent / "elsewhere")


def _file(folder: Path) -> None:
    folder.write_text("")


@needs_compiler
@pytest.mark.parametrize("make", [_readable_by_others, _link, _file])
def test_a_folder_that_others_could_have_filled_is_refused(fresh, make):
    make(fresh / f"qvla-bench-native-{os.getuid()}")
    assert f"qvla-bench-native-{os.getuid()}" in native.why_unavailable()
    assert not list(fresh.rglob("*.so"))


@needs_compiler
def test_a_folder_of_another_user_is_refused(fresh, monkeypatch):
    (fresh / "qvla-bench-native-4242").mkdir(mode=0o700)
    monkeypatch.setattr(compiling.os, "getuid", lambda: 4242)
    assert "belongs to user 4242 alone" in native.why_unavailable()
