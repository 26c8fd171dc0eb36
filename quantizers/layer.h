/* What the compiled Linears for different processors have in common: a layer as Python hands it over, and scratch space.
 * I inputs, O outputs, M tokens, G groups of inputs. Whoever includes it says before how many outputs a PANEL has.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNED(bytes) (((bytes) + 63) & ~(int64_t)63)
/* Scratch space up to this size is on the stack: the system takes freed memory back and hands it out page by page,
 * which would cost small layers more than their product. */
#define STACK_BYTES (1 << 18)
#define SCRATCH(name, bytes)                                                                                         \
  int64_t name##_bytes = (bytes);                                                                                    \
  int name##_fits = name##_bytes <= STACK_BYTES;                                                                     \
  uint8_t name##_stack[name##_fits ? name##_bytes + 64 : 1];                                                         \
  uint8_t *name = name##_fits ? (uint8_t *)ALIGNED((intptr_t)name##_stack) : aligned_alloc(64, name##_bytes)
#define FREE(name)                                                                                                   \
  if (!name##_fits) free(name)

typedef struct {
  const uint8_t *codes[4]; /* of 2, 3, 4 and 8 bits, each [rows, row bytes] as quantizers/packing.py lays them out */
  int64_t rows[4];
  const float *scale;       /* [coded, G] */
  const int8_t *zero;       /* [coded, G] or NULL */
  const int32_t *positions; /* [O], row of each output among the stored ones, or NULL for their order */
  const float *bias;        /* [O] or NULL */
  int64_t inputs, outputs, groups;
} Layer;

/* What codes of each width are raised by so that they are not negative. */
static const int32_t OFFSETS[4] = {2, 4, 8, 128};

/* A row of codes as it is stored. */
typedef struct {
  const uint8_t *bytes;
  int64_t count; /* of bytes */
  int kind;      /* index of Layer.codes */
} Row;

/* Stored row p of the layer. */
static Row find_row(const Layer *layer, int64_t p) {
  int64_t I = layer->inputs, bytes[4] = {(I + 3) / 4, (I + 3) / 4 + (I + 7) / 8, (I + 1) / 2, I};
  int kind = 0;
  while (p >= layer->rows[kind]) p -= layer->rows[kind++];
  return (Row){layer->codes[kind] + p * bytes[kind], bytes[kind], kind};
}

/* How many stored rows have codes. */
static int64_t coded_rows(const Layer *layer) {
  return layer->rows[0] + layer->rows[1] + layer->rows[2] + layer->rows[3];
}

typedef struct {
  int64_t M;
  int64_t quads, padded; /* groups of four inputs; inputs rounded up to whole vectors */
  int64_t coded;         /* rows with codes */
  int32_t *outputs;      /* [coded], the outputs that have codes, in the order of the panels */
  int32_t *others;       /* [O - coded], the outputs that have none */
  int8_t *tokens;        /* [tile][quads][tokens of the tile][4] */
  float *token_scale;    /* [M] */
  int32_t *token_sums;   /* [M, G] */
} Work;

/* Bytes of a number for each group and row of a panel. */
static int64_t table_bytes(const Layer *layer) { return ALIGNED(4 * layer->groups * PANEL); }

/* First token of tile t when M tokens are dealt evenly to `tiles` tiles. */
static int64_t first_token(int64_t M, int64_t tiles, int64_t t) { return M * t / tiles; }
