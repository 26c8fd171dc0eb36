"""What a packed layer does around its integer product: turn its input and its output, and use scales found beforehand.

A static scale per tensor, or per denoising step and tensor, multiplies all products of a token alike, so an integer
product can be scaled by it afterwards. One per input channel cannot leave the sum over channels; it is there for the
`reference` backend alone, to compute what was published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from quantizers import flow_time
from quantizers.integer import ACTIVATION_LIMITS
from quantizers.rotation import turned


class Around(NamedTuple):
    """Buffers of a `quantizers.linear.QuantLinear` beside its codes; None where there is nothing to do."""

    input_scale: torch.Tensor | None = None
    """float32[I], positive: divides the input before anything else."""
    order: torch.Tensor | None = None
    """int32[I]: which input channel comes where, before `turn_in`."""
    turn_in: torch.Tensor | None = None
    """float16[n, b, b]: blocks by which the input is multiplied."""
    turn_out: torch.Tensor | None = None
    """float16[m, c, c]: blocks by which the output is multiplied, bias included."""
    static_scale: torch.Tensor | None = None
    """float32[S, 1]: scale of all tokens, one for each time of `static_time`; [S, I] for one per input channel."""
    static_time: torch.Tensor | None = None
    """float32[S]: flow times of the rows of `static_scale`, rising; None if the scale does not depend on it."""

    def changes_input(self) -> bool:
        """Whether `entered` does anything."""
        return any(part is not None for part in (self.input_scale, self.order, self.turn_in))

    def multiply_adds(self) -> int:
        """Multiplications of the two turns, per token."""
        return sum(blocks.numel() for blocks in (self.turn_in, self.turn_out) if blocks is not None)


AROUND = Around._fields
"""Names of the buffers."""
_KINDS = {"order": torch.int32, "turn_in": torch.float16, "turn_out": torch.float16}


def entered(around: Around, tokens: torch.Tensor) -> torch.Tensor:
    """float32[M, I]: what the product is taken of, for tokens float32[M, I] of a layer."""
    if around.input_scale is not None:
        tokens = tokens / around.input_scale
    if around.order is not None:
        tokens = tokens.index_select(1, around.order)
    return tokens if around.turn_in is None else turned(tokens, around.turn_in)


def static_rows(around: Around, samples: int, tokens: int) -> torch.Tensor | None:
    """float32[1 or M, 1 or I]: the static scales of `tokens` tokens of `samples` samples now, None for dynamic ones.

    Between two times of the table scales are interpolated, so another number of steps is legal. Raises RuntimeError
    for a layer with scales per denoising step that is called outside of the denoiser.
    """
    if around.static_scale is None or around.static_time is None:
        return around.static_scale
    time = flow_time.current()
    if time is None:
        raise RuntimeError(
            "a layer has activation scales per denoising step and was called outside of the denoiser; run it through "
            "the policy, or quantize with scales per token"
        )
    rows = at_time(around.static_scale, around.static_time, time)
    if len(rows) == 1 or bool((time == time[0]).all()):
        return rows[:1]
    if len(rows) != samples:
        raise RuntimeError(f"the denoiser got {len(rows)} flow times, and a layer in it {samples} samples")
    return rows.repeat_interleave(tokens // samples, dim=0)


def at_time(table: torch.Tensor, times: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """float32[B, C]: rows of a table float32[S, C] at `times` float32[S], for the times float32[B], interpolated."""
    after = torch.searchsorted(times, time.to(times), right=True).clamp(1, max(1, len(times) - 1))
    before = after - 1
    after = after.clamp_max(len(times) - 1)
    share = ((time - times[before]) / (times[after] - times[before]).clamp_min(1e-30)).clamp(0, 1).unsqueeze(1)
    # Not before + share * (after - before): at share 1 that need not be `after`.
    return table[before] * (1 - share) + table[after] * share


def static_codes(x: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
    """int8[M, I]: codes of activations float32[M, I] on static scales; what is beyond the largest code is clipped."""
    limit = ACTIVATION_LIMITS[bits]
    return (x / scale).round_().clamp_(-limit, limit).to(torch.int8)


def shown_scale(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """float32[M, 1 or I]: `scale` for tokens float32[M, I], NaN where a token is not finite, so that the output is."""
    finite = torch.isfinite(x).all(dim=1, keepdim=True)
    return torch.where(finite, scale, torch.full_like(scale, torch.nan))


def check_integer(around: Around, backend: str) -> None:
    """Raise ValueError for static scales per input channel on a backend that multiplies integers."""
    if around.static_scale is not None and around.static_scale.shape[1] > 1 and backend != "reference":
        raise ValueError(f"scales per input channel cannot leave the integer product of backend {backend!r}; use "
                         "'reference', or scales per token or tensor")


def check_around(buffers: Mapping[str, torch.Tensor], inputs: int, outputs: int) -> None:
    """Raise ValueError unless the buffers named in `AROUND` are those of a layer with these sizes."""
    for name, dtype in _KINDS.items():
        if name in buffers and buffers[name].dtype != dtype:
            raise ValueError(f"{name} is {buffers[name].dtype}; it must be {dtype}")
    if "order" in buffers and not torch.equal(buffers["order"].sort().values.long(), torch.arange(inputs)):
        raise ValueError(f"order must name each of the {inputs} inputs exactly once")
    for name, channels in (("turn_in", inputs), ("turn_out", outputs)):
        blocks = buffers.get(name)
        if blocks is None:
            continue
        if blocks.ndim != 3 or blocks.shape[1] != blocks.shape[2] or blocks.shape[0] * blocks.shape[1] != channels:
            raise ValueError(f"{name} has shape {tuple(blocks.shape)}; it must be square blocks of {channels} channels")
        if not torch.isfinite(blocks).all():
            raise ValueError(f"{name} holds NaN or infinite values")
    for name in ("input_scale", "static_scale"):
        if name in buffers:
            _check_scale(name, buffers[name], (inputs,) if name == "input_scale" else None, inputs)
    _check_times(buffers.get("static_time"), buffers.get("static_scale"))


def _check_scale(name: str, scale: torch.Tensor, shape: tuple[int, ...] | None, inputs: int) -> None:
    fits = tuple(scale.shape) == shape if shape else scale.ndim == 2 and len(scale) and scale.shape[1] in (1, inputs)
    if scale.dtype != torch.float32 or not fits:
        legal = shape or f"(S, 1) or (S, {inputs})"
        raise ValueError(f"{name} is {scale.dtype} of shape {tuple(scale.shape)}; it must be torch.float32 of {legal}")
    if not (torch.isfinite(scale) & (scale > 0)).all():
        raise ValueError(f"a value of {name} is not a positive number")


def _check_times(times: torch.Tensor | None, scale: torch.Tensor | None) -> None:
    if times is None:
        if scale is not None and len(scale) != 1:
            raise ValueError(f"static_scale has {len(scale)} rows and no static_time says when each is meant")
        return
    if scale is None or times.dtype != torch.float32 or tuple(times.shape) != (len(scale),):
        raise ValueError("static_time must be float32 with one time for each row of static_scale")
    if not (torch.isfinite(times).all() and (times.diff() > 0).all()):
        raise ValueError("static_time must rise")
