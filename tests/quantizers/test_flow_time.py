"""T11: which step a layer is in, and what a table of scales says then."""

import copy
import threading

import pytest
import torch
from torch import nn

from quantizers.around import Around, at_time, static_rows
from quantizers.flow_time import current, follow_, followed, following

TABLE = Around(static_scale=torch.tensor([[1.0], [2.0], [4.0]]), static_time=torch.tensor([0.0, 1 / 3, 2 / 3]))


class Denoiser(nn.Module):
    """Remembers the times that its inside saw; may call another denoiser or fail."""

    def __init__(self, inner: nn.Module | None = None, fail: bool = False) -> None:
        super().__init__()
        self.inner, self.fail, self.seen = inner, fail, []

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        if self.inner is not None:
            self.inner(x, time + 10)
        self.seen.append(current().tolist())
        if self.fail:
            raise ValueError("broken")
        return x


def followed_one(**options) -> nn.Module:
    module = nn.ModuleDict({"denoiser": Denoiser(**options)})
    follow_(module, "denoiser")
    return module


def test_the_kth_call_of_the_denoiser_reads_row_k():
    module, scales = followed_one(), []
    module["denoiser"].register_forward_pre_hook(lambda *_: scales.append(static_rows(TABLE, 1, 5).item()))
    for step in range(3):
        module["denoiser"](torch.zeros(1), torch.tensor([step / 3]))
    assert scales == [1.0, 2.0, 4.0] and current() is None


def test_another_number_of_steps_is_interpolated_and_never_extrapolated():
    rows = at_time(*TABLE[-2:], torch.tensor([-1.0, 0.0, 1 / 6, 1 / 3, 0.5, 2 / 3, 1.0]))
    torch.testing.assert_close(rows.flatten(), torch.tensor([1.0, 1, 1.5, 2, 3, 4, 4]))
    assert at_time(torch.tensor([[3.0]]), torch.tensor([0.5]), torch.tensor([0.1, 0.9])).tolist() == [[3.0], [3.0]]


def test_scales_per_step_outside_of_the_denoiser_are_an_error():
    with pytest.raises(RuntimeError, match="called outside of the denoiser"):
        static_rows(TABLE, 1, 5)


def test_samples_at_different_times_get_their_own_rows():
    module, rows = followed_one(), []
    module["denoiser"].register_forward_pre_hook(lambda *_: rows.append(static_rows(TABLE, 2, 6)))
    module["denoiser"](torch.zeros(2), torch.tensor([0.0, 2 / 3]))
    assert rows[0].flatten().tolist() == [1, 1, 1, 4, 4, 4]
    module["denoiser"].register_forward_pre_hook(lambda *_: static_rows(TABLE, 3, 6))
    with pytest.raises(RuntimeError, match="got 2 flow times, and a layer in it 3 samples"):
        module["denoiser"](torch.zeros(2), torch.tensor([0.0, 2 / 3]))


def test_nested_calls_see_their_own_time():
    inner = Denoiser()
    module = followed_one(inner=inner)
    follow_(module, "denoiser.inner")
    module["denoiser"](torch.zeros(1), torch.tensor([1.0]))
    assert inner.seen == [[11.0]] and module["denoiser"].seen == [[1.0]] and current() is None


def test_an_exception_leaves_nothing_behind():
    module = followed_one(fail=True)
    with pytest.raises(ValueError, match="broken"):
        module["denoiser"](torch.zeros(1), torch.tensor([1.0]))
    assert current() is None


def test_threads_do_not_see_each_other():
    module, other = followed_one(), []
    module["denoiser"].register_forward_pre_hook(lambda *_: in_another_thread(other))
    module["denoiser"](torch.zeros(1), torch.tensor([1.0]))
    assert other == [None] and module["denoiser"].seen == [[1.0]]


def in_another_thread(found: list) -> None:
    thread = threading.Thread(target=lambda: found.append(current()))
    thread.start()
    thread.join()


def test_a_copy_follows_too_and_following_ends():
    module = nn.ModuleDict({"denoiser": Denoiser()})
    assert followed(module) is None
    with following(module, "denoiser"):
        assert followed(module) == "denoiser"
        module["denoiser"](torch.zeros(1), torch.tensor([1.0]))
    assert followed(module) is None and followed(followed_one()) == followed(copy.deepcopy(followed_one()))
    with following(module, None):
        assert followed(module) is None


def test_a_denoiser_without_a_flow_time_is_an_error():
    module = followed_one()
    with pytest.raises(TypeError, match="second positional argument"):
        module["denoiser"](torch.zeros(1), time=torch.tensor([1.0]))
