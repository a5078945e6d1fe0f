/* Sums over the pixels of a channel in the order that backend.h gives for BATCH_STATISTICS: FP32 inside a block of
 * FFB_PIXEL_BLOCK pixels, four partial sums, FP64 from block to block. A first launch sums the blocks. Few of them are
 * added up by whichever launch block comes last for its channels, many by a second launch; a tensor whose blocks do not
 * fit the scratch space takes several rounds of both. */
#ifndef FFBENCH_BACKENDS_CUDA_STATISTICS_CUH
#define FFBENCH_BACKENDS_CUDA_STATISTICS_CUH

#include "backends/cuda/quantise.cuh"

enum {
  FFB_PARTS = 4,
  FFB_PART_PIXELS = FFB_PIXEL_BLOCK / FFB_PARTS,
  FFB_PART_CHANNELS = 32,
  FFB_PART_THREADS = FFB_PARTS * FFB_PART_CHANNELS,
  FFB_TOTAL_THREADS = 256,
  FFB_TOTAL_CHANNELS = 8,
  FFB_TOTAL_BLOCKS = 128, /* pixel blocks that are loaded at a time */
  FFB_JOINED_BLOCKS = 64, /* as many need no second launch */
  FFB_JOINED_TILES = 256  /* of FFB_PART_CHANNELS channels, that can be counted at a time */
};

/* Two sums, and the lowest and highest value where they are asked for. */
struct ffb_block_sums {
  double first, second;
  float lowest, highest;
};

/* One round over `blocks` pixel blocks from `begin` on. sums is [blocks][channels], carried [channels]. */
struct ffb_round {
  struct ffb_block_sums *sums, *carried;
  int64_t begin, blocks, pixels, channels;
  bool starts, ends;
};

static __device__ unsigned ffb_sum_tickets[FFB_JOINED_TILES];

__device__ __forceinline__ struct ffb_block_sums ffb_fresh(const struct ffb_block_sums *sums) {
  return {__ldcg(&sums->first), __ldcg(&sums->second), __ldcg(&sums->lowest), __ldcg(&sums->highest)};
}

/* The totals of CHANNELS channels from `first` on, by a block of THREADS that loads BLOCKS pixel blocks at a time.
 * finish(channel, sums) is called once for each channel. */
template <int THREADS, int CHANNELS, int BLOCKS, class Finish>
__device__ void ffb_add_totals(const struct ffb_round &round, const Finish &finish, int64_t first) {
  enum { TILE = BLOCKS * CHANNELS };
  __shared__ double tile[2][TILE];
  __shared__ float lowest[THREADS], highest[THREADS];
  __shared__ double totals[2][CHANNELS];
  int across = (int)threadIdx.x % CHANNELS, which = (int)threadIdx.x / CHANNELS;
  int64_t c = first + across;
  bool adds = which < 2, mine = c < round.channels;
  double total = 0;
  float low = INFINITY, high = -INFINITY;
  if (mine && !round.starts) {
    total = which ? round.carried[c].second : round.carried[c].first;
    low = round.carried[c].lowest;
    high = round.carried[c].highest;
  }
  for (int64_t start = 0; start < round.blocks; start += BLOCKS) {
    int count = round.blocks - start < BLOCKS ? (int)(round.blocks - start) : BLOCKS;
#pragma unroll
    for (int k = 0; k < TILE / THREADS; k++) {
      int b = k * (THREADS / CHANNELS) + which;
      if (b < count && mine) {
        struct ffb_block_sums sums = ffb_fresh(round.sums + (start + b) * round.channels + c);
        tile[0][b * CHANNELS + across] = sums.first;
        tile[1][b * CHANNELS + across] = sums.second;
        low = sums.lowest < low ? sums.lowest : low;
        high = sums.highest > high ? sums.highest : high;
      }
    }
    __syncthreads();
    if (adds && mine) {
#pragma unroll 8
      for (int b = 0; b < count; b++)
        total += tile[which][b * CHANNELS + across];
    }
    __syncthreads();
  }
  lowest[threadIdx.x] = low;
  highest[threadIdx.x] = high;
  if (adds)
    totals[which][across] = total;
  __syncthreads();
  if (which || !mine)
    return;
  for (int k = across + CHANNELS; k < THREADS; k += CHANNELS) {
    low = lowest[k] < low ? lowest[k] : low;
    high = highest[k] > high ? highest[k] : high;
  }
  struct ffb_block_sums sums = {totals[0][across], totals[1][across], low, high};
  if (round.ends)
    finish.finish(c, sums);
  else
    round.carried[c] = sums;
}

/* Block (b, c): pixel block b of the round, 32 channels from 32 c on. term.terms(channel, element, first, second,
 * value) gives the two terms of a pixel and what counts for the extremes. */
template <bool JOINED, class Term, class Finish>
__global__ void __launch_bounds__(FFB_PART_THREADS) ffb_sum_blocks(struct ffb_round round, Term term, Finish finish) {
  __shared__ float first[FFB_PARTS][FFB_PART_CHANNELS], second[FFB_PARTS][FFB_PART_CHANNELS];
  __shared__ float lowest[FFB_PARTS][FFB_PART_CHANNELS], highest[FFB_PARTS][FFB_PART_CHANNELS];
  int across = (int)threadIdx.x % FFB_PART_CHANNELS, part = (int)threadIdx.x / FFB_PART_CHANNELS;
  int64_t c = (int64_t)blockIdx.y * FFB_PART_CHANNELS + across;
  int64_t start = (round.begin + blockIdx.x) * FFB_PIXEL_BLOCK;
  float sum = 0, other = 0, low = INFINITY, high = -INFINITY;
  if (c < round.channels) {
    typename Term::channel channel = term.at(c);
#pragma unroll
    for (int k = 0; k < FFB_PART_PIXELS; k++) {
      int64_t p = start + k * FFB_PARTS + part;
      if (p >= round.pixels)
        break;
      float a, b, value;
      term.terms(channel, p * round.channels + c, &a, &b, &value);
      sum += a;
      other += b;
      low = value < low ? value : low;
      high = value > high ? value : high;
    }
  }
  first[part][across] = sum;
  second[part][across] = other;
  lowest[part][across] = low;
  highest[part][across] = high;
  __syncthreads();
  if (part == 0 && c < round.channels) {
    for (int k = 1; k < FFB_PARTS; k++) {
      low = lowest[k][across] < low ? lowest[k][across] : low;
      high = highest[k][across] > high ? highest[k][across] : high;
    }
    struct ffb_block_sums *to = round.sums + blockIdx.x * round.channels + c;
    to->first = (double)((first[0][across] + first[1][across]) + (first[2][across] + first[3][across]));
    to->second = (double)((second[0][across] + second[1][across]) + (second[2][across] + second[3][across]));
    to->lowest = low;
    to->highest = high;
  }
  if constexpr (JOINED) {
    if (ffb_last_block(&ffb_sum_tickets[blockIdx.y], gridDim.x))
      ffb_add_totals<FFB_PART_THREADS, FFB_PART_CHANNELS, FFB_JOINED_BLOCKS / 2>(
          round, finish, (int64_t)blockIdx.y * FFB_PART_CHANNELS);
  }
}

template <class Finish>
__global__ void __launch_bounds__(FFB_TOTAL_THREADS) ffb_sum_totals(struct ffb_round round, Finish finish) {
  ffb_add_totals<FFB_TOTAL_THREADS, FFB_TOTAL_CHANNELS, FFB_TOTAL_BLOCKS>(round, finish,
                                                                          (int64_t)blockIdx.x * FFB_TOTAL_CHANNELS);
}

template <class Term, class Finish>
static bool ffb_sum_pixels(struct ffb_device *device, const char *name, int64_t pixels, int64_t channels,
                           const Term &term, const Finish &finish) {
  struct ffb_block_sums *space = static_cast<struct ffb_block_sums *>(device->scratch);
  int64_t blocks = (pixels + FFB_PIXEL_BLOCK - 1) / FFB_PIXEL_BLOCK;
  int64_t most = (int64_t)(device->scratch_bytes / sizeof *space) / channels - 1;
  if (!ffb_cuda_fits(device, 2 * channels * (int64_t)sizeof *space, name))
    return false;
  for (int64_t begin = 0; begin < blocks; begin += most) {
    int64_t some = blocks - begin < most ? blocks - begin : most;
    struct ffb_round round = {space + channels, space,    begin,      some,
                              pixels,           channels, begin == 0, begin + some == blocks};
    dim3 grid((unsigned)some, ffb_cuda_blocks(channels, FFB_PART_CHANNELS));
    bool joined = some <= FFB_JOINED_BLOCKS && grid.y <= FFB_JOINED_TILES;
    if (!ffb_cuda_launch(device, name, grid, FFB_PART_THREADS,
                         joined ? ffb_sum_blocks<true, Term, Finish> : ffb_sum_blocks<false, Term, Finish>, round, term,
                         finish) ||
        (!joined && !ffb_cuda_launch(device, name, ffb_cuda_blocks(channels, FFB_TOTAL_CHANNELS), FFB_TOTAL_THREADS,
                                     ffb_sum_totals<Finish>, round, finish)))
      return false;
  }
  return true;
}

#endif
