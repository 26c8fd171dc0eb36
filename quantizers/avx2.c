/* A whole low-bit Linear in one call, as in vnni.c, for processors with AVX2 alone.
 *
 * Rows are taken as they are stored, by width, in panels of 16 outputs. In a panel of at most 4 bits, vpmaddubsw adds
 * two products of an unsigned and a signed byte in int16: a code plus offset is at most 15, so eight such pairs have
 * room there before they go to int32. A code of 8 bits has no such room: with one in the panel codes are widened to
 * int16, and vpmaddwd adds two products in int32. Panels are unpacked and transposed once, so that the bytes that meet
 * four (or two) codes of a token lie side by side, and multiplied with all tokens, six at a time.
 */
#include <immintrin.h>

#ifndef __AVX2__
#error "the processor has no AVX2"
#endif

#define PANEL 16
#define TILE 6
#define TOKEN_BYTES 3 /* of scratch for each code of a token: as int8 and as int16 */
#define ROW_BYTES 3   /* and for each code of a row of the panel: unpacked, and transposed, at most as int16 */
#define RUN 8         /* groups of four inputs whose products of 4 and 8 bits int16 can add up */
#define EIGHT_BITS 3  /* index of Layer.codes */

#include "codes.h"
#include "layer.h"

/* The codes of all M tokens as int16, [tile][quads][2][tokens of the tile][2], behind those as int8. */
static int8_t *wide_tokens(const Work *work) { return work->tokens + work->M * work->quads * 4; }

/* Codes of a token on a scale that is given; returns it, or NaN if the token is not finite, which must show. */
static float quantize_on(const float *restrict token, int64_t I, float given, float limit, int8_t *restrict codes) {
  int finite = 1;
  for (int64_t i = 0; i < I; i++) {
    float scaled = token[i] / given;
    scaled = scaled < limit ? scaled : limit;
    scaled = scaled > -limit ? scaled : -limit;
    finite &= isfinite(token[i]) != 0;
    codes[i] = (int8_t)(int32_t)rintf(scaled);
  }
  return finite ? given : NAN;
}

/* Codes of a tile of tokens on scales float[M] that are given, or else on one per token by its largest magnitude. */
static void quantize_tile(const Layer *layer, const Work *work, const float *x, const float *given, int64_t first,
                          int64_t count, float limit, int8_t *codes) {
  int64_t I = layer->inputs, G = layer->groups, size = I / G, begin = first * work->quads * 4;
  int32_t *fours = (int32_t *)(work->tokens + begin), *twos = (int32_t *)(wide_tokens(work) + 2 * begin);
  memset(codes + I, 0, work->padded - I);
  for (int64_t t = 0; t < count; t++) {
    const float *token = x + (first + t) * I;
    work->token_scale[first + t] = given ? quantize_on(token, I, given[first + t], limit, codes)
                                         : quantize_token(token, I, limit, codes);
    for (int64_t g = 0; g < G; g++) {
      int32_t sum = 0;
      for (int64_t i = g * size; i < (g + 1) * size; i++) sum += codes[i];
      work->token_sums[(first + t) * G + g] = sum;
    }
    for (int64_t q = 0; q < work->quads; q++) {
      memcpy(fours + q * count + t, codes + 4 * q, 4);
      for (int64_t half = 0; half < 2 && layer->rows[EIGHT_BITS]; half++) {
        int16_t two[2] = {codes[4 * q + 2 * half], codes[4 * q + 2 * half + 1]};
        memcpy(twos + (2 * q + half) * count + t, two, 4);
      }
    }
  }
}

/* One panel, and per group and row the scale and what the sums of codes are taken off with. */
typedef struct {
  uint8_t *rows;   /* [quads][PANEL][4], or int16 [quads][2][PANEL][2] if wide */
  float *scale;    /* [G][PANEL] */
  int32_t *offset; /* [G][PANEL] */
  int64_t first, count;
  int wide;  /* whether a row has 8 bits */
  int whole; /* whether the outputs follow each other */
} Panel;

/* Eight rows of eight columns of four bytes, to columns 4 * PANEL bytes apart. */
static inline void transpose(__m256i *r, uint8_t *columns) {
  __m256i t[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; c++) {
    _mm256_store_si256((__m256i *)(columns + c * 4 * PANEL), _mm256_permute2x128_si256(r[c], r[c + 4], 0x20));
    _mm256_store_si256((__m256i *)(columns + (c + 4) * 4 * PANEL), _mm256_permute2x128_si256(r[c], r[c + 4], 0x31));
  }
}

static void unpack(Row row, int64_t I, int8_t *codes) {
  switch (row.kind) {
    case 0: unpack2(row.bytes, I, codes); break;
    case 1: unpack3(row.bytes, I, codes); break;
    case 2: unpack4(row.bytes, I, codes); break;
    default: memcpy(codes, row.bytes, I);
  }
}

/* `codes` int8[PANEL, padded] is scratch. What it holds beyond the inputs is multiplied by zeros. */
static void load_panel(const Layer *layer, const Work *work, Panel *panel, int8_t *codes) {
  int64_t G = layer->groups, I = layer->inputs, width = work->padded;
  Row rows[PANEL];
  for (int64_t r = 0; r < PANEL; r++) {
    int64_t p = panel->first + (r < panel->count ? r : panel->count - 1);
    rows[r] = find_row(layer, p);
    panel->wide |= rows[r].kind == EIGHT_BITS;
    unpack(rows[r], I, codes + r * width);
    for (int64_t g = 0; g < G; g++) {
      panel->scale[g * PANEL + r] = layer->scale[p * G + g];
      panel->offset[g * PANEL + r] = layer->zero ? layer->zero[p * G + g] : 0;
    }
  }
  for (int64_t r = 0; r < PANEL && !panel->wide; r++)
    for (int64_t g = 0; g < G; g++) panel->offset[g * PANEL + r] += OFFSETS[rows[r].kind];
  for (int64_t half = 0; half < PANEL; half += 8) {
    const int8_t *own = codes + half * width;
    uint8_t *out = panel->rows + half * 4;
    __m256i r[8];
    if (panel->wide)
      for (int64_t c = 0; c < width; c += 16) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) r[i] = _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)(own + i * width + c)));
        transpose(r, out + c * 2 * PANEL);
      }
    else
      for (int64_t c = 0; c < width; c += 32) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
          __m256i row = _mm256_load_si256((const __m256i *)(own + i * width + c));
          r[i] = _mm256_add_epi8(row, _mm256_set1_epi8((char)OFFSETS[rows[half + i].kind]));
        }
        transpose(r, out + c * PANEL);
      }
  }
}

static inline __m256i broadcast(const int8_t *bytes) {
  int32_t four;
  memcpy(&four, bytes, 4);
  return _mm256_set1_epi32(four);
}

/* Finish a token before the next: compilers would load all tokens first, and have no registers left for the sums. */
#define IN_TURN(pair) __asm__("" : "+x"(pair[0]), "+x"(pair[1]))

/* Accumulators of T tokens and a panel over the groups of four inputs from `begin` to `end`. */
static inline __attribute__((always_inline)) void accumulate_wide(const int T, const uint8_t *rows, const int8_t *tokens,
                                                                  int64_t begin, int64_t end, __m256i (*sums)[2]) {
  __m256i sum[TILE][2];
#pragma GCC unroll 6
  for (int t = 0; t < T; t++) sum[t][0] = sum[t][1] = _mm256_setzero_si256();
  for (int64_t pair = 2 * begin; pair < 2 * end; pair++) {
    __m256i low = _mm256_load_si256((const __m256i *)(rows + pair * 4 * PANEL));
    __m256i high = _mm256_load_si256((const __m256i *)(rows + pair * 4 * PANEL + 32));
#pragma GCC unroll 6
    for (int t = 0; t < T; t++) {
      __m256i token = broadcast(tokens + (pair * T + t) * 4);
      sum[t][0] = _mm256_add_epi32(sum[t][0], _mm256_madd_epi16(low, token));
      sum[t][1] = _mm256_add_epi32(sum[t][1], _mm256_madd_epi16(high, token));
      IN_TURN(sum[t]);
    }
  }
  /* Through memory: an array that a loop indexes would never stay in registers above. */
#pragma GCC unroll 6
  for (int t = 0; t < T; t++) sums[t][0] = sum[t][0], sums[t][1] = sum[t][1];
}

static inline __attribute__((always_inline)) void accumulate_narrow(const int T, const uint8_t *rows,
                                                                    const int8_t *tokens, int64_t begin, int64_t end,
                                                                    __m256i (*sums)[2]) {
  const __m256i ones = _mm256_set1_epi16(1);
  for (int t = 0; t < T; t++) sums[t][0] = sums[t][1] = _mm256_setzero_si256();
  for (int64_t start = begin; start < end; start += RUN) {
    int64_t stop = start + RUN < end ? start + RUN : end;
    __m256i sum[TILE][2];
#pragma GCC unroll 6
    for (int t = 0; t < T; t++) sum[t][0] = sum[t][1] = _mm256_setzero_si256();
    for (int64_t q = start; q < stop; q++) {
      __m256i low = _mm256_load_si256((const __m256i *)(rows + q * 4 * PANEL));
      __m256i high = _mm256_load_si256((const __m256i *)(rows + q * 4 * PANEL + 32));
#pragma GCC unroll 6
      for (int t = 0; t < T; t++) {
        __m256i token = broadcast(tokens + (q * T + t) * 4);
        sum[t][0] = _mm256_add_epi16(sum[t][0], _mm256_maddubs_epi16(low, token));
        sum[t][1] = _mm256_add_epi16(sum[t][1], _mm256_maddubs_epi16(high, token));
        IN_TURN(sum[t]);
      }
    }
#pragma GCC unroll 6
    for (int t = 0; t < T; t++) {
      sums[t][0] = _mm256_add_epi32(sums[t][0], _mm256_madd_epi16(sum[t][0], ones));
      sums[t][1] = _mm256_add_epi32(sums[t][1], _mm256_madd_epi16(sum[t][1], ones));
    }
  }
}

/* T tokens by one panel, to y. */
static inline __attribute__((always_inline)) void multiply(const int T, const Layer *layer, const Work *work,
                                                           const Panel *panel, int64_t first, float *y) {
  const int8_t *narrow = work->tokens + first * work->quads * 4;
  const int8_t *wide = wide_tokens(work) + first * work->quads * 8;
  int64_t G = layer->groups, quads = G == 1 ? work->quads : layer->inputs / G / 4;
  float total[TILE][PANEL] __attribute__((aligned(32)));
  for (int64_t g = 0; g < G; g++) {
    __m256i sums[TILE][2];
    if (panel->wide) accumulate_wide(T, panel->rows, wide, g * quads, (g + 1) * quads, sums);
    else accumulate_narrow(T, panel->rows, narrow, g * quads, (g + 1) * quads, sums);
    for (int half = 0; half < 2; half++) {
      __m256i offset = _mm256_load_si256((const __m256i *)(panel->offset + g * PANEL + half * 8));
      __m256 scale = _mm256_load_ps(panel->scale + g * PANEL + half * 8);
      for (int t = 0; t < T; t++) {
        __m256i excess = _mm256_mullo_epi32(offset, _mm256_set1_epi32(work->token_sums[(first + t) * G + g]));
        __m256 part = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(sums[t][half], excess)), scale);
        __m256 before = _mm256_load_ps(total[t] + half * 8);
        _mm256_store_ps(total[t] + half * 8, g ? _mm256_add_ps(before, part) : part);
      }
    }
  }
  const int32_t *outputs = work->outputs + panel->first;
  int64_t count = panel->count;
  for (int t = 0; t < T; t++) {
    float *row = y + (first + t) * layer->outputs, scale = work->token_scale[first + t];
    for (int r = 0; r < PANEL; r++) total[t][r] *= scale;
    if (layer->bias)
      for (int64_t r = 0; r < count; r++) total[t][r] += layer->bias[outputs[r]];
    if (panel->whole) memcpy(row + outputs[0], total[t], 4 * count);
    else
      for (int64_t r = 0; r < count; r++) row[outputs[r]] = total[t][r];
  }
}

#define TOKENS(n)                                                                                                    \
  static __attribute__((noinline)) void multiply##n(const Layer *layer, const Work *work, const Panel *panel,        \
                                                    int64_t first, float *y) {                                       \
    multiply(n, layer, work, panel, first, y);                                                                       \
  }
TOKENS(1) TOKENS(2) TOKENS(3) TOKENS(4) TOKENS(5) TOKENS(6)

static void (*const MULTIPLY[])(const Layer *, const Work *, const Panel *, int64_t, float *) = {
    0, multiply1, multiply2, multiply3, multiply4, multiply5, multiply6};

/* Which output each stored row is; those that have no codes yield their bias. */
static void sort_outputs(const Layer *layer, Work *work) {
  int64_t others = 0;
  work->coded = coded_rows(layer);
  for (int64_t o = 0; o < layer->outputs; o++) {
    int64_t p = layer->positions ? layer->positions[o] : o;
    if (p < work->coded) work->outputs[p] = (int32_t)o;
    else work->others[others++] = (int32_t)o;
  }
}

/* The outputs of panel p for all tokens. */
static void multiply_panel(const Layer *layer, const Work *work, int64_t p, int64_t tiles, uint8_t *own, float *y) {
  int64_t left = work->coded - p * PANEL, bytes = PANEL * work->padded * ROW_BYTES;
  Panel panel = {own, (float *)(own + bytes), (int32_t *)(own + bytes + table_bytes(layer)), p * PANEL,
                 left < PANEL ? left : PANEL, .whole = 1};
  for (int64_t r = 1; r < panel.count; r++)
    panel.whole &= work->outputs[panel.first + r] == work->outputs[panel.first] + r;
  load_panel(layer, work, &panel, (int8_t *)(own + 2 * PANEL * work->padded));
  for (int64_t t = 0; t < tiles; t++) {
    int64_t first = first_token(work->M, tiles, t);
    MULTIPLY[first_token(work->M, tiles, t + 1) - first](layer, work, &panel, first, y);
  }
}

#include "driver.h"
