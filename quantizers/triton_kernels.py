"""Triton kernels of backend `cuda`: tokens to int8 codes, and packed rows of every width times codes in one launch.

A program multiplies a tile of tokens by a tile of stored rows of one width; a table says of each tile which width that
is, so one launch serves a layer of mixed rows and no branch diverges. Codes are unpacked in registers: byte k of a row
holds the codes of columns k, k + B, k + 2B .. (`quantizers.packing`), so a block of bytes meets whole blocks of the
input, without a shuffle. Products are int8 with int32 sums on tensor cores; codes of 2, 3 and 4 bits fit int8. The
epilogue applies scales and bias and writes each row to its own output; pruned outputs get their bias from tiles of
width 0. Importing this needs Triton; `quantizers.cuda` calls it.
"""

# No `from __future__ import annotations`: Triton reads the annotations.
import triton
import triton.language as tl

_ROUND = tl.constexpr(12582912.0)
"""Adding 1.5 * 2^23 to a small float32 and taking it off again rounds to the nearest integer, ties to even."""


@triton.jit
def quantize_tokens(
    x, given, input_stride, codes, scale, inputs,
    LIMIT: tl.constexpr, STATIC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Codes int8[M, I] and scales float32[M] of x[M, I]; with STATIC on the scales `given` float32[M]."""
    token = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    inside = column < inputs
    value = tl.load(x + token * input_stride + column, mask=inside, other=0.0).to(tl.float32)
    broken = tl.max((value != value).to(tl.int32), axis=0) > 0
    largest = tl.max(tl.abs(value), axis=0)
    if STATIC:
        own = tl.load(given + token)
        scaled = tl.minimum(tl.maximum(tl.div_rn(value, own), -LIMIT), LIMIT)
        found = tl.where(largest == float("inf"), float("nan"), own)
    else:
        inverse = tl.div_rn(tl.full([], LIMIT, tl.float32), tl.where(largest == 0.0, 1.0, largest))
        inverse = tl.where((largest == 0.0) | (inverse == float("inf")), 0.0, inverse)
        scaled = value * inverse
        found = tl.div_rn(largest, tl.full([], LIMIT, tl.float32))
    scaled = tl.where(scaled == scaled, scaled, 0.0)
    rounded = (scaled + _ROUND) - _ROUND
    tl.store(codes + token * inputs + column, rounded.to(tl.int8), mask=inside)
    tl.store(scale + token, tl.where(broken, float("nan"), found))


@triton.jit
def _scaled(part, xs, raw, scale, zero, row, row_in, m, m_in, tokens, coded, group, groups,
            ZERO: tl.constexpr, RAW: tl.constexpr):  # fmt: skip
    """float32[BM, BN] of the int32 sums of one group; with RAW they are also added to raw int32[G, M, coded]."""
    if RAW:
        where = raw + (group * tokens + m[:, None]) * coded + row[None, :]
        both = m_in[:, None] & row_in[None, :]
        tl.store(where, tl.load(where, mask=both, other=0) + part, mask=both)
    if ZERO:
        offset = tl.load(zero + row * groups + group, mask=row_in, other=0).to(tl.int32)
        part -= tl.sum(xs.to(tl.int32), axis=1)[:, None] * offset[None, :]
    return part.to(tl.float32) * tl.load(scale + row * groups + group, mask=row_in, other=0.0)[None, :]


@triton.jit
def _multiply(x, w, raw, scale, zero, local, row, row_in, m, m_in, tokens, inputs, coded, groups, group_size,
              BITS: tl.constexpr, GROUPED: tl.constexpr, ZERO: tl.constexpr, RAW: tl.constexpr,
              BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    """float32[BM, BN] of codes of 2, 4 or 8 bits, without the scale of the tokens."""
    PLANES: tl.constexpr = 8 // BITS
    width = (inputs + PLANES - 1) // PLANES
    total = tl.zeros((BM, BN), tl.float32)
    sums = tl.zeros((BM, BN), tl.int32)
    x_sums = tl.zeros((BM,), tl.int32)
    for start in range(0, width, BK):
        byte = start + tl.arange(0, BK)
        packed = tl.load(w + local[None, :] * width + byte[:, None],
                         mask=(byte < width)[:, None] & row_in[None, :], other=0)
        for plane in tl.static_range(PLANES):
            column = plane * width + byte
            inside = (byte < width) & (column < inputs)
            xs = tl.load(x + m[:, None] * inputs + column[None, :], mask=m_in[:, None] & inside[None, :], other=0)
            if BITS == 8:
                codes = packed.to(tl.int8, bitcast=True)
            else:
                codes = ((packed >> (BITS * plane)) & ((1 << BITS) - 1)).to(tl.int8) - (1 << (BITS - 1))
            if GROUPED:
                part = tl.dot(xs, codes, out_dtype=tl.int32)
                total += _scaled(part, xs, raw, scale, zero, row, row_in, m, m_in, tokens, coded,
                                 (plane * width + start) // group_size, groups, ZERO, RAW)
            else:
                sums = tl.dot(xs, codes, sums, out_dtype=tl.int32)
                if ZERO:
                    x_sums += tl.sum(xs.to(tl.int32), axis=1)
    if not GROUPED:
        total = _scaled(sums, x_sums[:, None], raw, scale, zero, row, row_in, m, m_in, tokens, coded, 0, 1, ZERO, RAW)
    return total


@triton.jit
def _multiply3(x, w, raw, scale, zero, local, row, row_in, m, m_in, tokens, inputs, coded, groups, group_size,
               GROUPED: tl.constexpr, ZERO: tl.constexpr, RAW: tl.constexpr,
               BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    """As `_multiply` for codes of 3 bits, two of which lie in one place and the highest in another."""
    low_width, high_width = (inputs + 3) // 4, (inputs + 7) // 8
    total = tl.zeros((BM, BN), tl.float32)
    sums = tl.zeros((BM, BN), tl.int32)
    x_sums = tl.zeros((BM,), tl.int32)
    for start in range(0, inputs, BK):
        column = start + tl.arange(0, BK)
        both = (column < inputs)[:, None] & row_in[None, :]
        base = w + local[None, :] * (low_width + high_width)
        low = tl.load(base + (column % low_width)[:, None], mask=both, other=0).to(tl.int32)
        high = tl.load(base + low_width + (column % high_width)[:, None], mask=both, other=0).to(tl.int32)
        lower = (low >> (2 * (column // low_width))[:, None]) & 3
        codes = (lower + ((high >> (column // high_width)[:, None]) & 1) * 4 - 4).to(tl.int8)
        xs = tl.load(x + m[:, None] * inputs + column[None, :], mask=m_in[:, None] & (column < inputs)[None, :],
                     other=0)
        if GROUPED:
            part = tl.dot(xs, codes, out_dtype=tl.int32)
            total += _scaled(part, xs, raw, scale, zero, row, row_in, m, m_in, tokens, coded, start // group_size,
                             groups, ZERO, RAW)
        else:
            sums = tl.dot(xs, codes, sums, out_dtype=tl.int32)
            if ZERO:
                x_sums += tl.sum(xs.to(tl.int32), axis=1)
    if not GROUPED:
        total = _scaled(sums, x_sums[:, None], raw, scale, zero, row, row_in, m, m_in, tokens, coded, 0, 1, ZERO, RAW)
    return total


@triton.jit
def _multiply16(x, w, local, row_in, m, m_in, inputs, input_stride, PRECISION: tl.constexpr,
                BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    """float32[BM, BN] of float16 rows and the input as it came."""
    total = tl.zeros((BM, BN), tl.float32)
    for start in range(0, inputs, BK):
        column = start + tl.arange(0, BK)
        inside = column < inputs
        xs = tl.load(x + m[:, None] * input_stride + column[None, :], mask=m_in[:, None] & inside[None, :], other=0.0)
        half = tl.load(w + local[None, :] * inputs + column[:, None], mask=inside[:, None] & row_in[None, :], other=0.0)
        total = tl.dot(xs.to(tl.float32), half.to(tl.float32), total, input_precision=PRECISION)
    return total


@triton.jit
def linear(
    codes, token_scale, x, input_stride, w2, w3, w4, w8, w16, scale, zero, bias, tiles, targets, y, raw,
    tokens, inputs, outputs, coded, groups, group_size,
    HAS2: tl.constexpr, HAS3: tl.constexpr, HAS4: tl.constexpr, HAS8: tl.constexpr, HAS16: tl.constexpr,
    GROUPED: tl.constexpr, ZERO: tl.constexpr, BIAS: tl.constexpr, RAW: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """y[M, O] of codes int8[M, I]; tiles int32[T, 4]: width, first row in its block, first stored row, rows."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    m_in = m < tokens
    entry = tiles + tl.program_id(1) * 4
    bits, first, stored, count = tl.load(entry), tl.load(entry + 1), tl.load(entry + 2), tl.load(entry + 3)
    n = tl.arange(0, BN)
    row_in, local, row = n < count, first + n, stored + n
    out = tl.zeros((BM, BN), tl.float32)
    if HAS2:
        if bits == 2:
            out = _multiply(codes, w2, raw, scale, zero, local, row, row_in, m, m_in, tokens, inputs, coded, groups,
                            group_size, 2, GROUPED, ZERO, RAW, BM, BN, BK)
    if HAS3:
        if bits == 3:
            out = _multiply3(codes, w3, raw, scale, zero, local, row, row_in, m, m_in, tokens, inputs, coded, groups,
                             group_size, GROUPED, ZERO, RAW, BM, BN, BK)
    if HAS4:
        if bits == 4:
            out = _multiply(codes, w4, raw, scale, zero, local, row, row_in, m, m_in, tokens, inputs, coded, groups,
                            group_size, 4, GROUPED, ZERO, RAW, BM, BN, BK)
    if HAS8:
        if bits == 8:
            out = _multiply(codes, w8, raw, scale, zero, local, row, row_in, m, m_in, tokens, inputs, coded, groups,
                            group_size, 8, GROUPED, ZERO, RAW, BM, BN, BK)
    if (bits > 0) & (bits < 16):
        out = out * tl.load(token_scale + m, mask=m_in, other=0.0)[:, None]
    if HAS16:
        if bits == 16:
            out = _multiply16(x, w16, local, row_in, m, m_in, inputs, input_stride, PRECISION, BM, BN, BK)
    target = tl.load(targets + row, mask=row_in, other=0)
    if BIAS:
        out += tl.load(bias + target, mask=row_in, other=0.0)[None, :]
    both = m_in[:, None] & row_in[None, :]
    tl.store(y + m[:, None] * outputs + target[None, :], out.to(y.dtype.element_ty), mask=both)
