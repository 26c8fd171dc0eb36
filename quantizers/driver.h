/* The order of work of the compiled Linears. Whoever includes it has `sort_outputs`, `quantize_tile` and `multiply_panel`,
 * and says how many outputs a PANEL and how many tokens a TILE has.
 */

/* y float[M, O] of x float[M, I] with codes of magnitude <= limit, on scales `given` float[M] or, if it is NULL, on one
 * found for each token. Returns 0, or 1 if memory is short. Group sizes are multiples of four. */
int64_t linear(const Layer *layer, const float *x, const float *given, int64_t M, int64_t limit, int64_t threads,
               float *y) {
  int64_t I = layer->inputs, O = layer->outputs, G = layer->groups, tiles = (M + TILE - 1) / TILE, failed = 0;
  Work work = {.M = M, .quads = (I + 3) / 4, .padded = ALIGNED(I)};
  int64_t sizes[5] = {ALIGNED(4 * O), ALIGNED(4 * O), ALIGNED(M * work.quads * 4 * TOKEN_BYTES), ALIGNED(4 * M),
                      ALIGNED(4 * M * G)};
  SCRATCH(memory, sizes[0] + sizes[1] + sizes[2] + sizes[3] + sizes[4]);
  if (!memory) return 1;
  work.outputs = (int32_t *)memory, work.others = (int32_t *)(memory + sizes[0]);
  work.tokens = (int8_t *)work.others + sizes[1];
  work.token_scale = (float *)(work.tokens + sizes[2]);
  work.token_sums = (int32_t *)((uint8_t *)work.token_scale + sizes[3]);
  sort_outputs(layer, &work);
  int64_t panels = (work.coded + PANEL - 1) / PANEL;
#pragma omp parallel num_threads(threads) if (threads > 1) reduction(| : failed)
  {
    SCRATCH(own, PANEL * work.padded * ROW_BYTES + 2 * table_bytes(layer));
    failed |= !own;
#pragma omp for
    for (int64_t t = 0; t < tiles; t++) {
      int64_t first = first_token(M, tiles, t), count = first_token(M, tiles, t + 1) - first;
      if (own) quantize_tile(layer, &work, x, given, first, count, (float)limit, (int8_t *)own);
      for (int64_t m = first; m < first + count; m++)
        for (int64_t i = 0; i < O - work.coded; i++)
          y[m * O + work.others[i]] = layer->bias ? layer->bias[work.others[i]] : 0.0f;
    }
#pragma omp for
    for (int64_t p = 0; p < panels; p++)
      if (own) multiply_panel(layer, &work, p, tiles, own, y);
    FREE(own);
  }
  FREE(memory);
  return failed;
}
