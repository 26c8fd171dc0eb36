/* Numbers to codes and packed rows to codes, as plain loops that a compiler turns into vector code. */
#include <math.h>
#include <stdint.h>
#include <string.h>

/* codes int8[I] of magnitude <= most_code of a token float[I], symmetric absmax; returns its scale. */
static inline float quantize_token(const float *restrict token, int64_t I, float most_code, int8_t *restrict codes) {
  /* Magnitudes order like their bits read as integers, and NaN lies above them all, so that it is not lost. */
  int32_t most = 0;
  for (int64_t i = 0; i < I; i++) {
    int32_t bits;
    memcpy(&bits, token + i, 4);
    bits &= 0x7fffffff;
    most = bits > most ? bits : most;
  }
  float largest;
  memcpy(&largest, &most, 4);
  float inverse = largest == 0.0f ? 0.0f : most_code / largest;
  if (isinf(inverse)) inverse = 0.0f;
  for (int64_t i = 0; i < I; i++) codes[i] = (int8_t)(int32_t)rintf(token[i] * inverse);
  return largest / most_code;
}

static inline void unpack4(const uint8_t *restrict row, int64_t I, int8_t *restrict out) {
  int64_t bytes = (I + 1) / 2;
  for (int64_t k = 0; k < bytes; k++) out[k] = (int8_t)((row[k] & 15) - 8);
  for (int64_t k = 0; k < I - bytes; k++) out[bytes + k] = (int8_t)((row[k] >> 4) - 8);
}

static inline void unpack2(const uint8_t *restrict row, int64_t I, int8_t *restrict out) {
  int64_t bytes = (I + 3) / 4;
  for (int plane = 0; plane < 4; plane++) {
    int64_t left = I - plane * bytes, count = left < bytes ? left : bytes;
    for (int64_t k = 0; k < count; k++) out[plane * bytes + k] = (int8_t)(((row[k] >> (2 * plane)) & 3) - 2);
  }
}

/* A row of lower 2 bits, and behind it a row of highest bits. */
static inline void unpack3(const uint8_t *restrict row, int64_t I, int8_t *restrict out) {
  const uint8_t *restrict high = row + (I + 3) / 4;
  int64_t bytes = (I + 7) / 8;
  unpack2(row, I, out);
  for (int plane = 0; plane < 8; plane++) {
    int64_t left = I - plane * bytes, count = left < bytes ? left : bytes;
    /* unpack2 took 2 off; the lowest code of 3 bits is -4. */
    for (int64_t k = 0; k < count; k++) out[plane * bytes + k] += (int8_t)((((high[k] >> plane) & 1) << 2) - 2);
  }
}
