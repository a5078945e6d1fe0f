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
                                     .from_step = window->stride,
                                     .tap_from_step = 1};
}

/* Pixel h of the input met output p with h = p * stride + tap - padding. */
static struct ffb_cpu_axis_class backward_position(const struct ffb_window *window, int64_t source, int64_t position) {
  int64_t reach = position + window->padding, stride = window->stride;
  int64_t tap = larger_of(reach % stride, reach - (source - 1) * stride);
  int64_t last = smaller_of(window->kernel - 1, reach);
  return (struct ffb_cpu_axis_class){.first = position,
                                     .step = stride,
                                     .count = 1,
                                     .tap = (int)tap,
                                     .tap_step = (int)stride,
                                     .taps = tap > last ? 0 : (int)((last - tap) / stride + 1),
                                     .from = (reach - tap) / stride,
                                     .from_step = 1,
                                     .tap_from_step = -1};
}

static int axis_classes(const struct ffb_cpu_convolution *convolution, int64_t source, int64_t out,
                        struct ffb_cpu_axis_class *classes) {
  int count = 0;
  int64_t step = convolution->backward ? convolution->window.stride : 1;
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
  const int64_t panel = convolution->kernels->panel, channels = convolution->channels;
  *pixels = (struct ffb_cpu_pixel_class){.down = *v, .along = *h};
  pixels->pixels = convolution->images * v->count * h->count;
  if (!v->taps || !h->taps)
    return;
  /* Taps of a row lie side by side in the source and in a forward panel. */
  int pieces = convolution->backward ? h->taps : 1;
  int64_t row_words = ffb_cpu_tap_row_words(convolution), channel_words = ffb_cpu_channel_words(convolution);
  pixels->run_length = convolution->backward ? channels : h->taps * channels;
  int64_t groups = (pixels->run_length + convolution->group - 1) / convolution->group;
  for (int a = 0; a < v->taps; a++) {
    for (int b = 0; b < pieces; b++) {
      int run = pixels->runs++, row = v->tap + a * v->tap_step, column = h->tap + b * h->tap_step;
      pixels->run_offsets[run] = (a * v->tap_from_step * convolution->width + b * h->tap_from_step) * channels;
      int64_t at = convolution->backward ? classes->slots[row * convolution->window.kernel + column] * channel_words
                                         : row * row_words + column * channel_words;
      struct ffb_cpu_segment *last = pixels->segments + pixels->segment_count - 1;
      if (pixels->segment_count && last->panel + last->groups * panel == at * panel)
        last->groups += groups;
      else
        pixels->segments[pixels->segment_count++] = (struct ffb_cpu_segment){at * panel, pixels->words, groups};
      pixels->words += groups;
    }
  }
}

void ffb_cpu_find_classes(const struct ffb_cpu_convolution *convolution, struct ffb_cpu_classes *classes) {
  const int kernel = convolution->window.kernel;
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
  for (int tap = 0; tap < kernel * kernel; tap++)
    classes->slots[tap] = rows[tap / kernel] && columns[tap % kernel] ? classes->slot_count++ : -1;
  for (int down = 0; down < classes->down_count; down++) {
    for (int along = 0; along < classes->along_count; along++) {
      struct ffb_cpu_pixel_class pixels;
      ffb_cpu_make_class(convolution, classes, down, along, &pixels);
      classes->most_words = larger_of(classes->most_words, pixels.words);
      classes->gathered_words += pixels.pixels * pixels.words;
    }
  }
}
