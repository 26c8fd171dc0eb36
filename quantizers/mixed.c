/* The steps around an int8 matrix product, each in one pass: quantize tokens, unpack rows, rescale accumulators.
 *
 * Plain loops that a compiler turns into vector code. Compile without contraction of a * b + c: the results must be those
 * of quantizers/integer.py bit for bit. All arrays are dense and row-major; I inputs, O outputs, M tokens.
 */
#include "codes.h"

/* codes int8[M, I] of magnitude <= limit and scales float[M] of x float[M, I], symmetric absmax per token. */
void quantize_tokens(const float *x, int64_t M, int64_t I, int64_t limit, int8_t *codes, float *scale) {
  for (int64_t m = 0; m < M; m++) scale[m] = quantize_token(x + m * I, I, (float)limit, codes + m * I);
}

/* int8[O, I] in the order of the outputs; rows without codes (pruned or float16) become zeros. */
void unpack_rows(const uint8_t *codes2, int64_t n2, const uint8_t *codes3, int64_t n3, const uint8_t *codes4, int64_t n4,
                 const uint8_t *codes8, int64_t n8, const int32_t *positions, int64_t O, int64_t I, int8_t *out) {
  for (int64_t o = 0; o < O; o++, out += I) {
    int64_t p = positions ? positions[o] : o;
    if (p < n2)
      unpack2(codes2 + p * ((I + 3) / 4), I, out);
    else if (p < n2 + n3)
      unpack3(codes3 + (p - n2) * ((I + 3) / 4 + (I + 7) / 8), I, out);
    else if (p < n2 + n3 + n4)
      unpack4(codes4 + (p - n2 - n3) * ((I + 1) / 2), I, out);
    else if (p < n2 + n3 + n4 + n8)
      memcpy(out, codes8 + (p - n2 - n3 - n4) * I, I);
    else
      memset(out, 0, I);
  }
}

/* y float[M, O] of accumulators int32[G, M, O], both in the order of the outputs.
 *
 * scale float[coded, G] is in the order of the stored rows; ordered float[O, G] is scratch. Rows without codes yield the
 * bias (or 0, where it is NULL). zero int8[coded, G] (or NULL) are zero points, taken off with x_sums int32[G, M], the sums
 * of the codes of the tokens; this is done in place, in integers. */
void rescale(int32_t *sums, int64_t G, int64_t M, int64_t O, const float *scale, int64_t coded, const int32_t *positions,
             float *ordered, const float *x_scale, const int8_t *zero, const int32_t *x_sums, const float *bias, float *y) {
  if (zero)
    for (int64_t g = 0; g < G; g++) {
      /* The scratch space of the scales holds a column of zero points first. */
      int32_t *restrict column = (int32_t *)ordered;
      for (int64_t o = 0; o < O; o++) {
        int64_t p = positions ? positions[o] : o;
        column[o] = p < coded ? zero[p * G + g] : 0;
      }
      for (int64_t m = 0; m < M; m++) {
        int32_t *restrict sum = sums + (g * M + m) * O;
        int32_t total = x_sums[g * M + m];
        for (int64_t o = 0; o < O; o++) sum[o] -= column[o] * total;
      }
    }
  for (int64_t o = 0; o < O; o++) {
    int64_t p = positions ? positions[o] : o;
    for (int64_t g = 0; g < G; g++) ordered[o * G + g] = p < coded ? scale[p * G + g] : 0.0f;
  }
  for (int64_t m = 0; m < M; m++) {
    float *restrict out = y + m * O;
    float token = x_scale[m];
    if (G == 1) {
      const int32_t *restrict sum = sums + m * O;
      for (int64_t o = 0; o < O; o++) out[o] = (float)sum[o] * ordered[o] * token;
    } else {
      for (int64_t o = 0; o < O; o++) {
        float total = (float)sums[m * O + o] * ordered[o * G];
        for (int64_t g = 1; g < G; g++) total += (float)sums[(g * M + m) * O + o] * ordered[o * G + g];
        out[o] = total * token;
      }
    }
    if (bias)
      for (int64_t o = 0; o < O; o++) out[o] += bias[o];
  }
}

/* Write the products float[M, H] of the float16 rows, which are stored behind the coded ones, to their places in y. */
void place_rows(const float *products, int64_t M, int64_t H, const int32_t *positions, int64_t coded, int64_t O,
                const float *bias, int32_t *places, float *y) {
  int64_t found = 0;
  for (int64_t o = 0; o < O; o++) {
    int64_t p = positions ? positions[o] : o;
    if (p >= coded && p < coded + H) places[found++] = (int32_t)o;
  }
  for (int64_t m = 0; m < M; m++)
    for (int64_t h = 0; h < H; h++) {
      int64_t o = places[h];
      y[m * O + o] = bias ? products[m * H + h] + bias[o] : products[m * H + h];
    }
}
