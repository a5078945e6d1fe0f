/* Which taps of a convolution fall where: the classes of convolution.h. */
#include "backends/cpu/convolution.h"

static int64_t larger_of(int64_t a, int64_t b) {
  return a > b ? a : b;
}
static int64_t smaller_of(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* The class of one position. Output p of the convolution meets source pixel p * stride + tap - padding. */
static struct ffb_cpu_axis_class forward_position(const struct ffb_window *window, int64_t source, int64_t position) {
  int64_t origin = position * window->stride - window->padding;
  int64_t tap = larger_of(0, -origin), end = smaller_of(window->kernel, source - origin);
  return (struct ffb_cpu_axis_class){.first = position,
                                     .step = 1,
                                     .count = 1,
                                     .tap = (int)tap,
                                     .tap_step = 1,
                                     .taps = (int)larger_of(0, end - tap),
                                     .from = origin + tap,
                                     .from_step = window->stride};
}

/* Pixel h of the input met output p with h = p * stride + tap - padding. */
static struct ffb_cpu_axis_class backward_position(const struct ffb_window *window, int64_t source, int64_t position) {
  int64_t reach = position + window->padding, stride = window->stride;
  int64_t tap = larger_of(reach % stride, reach - (source - 1) * stride);
  int64_t last = smaller_of(window->kernel - 1, reach), taps = tap > last ? 0 : (last - tap) / stride + 1;
  return (struct ffb_cpu_axis_class){.first = position,
                                     .step = stride,
                                     .count = 1,
                                     .tap = (int)(tap + (taps - 1) * stride),
                                     .tap_step = -(int)stride,
                                     .taps = (int)taps,
                                     .from = (reach - tap) / stride - (taps - 1),
                                     .from_step = 1};
}

static int axis_classes(const struct ffb_cpu_convolution *convolution, int64_t source, int64_t out,
                        struct ffb_cpu_axis_class *classes) {
  int count = 0;
  int64_t step = convolution->backward ? convolution->window.stride : 1;
  /* Many pixels beside one another, all alike. */
  if (convolution->window.kernel == 1 && convolution->window.stride == 1 && !convolution->window.padding) {
    classes[0] = forward_position(&convolution->window, source, 0);
    classes[0].count = out;
    return 1;
  }
  for (int64_t residue = 0; residue < step; residue++) {
    int first = count;
    for (int64_t position = residue; position < out; position += step) {
      struct ffb_cpu_axis_class one = convolution->backward ? backward_position(&convolution->window, source, position)
                                                            : forward_position(&convolution->window, source, position);
      struct ffb_cpu_axis_class *last = classes + count - 1;
      if (count > first && last->taps == one.taps && (last->tap == one.tap || !one.taps))
        last->count++;
      else
        classes[count++] = one;
    }
  }
  return count;
}

void ffb_cpu_make_class(const struct ffb_cpu_convolution *convolution, const struct ffb_cpu_classes *classes, int down,
                        int along, struct ffb_cpu_pixel_class *pixels) {
  const struct ffb_cpu_axis_class *v = &classes->down[down], *h = &classes->along[along];
  const int64_t channels = convolution->channels, words = ffb_cpu_channel_words(convolution);
  *pixels = (struct ffb_cpu_pixel_class){.down = *v, .along = *h};
  pixels->pixels = convolution->images * v->count * h->count;
  if (!v->taps || !h->taps)
    return;
  /* Taps of a row lie side by side in the source, and in a panel too; whole words are needed of each. */
  int pieces = channels % convolution->group ? h->taps : 1;
  pixels->run_length = h->taps / pieces * channels;
  pixels->run_words = h->taps / pieces * words;
  for (int a = 0; a < v->taps; a++) {
    for (int b = 0; b < pieces; b++) {
      int tap = (v->tap + a * v->tap_step) * convolution->window.kernel + h->tap + b * h->tap_step;
      pixels->run_offsets[pixels->runs] = (a * convolution->width + b) * channels;
      pixels->run_panels[pixels->runs++] = classes->slots[tap] * words * convolution->kernels->panel;
    }
  }
  pixels->words = pixels->runs * pixels->run_words;
}

/* Adds a segment, or lengthens the last one where it goes on there. */
static int add_segment(const struct ffb_cpu_convolution *convolution, struct ffb_cpu_segment *segments, int count,
                       struct ffb_cpu_segment one) {
  struct ffb_cpu_segment *last = segments + count - 1;
  if (count && last->row + last->groups == one.row &&
      last->panel + last->groups * convolution->kernels->panel == one.panel) {
    last->groups += one.groups;
    return count;
  }
  segments[count] = one;
  return count + 1;
}

int ffb_cpu_gathered_segments(const struct ffb_cpu_convolution *convolution, const struct ffb_cpu_pixel_class *pixels,
                              struct ffb_cpu_segment *segments) {
  int count = 0;
  for (int run = 0; run < pixels->runs; run++)
    count = add_segment(convolution, segments, count,
                        (struct ffb_cpu_segment){pixels->run_panels[run], run * pixels->run_words, pixels->run_words});
  return count;
}

int ffb_cpu_placed_segments(const struct ffb_cpu_convolution *convolution, const struct ffb_cpu_pixel_class *pixels,
                            struct ffb_cpu_segment *segments) {
  int count = 0;
  for (int run = 0; run < pixels->runs; run++)
    count = add_segment(convolution, segments, count,
                        (struct ffb_cpu_segment){pixels->run_panels[run], pixels->run_offsets[run] / convolution->group,
                                                 pixels->run_words});
  return count;
}

/* Numbers the taps that some pixel has, so that those which meet the same pixels follow one another. */
static void number_taps(const struct ffb_cpu_convolution *convolution, struct ffb_cpu_classes *classes,
                        const bool rows[FFB_CPU_MAX_KERNEL], const bool columns[FFB_CPU_MAX_KERNEL]) {
  const int kernel = convolution->window.kernel, stride = convolution->backward ? convolution->window.stride : 1;
  const int taps = kernel * kernel;
  for (int tap = 0; tap < taps; tap++)
    classes->slots[tap] = -1;
  for (int residue = 0; residue < stride * stride; residue++) {
    for (int number = 0; number < taps; number++) {
      int tap = convolution->backward ? taps - 1 - number : number, i = tap / kernel, j = tap % kernel;
      if (i % stride == residue / stride && j % stride == residue % stride && rows[i] && columns[j])
        classes->slots[tap] = classes->slot_count++;
    }
  }
}

void ffb_cpu_find_classes(const struct ffb_cpu_convolution *convolution, struct ffb_cpu_classes *classes) {
  bool rows[FFB_CPU_MAX_KERNEL] = {false}, columns[FFB_CPU_MAX_KERNEL] = {false};
  *classes = (struct ffb_cpu_classes){0};
  classes->down_count = axis_classes(convolution, convolution->height, convolution->out_height, classes->down);
  classes->along_count = axis_classes(convolution, convolution->width, convolution->out_width, classes->along);
  for (int c = 0; c < classes->down_count; c++) {
    for (int t = 0; t < classes->down[c].taps; t++)
      rows[classes->down[c].tap + t * classes->down[c].tap_step] = true;
  }
  for (int c = 0; c < classes->along_count; c++) {
    for (int t = 0; t < classes->along[c].taps; t++)
      columns[classes->along[c].tap + t * classes->along[c].tap_step] = true;
  }
  number_taps(convolution, classes, rows, columns);
  for (int down = 0; down < classes->down_count; down++) {
    for (int along = 0; along < classes->along_count; along++) {
      struct ffb_cpu_pixel_class pixels;
      ffb_cpu_make_class(convolution, classes, down, along, &pixels);
      classes->most_words = larger_of(classes->most_words, pixels.words);
      classes->gathered_words += pixels.pixels * pixels.words;
    }
  }
}
