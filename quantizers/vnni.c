/* A whole low-bit Linear in one call, for processors with AVX512-VNNI: tokens to codes, packed rows times codes,
 * accumulators to floats, written where they belong.
 *
 * vpdpbusd adds four products of an unsigned and a signed byte to each of sixteen int32. Rows are the unsigned side: a
 * code plus an offset, as codes below 8 bits are stored anyway. What the offset adds, offset times the sum of a token's
 * codes, is taken off again in integers, together with zero points, so accumulators are exact.
 *
 * Rows go by panels of 32 outputs: unpacked and transposed once into a buffer that stays in cache ([I / 4][32][4]),
 * then multiplied with all tokens, twelve at a time, which fills the registers. Panels are dealt to threads. The results
 * must be those of quantizers/integer.py bit for bit: compile without contraction of a * b + c. I inputs, O outputs, M
 * tokens, G groups of inputs.
 */
#include <immintrin.h>
#include <math.h>

#ifndef __AVX512VNNI__
#error "the processor has no AVX512-VNNI"
#endif

#define PANEL 32
#define TILE 12
#define TOKEN_BYTES 1 /* of scratch for each code of a token */
#define ROW_BYTES 1   /* and for each code of a row of the panel */

#include "layer.h"

/* Codes of a tile of tokens on scales float[M] that are given, or else on one per token by its largest magnitude. */
static void quantize_tile(const Layer *layer, const Work *work, const float *x, const float *given, int64_t first,
                          int64_t count, float limit, int8_t *codes) {
  int64_t I = layer->inputs, G = layer->groups, size = I / G;
  int8_t *out = work->tokens + first * work->quads * 4;
  for (int64_t t = 0; t < count; t++) {
    const float *row = x + (first + t) * I;
    /* Magnitudes order like their bits read as integers, and NaN lies above them all, so that it is not lost. */
    __m512i most = _mm512_setzero_si512(), mask = _mm512_set1_epi32(0x7fffffff);
    for (int64_t i = 0; i < I; i += 16) {
      __mmask16 inside = I - i < 16 ? (1u << (I - i)) - 1 : 0xffff;
      most = _mm512_max_epi32(most, _mm512_and_si512(mask, _mm512_maskz_loadu_epi32(inside, row + i)));
    }
    int32_t bits = _mm512_reduce_max_epi32(most);
    float largest;
    memcpy(&largest, &bits, 4);
    float inverse = largest == 0.0f ? 0.0f : limit / largest;
    if (isinf(inverse)) inverse = 0.0f;
    __m512 factor = _mm512_set1_ps(given ? given[first + t] : inverse), top = _mm512_set1_ps(limit),
           bottom = _mm512_set1_ps(-limit);
    for (int64_t i = 0; i < I; i += 16) {
      __mmask16 inside = I - i < 16 ? (1u << (I - i)) - 1 : 0xffff;
      __m512 scaled = _mm512_maskz_loadu_ps(inside, row + i);
      scaled = given ? _mm512_max_ps(_mm512_min_ps(_mm512_div_ps(scaled, factor), top), bottom)
                     : _mm512_mul_ps(scaled, factor);
      __m512i code = _mm512_cvtps_epi32(scaled); /* to nearest, ties to even */
      _mm_storeu_si128((__m128i *)(codes + i), _mm512_cvtepi32_epi8(_mm512_maskz_mov_epi32(inside, code)));
    }
    /* A token that is not finite must show in the output. */
    work->token_scale[first + t] = !given ? largest / limit : bits < 0x7f800000 ? given[first + t] : NAN;
    for (int64_t g = 0; g < G; g++) {
      int32_t sum = 0;
      for (int64_t i = g * size; i < (g + 1) * size; i++) sum += codes[i];
      work->token_sums[(first + t) * G + g] = sum;
    }
    int32_t *fours = (int32_t *)out + t;
    for (int64_t q = 0; q < work->quads; q++) fours[q * count] = ((int32_t *)codes)[q];
  }
}

/* Where 64 columns of a width are: bytes from `offset` on, shifted right, `keep` of them kept, and `flip` turned. */
typedef struct {
  __m512i keep, flip;
  __m128i shift;
  int64_t offset, plane; /* the plane of bits that the first column is in */
  int whole;             /* whether all 64 are there, and nowhere else */
} Cut;

static const int WIDTHS[4] = {2, 0, 4, 8}; /* codes of 3 bits lie in two places */

/* 64 columns of values of `bits` bits in planes of `width` bytes, of which `plane` holds the first; zeros beyond I. */
static inline __m512i planes(const uint8_t *bytes, int bits, int64_t width, int64_t plane, int64_t c, int64_t I) {
  __m512i found = _mm512_setzero_si512();
  for (int64_t start = plane * width; start < c + 64 && start < I; start += width, plane++) {
    int64_t low = start > c ? start - c : 0, high = start + width - c, end = I - c;
    high = high < 64 ? high : 64, high = high < end ? high : end;
    __mmask64 inside = (~(uint64_t)0 >> (64 - (high - low))) << low;
    __m512i part = _mm512_maskz_loadu_epi8(inside, bytes + c - start);
    part = _mm512_srl_epi16(part, _mm_cvtsi32_si128(bits * (int)plane));
    part = _mm512_and_si512(part, _mm512_set1_epi8((1 << bits) - 1));
    found = _mm512_or_si512(found, _mm512_maskz_mov_epi8(inside, part));
  }
  return found;
}

/* The codes plus offset of the 64 columns from c on of any row, slowly. */
static __attribute__((noinline)) __m512i unpack(Row row, const Cut *cuts, int64_t c, int64_t I) {
  int64_t low = (I + 3) / 4, high = (I + 7) / 8;
  if (row.kind == 3) return _mm512_xor_si512(planes(row.bytes, 8, I, 0, c, I), cuts[3].flip);
  if (row.kind == 2) return planes(row.bytes, 4, (I + 1) / 2, cuts[2].plane, c, I);
  __m512i two = planes(row.bytes, 2, low, cuts[0].plane, c, I);
  if (row.kind == 0) return two;
  return _mm512_or_si512(two, _mm512_slli_epi16(planes(row.bytes + low, 1, high, c / high, c, I), 2));
}

static inline __m512i cut_out(const uint8_t *bytes, const Cut *cut) {
  __m512i columns = _mm512_srl_epi16(_mm512_loadu_si512(bytes + cut->offset), cut->shift);
  return _mm512_xor_si512(_mm512_and_si512(columns, cut->keep), cut->flip);
}

/* Move the cuts on to column c. */
static void cut_at(Cut *cuts, int64_t c, int64_t I) {
  for (int kind = 0; kind < 4; kind++) {
    if (kind == 1) continue;
    Cut *cut = cuts + kind;
    int64_t width = (I * WIDTHS[kind] + 7) / 8;
    while (c >= (cut->plane + 1) * width) cut->plane++;
    cut->offset = c - cut->plane * width;
    cut->shift = _mm_cvtsi32_si128(WIDTHS[kind] * (int)cut->plane);
    cut->whole = c + 64 <= I && cut->offset + 64 <= width;
  }
}

/* Sixteen rows of 64 bytes to sixteen columns of four bytes of each row, 4 * PANEL bytes apart. */
static inline __attribute__((always_inline)) void transpose(__m512i *r, uint8_t *columns) {
  __m512i t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; c++) {
    __m512i a = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88), b = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
    __m512i d = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd), e = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
    _mm512_store_si512(columns + (c + 0) * 4 * PANEL, _mm512_shuffle_i32x4(a, b, 0x88));
    _mm512_store_si512(columns + (c + 4) * 4 * PANEL, _mm512_shuffle_i32x4(d, e, 0x88));
    _mm512_store_si512(columns + (c + 8) * 4 * PANEL, _mm512_shuffle_i32x4(a, b, 0xdd));
    _mm512_store_si512(columns + (c + 12) * 4 * PANEL, _mm512_shuffle_i32x4(d, e, 0xdd));
  }
}

/* One panel: its rows, and per group and row the scale and what the sums of codes are taken off with. */
typedef struct {
  uint8_t *rows;   /* [quads][PANEL][4] */
  float *scale;    /* [G][PANEL] */
  int32_t *offset; /* [G][PANEL] */
  int64_t first, count;
  Row next[PANEL]; /* the rows of the panel that follows */
  int64_t ahead;   /* of whose bytes multiplying fetches the first `ahead` * 64 into the cache, loading the others */
} Panel;

/* Rows side by side are more streams than processors fetch by themselves; the time for memory is while multiplying. */
static inline __attribute__((always_inline)) void fetch(const Row *rows, int64_t count, int64_t line) {
  for (int64_t r = 0; r < count; r++)
    if (line * 64 < rows[r].count) _mm_prefetch((const char *)rows[r].bytes + line * 64, _MM_HINT_T1);
}

/* The stored row of the nth output with codes, of the last one if there are fewer. */
static int64_t stored(const Layer *layer, const Work *work, int64_t n) {
  int64_t o = work->outputs[n < work->coded ? n : work->coded - 1];
  return layer->positions ? layer->positions[o] : o;
}

static void load_panel(const Layer *layer, const Work *work, Panel *panel) {
  int64_t G = layer->groups, I = layer->inputs;
  for (int64_t half = 0; half < PANEL; half += 16) {
    Row rows[16];
    for (int64_t r = half; r < half + 16; r++) {
      int64_t p = stored(layer, work, panel->first + r);
      rows[r - half] = find_row(layer, p);
      panel->next[r] = find_row(layer, stored(layer, work, panel->first + PANEL + r));
      for (int64_t g = 0; g < G; g++) {
        panel->scale[g * PANEL + r] = layer->scale[p * G + g];
        panel->offset[g * PANEL + r] = OFFSETS[rows[r - half].kind] + (layer->zero ? layer->zero[p * G + g] : 0);
      }
    }
    int alike = 1, any = 0;
    for (int i = 0; i < 16; i++) alike &= rows[i].kind == rows[0].kind, any |= 1 << rows[i].kind;
    Cut cuts[4];
    for (int k = 0; k < 4; k++) {
      cuts[k] = (Cut){.keep = _mm512_set1_epi8((1 << WIDTHS[k]) - 1), .flip = _mm512_set1_epi8(k == 3 ? -128 : 0)};
    }
    for (int64_t c = 0; c < I; c += 64) {
      __m512i r[16];
      uint8_t *columns = panel->rows + c * PANEL + half * 4;
      if (c / 64 >= panel->ahead) fetch(panel->next + half, 16, c / 64);
      cut_at(cuts, c, I);
      int whole = 1;
      for (int k = 0; k < 4; k++) whole &= cuts[k].whole | !(any >> k & 1);
      if (whole && alike) {
        const Cut cut = cuts[rows[0].kind];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) r[i] = cut_out(rows[i].bytes, &cut);
        transpose(r, columns);
      } else {
        for (int i = 0; i < 16; i++)
          r[i] = whole ? cut_out(rows[i].bytes, cuts + rows[i].kind) : unpack(rows[i], cuts, c, I);
        transpose(r, columns);
      }
    }
  }
}

/* T tokens by one panel, to y. */
static inline __attribute__((always_inline)) void multiply(const int T, const Layer *layer, const Work *work,
                                                           const Panel *panel, int64_t first, int64_t line, float *y) {
  const int8_t *tokens = work->tokens + first * work->quads * 4;
  int64_t G = layer->groups, quads = G == 1 ? work->quads : layer->inputs / G / 4;
  __m512 total[TILE][2];
  for (int64_t g = 0; g < G; g++) {
    __m512i sum[TILE][2];
#pragma GCC unroll 12
    for (int t = 0; t < T; t++) sum[t][0] = sum[t][1] = _mm512_setzero_si512();
    for (int64_t q = g * quads; q < (g + 1) * quads; q++) {
      if (q % 32 == 0) fetch(panel->next, PANEL, line + q / 32);
      __m512i low = _mm512_load_si512(panel->rows + q * 4 * PANEL);
      __m512i high = _mm512_load_si512(panel->rows + q * 4 * PANEL + 64);
#pragma GCC unroll 12
      for (int t = 0; t < T; t++) {
        int32_t four;
        memcpy(&four, tokens + (q * T + t) * 4, 4);
        __m512i token = _mm512_set1_epi32(four);
        sum[t][0] = _mm512_dpbusd_epi32(sum[t][0], low, token);
        sum[t][1] = _mm512_dpbusd_epi32(sum[t][1], high, token);
      }
    }
    /* Through memory: an array that a loop indexes would never stay in registers above. */
    __m512i sums[TILE][2];
#pragma GCC unroll 12
    for (int t = 0; t < T; t++) sums[t][0] = sum[t][0], sums[t][1] = sum[t][1];
    for (int half = 0; half < 2; half++) {
      __m512i offset = _mm512_load_si512(panel->offset + g * PANEL + half * 16);
      __m512 scale = _mm512_load_ps(panel->scale + g * PANEL + half * 16);
      for (int t = 0; t < T; t++) {
        __m512i excess = _mm512_mullo_epi32(offset, _mm512_set1_epi32(work->token_sums[(first + t) * G + g]));
        __m512 part = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(sums[t][half], excess)), scale);
        total[t][half] = g ? _mm512_add_ps(total[t][half], part) : part;
      }
    }
  }
  for (int half = 0; half < 2; half++) {
    int64_t count = panel->count - half * 16;
    if (count <= 0) break;
    __mmask16 inside = count < 16 ? (1u << count) - 1 : 0xffff;
    const int32_t *outputs = work->outputs + panel->first + half * 16;
    int64_t last = count < 16 ? count - 1 : 15, whole = outputs[last] - outputs[0] == last;
    __m512i places = _mm512_maskz_loadu_epi32(inside, outputs);
    __m512 bias = layer->bias ? _mm512_mask_i32gather_ps(_mm512_setzero_ps(), inside, places, layer->bias, 4)
                              : _mm512_setzero_ps();
    for (int t = 0; t < T; t++) {
      float *row = y + (first + t) * layer->outputs;
      __m512 out = _mm512_mul_ps(total[t][half], _mm512_set1_ps(work->token_scale[first + t]));
      if (layer->bias) out = _mm512_add_ps(out, bias);
      if (whole) _mm512_mask_storeu_ps(row + outputs[0], inside, out);
      else _mm512_mask_i32scatter_ps(row, inside, places, out, 4);
    }
  }
}

#define TOKENS(n)                                                                                                    \
  static __attribute__((noinline)) void multiply##n(const Layer *layer, const Work *work, const Panel *panel,        \
                                                    int64_t first, int64_t line, float *y) {                         \
    multiply(n, layer, work, panel, first, line, y);                                                                 \
  }
TOKENS(1) TOKENS(2) TOKENS(3) TOKENS(4) TOKENS(5) TOKENS(6) TOKENS(7) TOKENS(8) TOKENS(9) TOKENS(10) TOKENS(11)
TOKENS(12)

static void (*const MULTIPLY[])(const Layer *, const Work *, const Panel *, int64_t, int64_t, float *) = {
    0, multiply1, multiply2, multiply3, multiply4, multiply5, multiply6, multiply7, multiply8, multiply9, multiply10,
    multiply11, multiply12};

/* Which outputs have codes; the others yield their bias. */
static void sort_outputs(const Layer *layer, Work *work) {
  int64_t others = 0, coded = 0, stored = coded_rows(layer);
  for (int64_t o = 0; o < layer->outputs; o++) {
    if ((layer->positions ? layer->positions[o] : o) < stored) work->outputs[coded++] = (int32_t)o;
    else work->others[others++] = (int32_t)o;
  }
  work->coded = coded;
}

/* The outputs of panel p for all tokens. */
static void multiply_panel(const Layer *layer, const Work *work, int64_t p, int64_t tiles, uint8_t *own, float *y) {
  int64_t left = work->coded - p * PANEL, lines = (work->quads + 31) / 32, row_bytes = PANEL * work->padded;
  Panel panel = {own, (float *)(own + row_bytes), (int32_t *)(own + row_bytes + table_bytes(layer)), p * PANEL,
                 left < PANEL ? left : PANEL, .ahead = tiles * lines};
  load_panel(layer, work, &panel);
  for (int64_t t = 0; t < tiles; t++) {
    int64_t first = first_token(work->M, tiles, t);
    MULTIPLY[first_token(work->M, tiles, t + 1) - first](layer, work, &panel, first, t * lines, y);
  }
}

#include "driver.h"
