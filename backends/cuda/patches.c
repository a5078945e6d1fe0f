/* Convolutions as matrix products over gathered patches, group by group and in pieces that keep the patches small. INT8
 * sums are exact: one piece never sums more terms than S32 holds, and pieces that together might are added in S64. */
#include "backends/cuda/convolution.h"
#include "backends/cuda/gather.h"

#include <stdio.h>
#include <string.h>

/* Patches and sums of one piece; and how many terms a sum may have, 127 * 127 * terms < 2^31. Tests make both small. */
#ifndef FFB_CUDA_PIECE_BYTES
#define FFB_CUDA_PIECE_BYTES ((int64_t)32 << 20)
#define FFB_CUDA_S32_TERMS   133144
#endif

struct work {
  const struct ffb_cuda_convolution *convolution;
  int taps;
  int64_t in, out;        /* channels of a group */
  int64_t depth, columns; /* of a patch; of what it is multiplied with (of a weight gradient: its rows) */
  int64_t to_depth, to_columns;
  int64_t positions;
  bool pointwise; /* patches are the pixels themselves */
  /* Parts of the scratch memory. */
  bool gather, pack_filters, in_place;
  int64_t piece; /* positions */
  int64_t pieces;
  size_t filters, patches, others, sums, totals; /* bytes */
};

static int64_t padded(const struct work *work, int64_t n) {
  return work->convolution->integer ? ffb_cuda_rounded_up(n, FFB_CUDA_S8_UNIT) : n;
}
static int64_t padded_rows(const struct work *work, int64_t n) {
  return work->convolution->integer ? ffb_cuda_s8_rows(n) : n;
}
static size_t element_bytes(const struct work *work) {
  return work->convolution->integer ? 1 : sizeof(float);
}
static bool is_wide(const struct work *work) {
  return work->convolution->integer && work->convolution->pass == FFB_CUDA_WEIGHT_GRADIENT &&
         work->positions > FFB_CUDA_S32_TERMS;
}

/* ---- what a shape asks for ------------------------------------------------------------------------------------- */

static void set_pieces(struct work *work, int64_t bytes_per_position) {
  int64_t most = bytes_per_position ? FFB_CUDA_PIECE_BYTES / bytes_per_position : work->positions;
  most = most / FFB_CUDA_S8_ROWS * FFB_CUDA_S8_ROWS;
  if (is_wide(work) && most > FFB_CUDA_S32_TERMS)
    most = FFB_CUDA_S32_TERMS / FFB_CUDA_S8_ROWS * FFB_CUDA_S8_ROWS;
  if (most < FFB_CUDA_S8_ROWS)
    most = FFB_CUDA_S8_ROWS;
  work->piece = work->positions < most ? work->positions : most;
  work->pieces = (work->positions + work->piece - 1) / work->piece;
}

/* Rows that a part of the scratch memory needs when whole pieces do, or when only a last, short piece might. */
static int64_t rows_in_scratch(const struct work *work, bool always) {
  if (always)
    return padded_rows(work, work->piece);
  return work->convolution->integer && work->pieces > 1 ? FFB_CUDA_S8_ROWS : 0;
}

static void plan_rows(struct work *work) {
  const struct ffb_cuda_convolution *convolution = work->convolution;
  const struct ffb_tensor *source = convolution->pass == FFB_CUDA_FORWARD ? convolution->x : convolution->y;
  const struct ffb_tensor *out = convolution->pass == FFB_CUDA_FORWARD ? convolution->y : convolution->x;
  bool integer = convolution->integer, backward = convolution->pass == FFB_CUDA_INPUT_GRADIENT;
  bool odd_depth = work->to_depth != work->depth, odd_columns = work->to_columns != work->columns;
  work->gather =
      !work->pointwise || (integer && (odd_depth || source->shape[3] % FFB_CUDA_S8_UNIT != 0 ||
                                       work->positions < FFB_CUDA_S8_ROWS || !ffb_cuda_is_aligned(source->data)));
  /* FP32 filters of a pointwise gradient are read as they lie. */
  work->pack_filters = integer ? backward || odd_depth || odd_columns || !ffb_cuda_is_aligned(convolution->w->data)
                               : backward && !work->pointwise;
  work->in_place = !integer || (!convolution->accumulate && convolution->groups == 1 && !odd_columns &&
                                work->positions >= FFB_CUDA_S8_ROWS && ffb_cuda_is_aligned(out->data));
  set_pieces(work, (work->gather ? work->to_depth * (int64_t)element_bytes(work) : 0) +
                       (work->in_place ? 0 : work->to_columns * (int64_t)sizeof(int32_t)));
  work->filters = work->pack_filters ? ffb_cuda_part(work->to_columns * work->to_depth, element_bytes(work)) : 0;
  work->patches = ffb_cuda_part(rows_in_scratch(work, work->gather) * work->to_depth, element_bytes(work));
  work->sums = ffb_cuda_part(rows_in_scratch(work, !work->in_place) * work->to_columns, sizeof(int32_t));
}

static void plan_weight(struct work *work) {
  const struct ffb_cuda_convolution *convolution = work->convolution;
  int64_t rows = padded_rows(work, work->columns), size = (int64_t)element_bytes(work);
  work->gather = convolution->integer || !work->pointwise;
  work->in_place = !convolution->integer || (!convolution->accumulate && !is_wide(work) && rows == work->columns &&
                                             work->to_depth == work->depth && convolution->groups == 1 &&
                                             ffb_cuda_is_aligned(convolution->w->data));
  set_pieces(work, (work->gather ? work->to_depth * size : 0) + (convolution->integer ? rows : 0));
  work->patches = work->gather ? ffb_cuda_part(work->to_depth * padded(work, work->piece), (size_t)size) : 0;
  work->others = convolution->integer ? ffb_cuda_part(rows * padded(work, work->piece), 1) : 0;
  work->sums = work->in_place ? 0 : ffb_cuda_part(rows * work->to_depth, sizeof(int32_t));
  work->totals = is_wide(work) ? ffb_cuda_part(rows * work->to_depth, sizeof(int64_t)) : 0;
}

static struct work plan_work(const struct ffb_cuda_convolution *convolution) {
  const struct ffb_window *window = &convolution->window;
  const struct ffb_tensor *grid = convolution->pass == FFB_CUDA_INPUT_GRADIENT ? convolution->x : convolution->y;
  struct work work = {.convolution = convolution,
                      .taps = window->kernel * window->kernel,
                      .in = convolution->x->shape[3] / convolution->groups,
                      .out = convolution->y->shape[3] / convolution->groups,
                      .positions = grid->shape[0] * grid->shape[1] * grid->shape[2],
                      .pointwise = window->kernel == 1 && window->stride == 1 && window->padding == 0};
  bool backward = convolution->pass == FFB_CUDA_INPUT_GRADIENT;
  work.depth = work.taps * (backward ? work.out : work.in);
  work.columns = backward ? work.in : work.out;
  work.to_depth = padded(&work, work.depth);
  work.to_columns = padded(&work, work.columns);
  if (convolution->pass == FFB_CUDA_WEIGHT_GRADIENT)
    plan_weight(&work);
  else
    plan_rows(&work);
  return work;
}

static size_t scratch_bytes(const struct work *work) {
  return work->filters + work->patches + work->others + work->sums + work->totals;
}

size_t ffb_cuda_patches_bytes(const struct ffb_cuda_convolution *convolution) {
  struct ffb_cuda_convolution planned = *convolution;
  struct ffb_tensor x = *convolution->x, y = *convolution->y, w = *convolution->w;
  /* Addresses are not given yet: a tensor that turns out misaligned takes the device's own memory. */
  x.data = y.data = w.data = NULL;
  planned.x = &x;
  planned.y = &y;
  planned.w = &w;
  struct work work = plan_work(&planned);
  return scratch_bytes(&work);
}

/* ---- pieces ---------------------------------------------------------------------------------------------------- */

/* A group's part of one piece. */
struct part {
  int64_t first, count; /* positions */
  int group;
  char *filters, *patches, *others, *sums, *totals;
};

static const void *elements(const struct work *work, const struct ffb_tensor *tensor, int64_t number) {
  return (const char *)tensor->data + (size_t)number * element_bytes(work);
}

static bool gather(struct ffb_device *device, const struct work *work, const struct part *part, bool transposed) {
  const struct ffb_cuda_convolution *convolution = work->convolution;
  bool backward = convolution->pass == FFB_CUDA_INPUT_GRADIENT;
  const struct ffb_tensor *source = backward ? convolution->y : convolution->x,
                          *grid = backward ? convolution->x : convolution->y;
  int64_t channels = backward ? work->out : work->in;
  struct ffb_cuda_patches patches = {.from = source->data,
                                     .to = part->patches,
                                     .first = part->first,
                                     .count = part->count,
                                     .to_rows = transposed ? padded(work, part->count) : padded_rows(work, part->count),
                                     .to_depth = work->to_depth,
                                     .height = (int)source->shape[1],
                                     .width = (int)source->shape[2],
                                     .pixel_stride = (int)source->shape[3],
                                     .offset = (int)(part->group * channels),
                                     .channels = (int)channels,
                                     .grid_height = (int)grid->shape[1],
                                     .grid_width = (int)grid->shape[2],
                                     .kernel = convolution->window.kernel,
                                     .stride = convolution->window.stride,
                                     .padding = convolution->window.padding,
                                     .backward = backward};
  if (transposed)
    return ffb_cuda_gather_transposed_s8(device, &patches);
  return convolution->integer ? ffb_cuda_gather_patches_s8(device, &patches)
                              : ffb_cuda_gather_patches_f32(device, &patches);
}

static bool pack(struct ffb_device *device, const struct work *work, const struct ffb_cuda_pack *pack) {
  return work->convolution->integer ? ffb_cuda_pack_s8(device, pack) : ffb_cuda_pack_f32(device, pack);
}

/* Filters as [columns][depth]. */
static bool pack_filters(struct ffb_device *device, const struct work *work, const struct part *part) {
  bool backward = work->convolution->pass == FFB_CUDA_INPUT_GRADIENT;
  struct ffb_cuda_pack filters = {
      .from = elements(work, work->convolution->w, part->group * work->out * work->taps * work->in),
      .to = part->filters,
      .rows = work->columns,
      .depth = work->depth,
      .to_rows = work->to_columns,
      .to_depth = work->to_depth,
      .row_stride = backward ? 1 : work->depth,
      .inner = backward ? work->out : work->depth,
      .outer_stride = work->in,
      .inner_stride = backward ? work->taps * work->in : 1};
  return pack(device, work, &filters);
}

static bool scale(struct ffb_device *device, const struct work *work, float *out, const void *sums, bool wide,
                  const int64_t rows_columns_strides[4]) {
  const struct ffb_cuda_convolution *convolution = work->convolution;
  struct ffb_cuda_scaling scaling = {.out = out,
                                     .sums = sums,
                                     .wide = wide,
                                     .accumulate = convolution->accumulate,
                                     .rows = rows_columns_strides[0],
                                     .columns = rows_columns_strides[1],
                                     .out_stride = rows_columns_strides[2],
                                     .sums_stride = rows_columns_strides[3],
                                     .scale_a = convolution->scale_a->data,
                                     .scale_b = convolution->scale_b->data};
  return ffb_cuda_scale_sums(device, &scaling);
}

/* Output pixels, or pixels of an input gradient: patches times filters. */
static bool multiply_rows(struct ffb_device *device, const struct work *work, const struct part *part) {
  const struct ffb_cuda_convolution *convolution = work->convolution;
  bool backward = convolution->pass == FFB_CUDA_INPUT_GRADIENT, integer = convolution->integer;
  const struct ffb_tensor *source = backward ? convolution->y : convolution->x,
                          *grid = backward ? convolution->x : convolution->y;
  bool gathered = work->gather || (integer && part->count < FFB_CUDA_S8_ROWS);
  bool in_place = work->in_place && (!integer || part->count >= FFB_CUDA_S8_ROWS);
  int64_t stride = source->shape[3], out_stride = grid->shape[3];
  int64_t filters = part->group * work->out * work->taps * work->in;
  float *out = (float *)grid->data + part->first * out_stride + part->group * work->columns;
  struct ffb_cuda_product product = {
      .integer = integer,
      .transpose_b = integer || !backward || !work->pointwise,
      .accumulate = !integer && convolution->accumulate,
      .rows = padded_rows(work, part->count),
      .columns = work->to_columns,
      .depth = work->to_depth,
      .a = gathered ? part->patches : elements(work, source, part->first * stride + part->group * work->depth),
      .b = work->pack_filters ? part->filters : elements(work, convolution->w, filters),
      .c = in_place ? (void *)out : part->sums,
      .a_stride = gathered ? work->to_depth : stride,
      .c_stride = in_place ? out_stride : work->to_columns};
  product.b_stride = product.transpose_b ? work->to_depth : work->columns;
  if ((gathered && !gather(device, work, part, false)) || !ffb_cuda_multiply(device, &product))
    return false;
  return !integer || scale(device, work, out, product.c, false,
                           (int64_t[4]){part->count, work->columns, out_stride, product.c_stride});
}

/* One piece's share of a weight gradient: gradients times patches, summed over positions. */
static bool multiply_weight_f32(struct ffb_device *device, const struct work *work, const struct part *part) {
  const struct ffb_cuda_convolution *convolution = work->convolution;
  int64_t stride = convolution->x->shape[3], outputs = convolution->y->shape[3];
  float *gw = (float *)convolution->w->data + part->group * work->out * work->depth;
  struct ffb_cuda_product product = {
      .transpose_a = true,
      .accumulate = convolution->accumulate || part->first > 0,
      .rows = work->out,
      .columns = work->depth,
      .depth = part->count,
      .a = elements(work, convolution->y, part->first * outputs + part->group * work->out),
      .b = work->gather ? part->patches : elements(work, convolution->x, part->first * stride + part->group * work->in),
      .c = gw,
      .a_stride = outputs,
      .b_stride = work->gather ? work->depth : stride,
      .c_stride = work->depth};
  return (!work->gather || gather(device, work, part, false)) && ffb_cuda_multiply(device, &product);
}

static bool multiply_weight_s8(struct ffb_device *device, const struct work *work, const struct part *part) {
  const struct ffb_cuda_convolution *convolution = work->convolution;
  int64_t outputs = convolution->y->shape[3], rows = padded_rows(work, work->out), depth = padded(work, part->count);
  float *gw = (float *)convolution->w->data + part->group * work->out * work->depth;
  bool wide = is_wide(work), first = part->first == 0, last = part->first + part->count == work->positions;
  void *sums = work->in_place ? (void *)gw : part->sums;
  struct ffb_cuda_pack gradients = {.from =
                                        elements(work, convolution->y, part->first * outputs + part->group * work->out),
                                    .to = part->others,
                                    .rows = work->out,
                                    .depth = part->count,
                                    .to_rows = rows,
                                    .to_depth = depth,
                                    .row_stride = 1,
                                    .inner = part->count,
                                    .inner_stride = outputs};
  struct ffb_cuda_product product = {.integer = true,
                                     .transpose_b = true,
                                     .accumulate = !wide && !first,
                                     .rows = rows,
                                     .columns = work->to_depth,
                                     .depth = depth,
                                     .a = part->others,
                                     .b = part->patches,
                                     .c = sums,
                                     .a_stride = depth,
                                     .b_stride = depth,
                                     .c_stride = work->to_depth};
  if (!ffb_cuda_pack_s8(device, &gradients) || !gather(device, work, part, true) ||
      !ffb_cuda_multiply(device, &product) ||
      (wide && !ffb_cuda_add_sums(device, (int64_t *)part->totals, sums, rows * work->to_depth, first)))
    return false;
  return !last || scale(device, work, gw, wide ? part->totals : sums, wide,
                        (int64_t[4]){work->out, work->depth, work->depth, work->to_depth});
}

static bool run_group(struct ffb_device *device, const struct work *work, struct part *part) {
  if (work->pack_filters && !pack_filters(device, work, part))
    return false;
  for (part->first = 0; part->first < work->positions; part->first += part->count) {
    int64_t left = work->positions - part->first;
    part->count = left < work->piece ? left : work->piece;
    bool done = work->convolution->pass != FFB_CUDA_WEIGHT_GRADIENT ? multiply_rows(device, work, part)
                : work->convolution->integer                        ? multiply_weight_s8(device, work, part)
                                                                    : multiply_weight_f32(device, work, part);
    if (!done)
      return false;
  }
  return true;
}

bool ffb_cuda_convolve_patches(struct ffb_device *device, const struct ffb_cuda_convolution *convolution) {
  struct work work = plan_work(convolution);
  struct part part = {0};
  if (work.positions > INT32_MAX - FFB_CUDA_S8_ROWS) {
    snprintf(device->failure, sizeof device->failure, "backend cuda: %lld pixels are too many: lower --batch",
             (long long)work.positions);
    return false;
  }
  char *scratch = ffb_cuda_scratch(device, convolution->workspace, scratch_bytes(&work));
  if (!scratch)
    return false;
  part.filters = scratch;
  part.patches = part.filters + work.filters;
  part.others = part.patches + work.patches;
  part.sums = part.others + work.others;
  part.totals = part.sums + work.sums;
  for (part.group = 0; part.group < convolution->groups; part.group++)
    if (!run_group(device, &work, &part))
      return false;
  return true;
}
