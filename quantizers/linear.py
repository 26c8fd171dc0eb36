"""The low-bit layer: rows of 0, 2, 3, 4, 8 and 16 bits in one Linear, packed, with nothing of full precision left.

Rows are sorted by width, so that each width is one block of packed codes. `positions` remembers where each output
channel went; a layer whose rows all have one width needs no such table. A pruned row is not stored and yields its bias.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import nn

from quantizers import cuda, integer, kernel
from quantizers.around import AROUND, Around, check_integer, entered, shown_scale, static_codes, static_rows
from quantizers.backends import Backend, check_backend
from quantizers.buffers import BUFFERS, check_buffers, stored_positions
from quantizers.grids import CHANNEL_BITS, CODE_BITS, Clip, Coded, dequantize_rows, half_rows, quantize_rows
from quantizers.packing import pack, unpack
from quantizers.products import PRODUCTS
from quantizers.rotation import turned
from quantizers.stored import stored_bytes

Coder = Callable[[torch.Tensor, int], Coded]
"""`(rows float[R, I], bits) -> Coded`."""
Dynamic = Callable[[torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]]
"""As `quantizers.integer.quantize_tokens`."""


class QuantLinear(nn.Module):
    """`torch.nn.Linear` for inference, with a width in bits per output channel.

    With `activation_bits` every token of the input is quantized to 4 or 8 bits by its own absolute maximum, or by a
    static scale; rows of 16 bits still see the input as it came, because they take part in no integer product.
    `quantizers.around` has what a layer may do to its input first and to its output last.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        bits: torch.Tensor,
        *,
        clip: Clip = "absmax",
        group_size: int | None = None,
        activation_bits: int | None = None,
        backend: Backend = "reference",
        coder: Coder | None = None,
    ) -> None:
        """Quantize `weight` float[O, I] to `bits` int[O] per output channel; `bias` float[O] is kept in float32.

        `coder` makes the codes of all rows of one width; without one they are rounded to the grid of `clip`. Raises
        ValueError for a width outside `CHANNEL_BITS`, a backend that cannot do what is asked, or bad weights.
        """
        super().__init__()
        _check_bits(weight, bits)
        coder = coder or partial(quantize_rows, clip=clip, group_size=group_size)
        blocks = {width: coder(weight[bits == width], width) for width in CODE_BITS if (bits == width).any()}
        self._settle(*weight.shape, bias, group_size, activation_bits, backend)
        self._store(blocks, Around())
        self.register_buffer("rows16", half_rows(weight[bits == 16]) if (bits == 16).any() else None)
        self.register_buffer("positions", stored_positions(bits))

    @classmethod
    def from_codes(
        cls,
        coded: Coded,
        bits: int,
        bias: torch.Tensor | None,
        *,
        around: Around | None = None,
        activation_bits: int | None = None,
        backend: Backend = "reference",
    ) -> QuantLinear:
        """A layer whose rows all have the codes of `bits` bits that a method chose itself. Raises as `__init__`."""
        outputs, inputs = coded.codes.shape
        groups = coded.scale.shape[1]
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._settle(outputs, inputs, bias, None if groups == 1 else inputs // groups, activation_bits, backend)
        layer._store({bits: coded}, around or Around())
        layer.register_buffer("rows16", None)
        layer.register_buffer("positions", None)
        return layer

    @classmethod
    def from_buffers(
        cls,
        buffers: Mapping[str, torch.Tensor],
        in_features: int,
        out_features: int,
        *,
        group_size: int | None = None,
        activation_bits: int | None = None,
        backend: Backend = "reference",
    ) -> QuantLinear:
        """The layer whose `state_dict` is `buffers`. Raises ValueError if they do not fit each other or the sizes."""
        check_buffers(buffers, in_features, out_features, group_size)
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._settle(out_features, in_features, None, group_size, activation_bits, backend)
        for name in BUFFERS:
            layer.register_buffer(name, buffers.get(name))
        check_integer(layer._around(), backend)
        return layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float[..., O] of float[..., I]."""
        around = self._around()
        tokens = x.reshape(-1, self.in_features)
        # The kernels of a device read half precision as it is; all else is computed in float32.
        if self.backend != "cuda" or around.changes_input():
            tokens = entered(around, tokens.float())
        static = static_rows(around, len(x), len(tokens))
        y = PRODUCTS[self.backend](self, tokens, static)
        if around.turn_out is not None:
            y = turned(y, around.turn_out)
        return y.reshape(*x.shape[:-1], self.out_features).to(x.dtype)

    def dequantized_weight(self) -> torch.Tensor:
        """float32[O, I], what the stored rows stand for, in the order of the original layer, between the two turns."""
        parts = [] if self.scale is None else [dequantize_rows(self.integer_rows(), self.scale, self.zero)]
        if self.rows16 is not None:
            parts.append(self.rows16.float())
        none = torch.zeros(1, self.in_features, device=self._device())
        return self.restored(torch.cat([*parts, none]), dim=0)

    def channel_bits(self) -> torch.Tensor:
        """int64[O], the width of each output channel."""
        widths = torch.tensor([*self._stored_rows(), 0], device=self._device())
        counts = torch.tensor([*self._stored_rows().values(), 1], device=self._device())
        return self.restored(widths.repeat_interleave(counts), dim=0)

    def accumulators(self, x: torch.Tensor) -> torch.Tensor:
        """int32[G, M, R], the exact integer products of tokens float[M, I] with the R coded rows, sorted by width."""
        tokens, static = entered(self._around(), x.float()), static_rows(self._around(), len(x), len(x))
        if self.backend == "cuda":
            return self.tables().accumulators(tokens, self.activation_bits, static)
        codes = self.codes_of(tokens, static)[0]
        return integer.accumulate(codes, self.integer_rows(), self.scale.shape[1])

    def held_bytes(self) -> int:
        """Bytes of memory that the layer really holds."""
        tables = self.call.held_bytes() if isinstance(self.call, cuda.Layer) else 0
        return sum(buffer.nbytes for buffer in self.buffers()) + tables

    def stored_bytes(self) -> int:
        """Bytes in a saved file, with the bias as float16."""
        return stored_bytes(self._buffers)

    def metadata_bytes(self) -> int:
        """Bytes in a saved file of scales, zero points, widths of outputs and what is around the product."""
        return stored_bytes({name: self._buffers[name] for name in ("scale", "zero", "positions", *AROUND)})

    def extra_repr(self) -> str:
        rows = ", ".join(f"{count} rows of {width} bits" for width, count in self._stored_rows().items())
        activations = "float" if self.activation_bits is None else f"{self.activation_bits} bit"
        return f"{self.in_features} -> {self.out_features}: {rows}; {activations} activations; {self.backend}"

    def _settle(
        self,
        outputs: int,
        inputs: int,
        bias: torch.Tensor | None,
        group_size: int | None,
        activation_bits: int | None,
        backend: Backend,
    ) -> None:
        check_backend(backend, activation_bits)
        self.out_features, self.in_features = outputs, inputs
        self.group_size, self.activation_bits, self.backend = group_size, activation_bits, backend
        self._made_for = backend
        self.call: kernel.Call | cuda.Layer | None = None
        self.register_buffer("bias", None if bias is None else bias.detach().to(torch.float32, copy=True))

    def __getstate__(self):
        # Addresses mean nothing in a copy.
        return {**self.__dict__, "call": None}

    def _store(self, blocks: Mapping[int, Coded], around: Around) -> None:
        for width in CODE_BITS:
            self.register_buffer(f"codes{width}", pack(blocks[width].codes, width) if width in blocks else None)
        grids = [blocks[width] for width in CODE_BITS if width in blocks]
        zeros = [grid.zero for grid in grids if grid.zero is not None]
        self.register_buffer("scale", torch.cat([grid.scale for grid in grids]) if grids else None)
        self.register_buffer("zero", torch.cat(zeros) if zeros else None)
        check_integer(around, self.backend)
        for name, buffer in zip(AROUND, around, strict=True):
            self.register_buffer(name, None if buffer is None else buffer.detach().contiguous().clone())

    def _apply(self, fn, recurse=True):
        """Move the buffers, but leave their types alone, whatever `.half()` or `.to(dtype)` ask of the whole network.

        Rounded scales would be another quantization, and the compiled steps read the bytes of float32. On another kind
        of device `backend` becomes what can compute there; back on the CPU it is what it was.
        """
        self.call = None
        before, device = dict(self._buffers), self._device()
        super()._apply(fn, recurse)
        for name, buffer in before.items():
            if buffer is not None and self._buffers[name].dtype != buffer.dtype:
                self._buffers[name] = buffer.to(self._buffers[name].device)
        if self._device().type != device.type:
            self.backend = self._backend_on(self._device())
        return self

    def _backend_on(self, device: torch.device) -> Backend:
        if device.type == "cpu" or self._made_for == "reference":
            return self._made_for
        reason = cuda.why_not(self._buffers, self.in_features, self.group_size, self.activation_bits)
        return "cuda" if device.type == "cuda" and reason is None else "reference"

    def _device(self) -> torch.device:
        return next((buffer.device for buffer in self._buffers.values() if buffer is not None), torch.device("cpu"))

    def surroundings(self) -> dict[str, torch.Tensor | None]:
        """The buffers of `quantizers.around` by name."""
        return self._around()._asdict()

    def _around(self) -> Around:
        # Straight from the table: looked up one by one as attributes they would cost a small layer a tenth of its time.
        return Around(*map(self._buffers.get, AROUND))

    def codes_of(
        self, tokens: torch.Tensor, static: torch.Tensor | None, quantize: Dynamic = integer.quantize_tokens
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes int8[M, I] and scales float32[M, 1] of tokens float32[M, I]; `quantize` finds what no table has."""
        if static is None:
            return quantize(tokens, self.activation_bits or 8)
        return static_codes(tokens, static, self.activation_bits), shown_scale(tokens, static)

    def tables(self) -> cuda.Layer:
        """What the kernels of a device need beside the buffers."""
        if not isinstance(self.call, cuda.Layer) or not self.call.made_of(self._buffers):
            self.call = cuda.Layer(self._buffers, self.in_features, self.out_features, self.group_size)
        return self.call

    def restored(self, rows: torch.Tensor, dim: int) -> torch.Tensor:
        """Stored rows (and, last, the one that stands for all pruned rows) in the order of the original layer."""
        if self.positions is None:
            return rows.narrow(dim, 0, self.out_features)
        return rows.index_select(dim, self.positions)

    def _stored_rows(self) -> dict[int, int]:
        blocks = {width: getattr(self, f"codes{width}") for width in CODE_BITS} | {16: self.rows16}
        return {width: len(block) for width, block in blocks.items() if block is not None}

    def integer_rows(self) -> torch.Tensor:
        """int8[R, I]: all coded rows, sorted by width, unpacked for one call."""
        counts = self._stored_rows()
        counts.pop(16, None)
        if list(counts) == [8]:
            return unpack(self.codes8, 8, self.in_features)
        rows = torch.empty(sum(counts.values()), self.in_features, dtype=torch.int8, device=self._device())
        for block, width in zip(rows.split(list(counts.values())), counts, strict=True):
            unpack(getattr(self, f"codes{width}"), width, self.in_features, out=block)
        return rows


def _check_bits(weight: torch.Tensor, bits: torch.Tensor) -> None:
    if bits.shape != weight.shape[:1]:
        raise ValueError(f"bits has shape {tuple(bits.shape)}; a weight of {tuple(weight.shape)} needs one per row")
    strange = sorted(set(bits.tolist()) - set(CHANNEL_BITS))
    if strange:
        legal = ", ".join(map(str, CHANNEL_BITS))
        raise ValueError(f"a channel cannot have {strange[0]} bits; legal widths are {legal}")
