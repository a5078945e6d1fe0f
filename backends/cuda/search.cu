/* The two searches for the parameters of a gradient's quantiser. The host launches every pass that a search can take;
 * what the next one tries, and whether it has anything to do, the last block of a pass leaves in the scratch space. */
#include "backends/cuda/sources.cuh"

namespace {

enum {
  BLOCK = 4096, /* elements that are summed by themselves */
  LANES = 16,
  STEPS = 20,
  THREADS = 64,
  BLOCKS = THREADS / LANES, /* in a launch's block */
  TILE = 64,                /* blocks whose sums are loaded at a time */
  EXPONENTS = 8,
  SEARCH_BYTES = 256 /* of the scratch space; the sums of blocks follow */
};

/* A search under way. */
struct search {
  float largest;
  float inverse[3]; /* what the next pass tries: left, right and no clipping; later one ratio */
  bool searches, gaussian, wanted;
  double low, high, left, right, at_left, at_right, whole, xx, spread;
  double least;
  float found, tracked;
  int pending; /* which of left and right the pass under way is for */
};
static_assert(sizeof(search) <= SEARCH_BYTES, "the sums of blocks follow a search");

struct clip {
  float *ratio, *deviation, *multiplier;
  float alpha, beta, tracking;
  bool gaussian_test;
};

__device__ unsigned tickets;

__device__ __forceinline__ float clamped(float value, float limit) {
  return value > limit ? limit : value < -limit ? -limit : value;
}

__device__ double deviation_of(double xx, double xq, double qq) {
  double lengths = sqrt(xx) * sqrt(qq);
  return lengths > 0 ? 1 - xq / lengths : 1;
}

__device__ float inverse_at(const search &s, double ratio) {
  float scale = (float)ratio * s.largest / 127;
  return 1 / (scale < FLT_MIN ? 1 : scale);
}

/* ---- sums in the stated order --------------------------------------------------------------------------------- */

/* Adds up of_block[chain][0 .. blocks - 1] in order; totals[] is every thread's to read afterwards. */
template <int CHAINS> __device__ void add_blocks(double *totals, const double *of_block, int64_t blocks) {
  __shared__ double tile[CHAINS][TILE];
  double total = 0;
  for (int64_t start = 0; start < blocks; start += TILE) {
    int count = blocks - start < TILE ? (int)(blocks - start) : TILE;
    for (int chain = 0; chain < CHAINS; chain++) {
      if ((int)threadIdx.x < count)
        tile[chain][threadIdx.x] = __ldcg(of_block + chain * blocks + start + threadIdx.x);
    }
    __syncthreads();
    if (threadIdx.x < CHAINS) {
#pragma unroll 8
      for (int b = 0; b < count; b++)
        total += tile[threadIdx.x][b];
    }
    __syncthreads();
  }
  if (threadIdx.x < CHAINS)
    totals[threadIdx.x] = total;
  __syncthreads();
}

/* One pass over x. A rule says what a thread adds to its chains, and what follows from the totals. */
template <class Rule>
__global__ void __launch_bounds__(THREADS)
    pass(const float *x, int64_t n, search *state, double *of_block, int64_t blocks, Rule rule) {
  __shared__ double totals[Rule::CHAINS];
  if (!rule.begin(*state)) {
    if (blockIdx.x == 0 && threadIdx.x == 0)
      rule.idle(state);
    return;
  }
  int lane = (int)threadIdx.x % LANES;
  int64_t b = (int64_t)blockIdx.x * BLOCKS + threadIdx.x / LANES;
  int64_t end = (b + 1) * BLOCK < n ? (b + 1) * BLOCK : n;
  double chain[Rule::CHAINS] = {};
#pragma unroll 16
  for (int64_t i = b * BLOCK + lane; i < end; i += LANES)
    rule.add(chain, x[i]);
#pragma unroll
  for (int c = 0; c < Rule::CHAINS; c++) {
#pragma unroll
    for (int width = LANES / 2; width; width /= 2)
      chain[c] += __shfl_down_sync(0xFFFFFFFFu, chain[c], (unsigned)width, LANES);
    if (lane == 0 && b < blocks)
      of_block[c * blocks + b] = chain[c];
  }
  if (!ffb_last_block(&tickets, gridDim.x))
    return;
  add_blocks<Rule::CHAINS>(totals, of_block, blocks);
  if (threadIdx.x == 0)
    rule.advance(state, totals);
}

template <class Rule>
bool launch_pass(struct ffb_device *device, const char *name, const struct ffb_tensor *x, const Rule &rule) {
  int64_t n = ffb_elements(x), blocks = (n + BLOCK - 1) / BLOCK;
  char *scratch = static_cast<char *>(device->scratch);
  return ffb_cuda_fits(device, SEARCH_BYTES + (int64_t)Rule::CHAINS * blocks * (int64_t)sizeof(double), name) &&
         ffb_cuda_launch(device, name, ffb_cuda_blocks(blocks, BLOCKS), THREADS, pass<Rule>, ffb_data<float>(x), n,
                         reinterpret_cast<search *>(scratch), reinterpret_cast<double *>(scratch + SEARCH_BYTES),
                         blocks, rule);
}

/* The largest value, or infinity where one is not finite; then rule.start. */
template <class Rule>
__global__ void __launch_bounds__(FFB_RANGE_THREADS)
    start_search(const float *x, int64_t n, search *state, uint32_t *of_block, Rule rule) {
  int64_t stride = (int64_t)gridDim.x * FFB_RANGE_THREADS;
  uint32_t largest = 0;
#pragma unroll 8
  for (int64_t i = (int64_t)blockIdx.x * FFB_RANGE_THREADS + threadIdx.x; i < n; i += stride)
    largest = ffb_magnitude(x[i]) > largest ? ffb_magnitude(x[i]) : largest;
  if (ffb_grid_largest(&largest, of_block, &tickets) && threadIdx.x == 0) {
    float value = __uint_as_float(largest);
    rule.start(state, isfinite(value) ? value : INFINITY);
  }
}

template <class Rule>
bool launch_start(struct ffb_device *device, const char *name, const struct ffb_tensor *x, const Rule &rule) {
  const unsigned most = 1024;
  int64_t n = ffb_elements(x);
  unsigned blocks = ffb_cuda_blocks(n, BLOCK);
  char *scratch = static_cast<char *>(device->scratch);
  return ffb_cuda_launch(device, name, blocks < most ? blocks : most, FFB_RANGE_THREADS, start_search<Rule>,
                         ffb_data<float>(x), n, reinterpret_cast<search *>(scratch),
                         reinterpret_cast<uint32_t *>(scratch + SEARCH_BYTES), rule);
}

/* ---- clipping ------------------------------------------------------------------------------------------------- */

const double golden = 0.6180339887498949;

/* What every pass of the search for a ratio shares: by itself it tries nothing. */
struct clip_pass {
  clip call;

  __device__ void start(search *s, float largest) const {
    bool zero = largest / 127 < FLT_MIN;
    *s = search{};
    s->largest = largest;
    s->searches = s->wanted = !zero && isfinite(largest);
    s->found = 1;
    s->least = zero ? 0 : 1;
    s->low = 0.05;
    s->high = 1;
    s->left = s->high - golden * (s->high - s->low);
    s->right = s->low + golden * (s->high - s->low);
    s->inverse[0] = inverse_at(*s, s->left);
    s->inverse[1] = inverse_at(*s, s->right);
    s->inverse[2] = inverse_at(*s, 1);
  }
  __device__ void idle(search *) const {}
};

/* About a third of a normal distribution lies beyond one standard deviation, less of a heavy-tailed one. */
struct moments : clip_pass {
  enum { CHAINS = 2 };
  int64_t n;
  __device__ bool begin(const search &s) const {
    return s.searches;
  }
  __device__ void add(double (&chain)[CHAINS], float x) const {
    double value = (double)x;
    chain[0] += value;
    chain[1] += value * value;
  }
  __device__ void advance(search *s, const double *totals) const {
    double mean = totals[0] / (double)n;
    s->spread = sqrt(fmax(totals[1] / (double)n - mean * mean, 0.0));
  }
};

struct beyond : clip_pass {
  enum { CHAINS = 1 };
  int64_t n;
  double spread;
  __device__ bool begin(const search &s) {
    spread = s.spread;
    return s.searches;
  }
  __device__ void add(double (&chain)[CHAINS], float x) const {
    chain[0] += fabs((double)x) > spread ? 1 : 0;
  }
  __device__ void advance(search *s, const double *totals) const {
    s->gaussian = totals[0] > 0.3 * (double)n;
  }
};

/* Sums at COUNT ratios; products of what an FP32 number is made of are exact in FP64. */
template <int COUNT> struct clip_sums : clip_pass {
  float inverse[COUNT];
  __device__ void take(const search &s) {
#pragma unroll
    for (int r = 0; r < COUNT; r++)
      inverse[r] = s.inverse[r];
  }
  __device__ __forceinline__ void add_products(double *chain, float x) const {
    double value = (double)x;
#pragma unroll
    for (int r = 0; r < COUNT; r++) {
      double q = (double)clamped(rintf(x * inverse[r]), 127);
      chain[2 * r] += value * q;
      chain[2 * r + 1] += q * q;
    }
  }
};

/* The first two ratios, and none at all. */
struct first_ratios : clip_sums<3> {
  enum { CHAINS = 7 };
  __device__ bool begin(const search &s) {
    take(s);
    return s.searches;
  }
  __device__ __forceinline__ void add(double (&chain)[CHAINS], float x) const {
    add_products(chain, x);
    chain[6] += (double)x * (double)x;
  }
  __device__ void advance(search *s, const double *totals) const;
};

/* What to try next, or where nothing is left to try, what was found. */
__device__ void choose(search *s, int steps_left) {
  bool leftwards = s->at_left <= s->at_right;
  if (steps_left == 0) {
    double clipped = leftwards ? s->at_left : s->at_right;
    s->least = clipped < s->whole ? clipped : s->whole;
    s->found = clipped < s->whole ? (float)(leftwards ? s->left : s->right) : 1;
    s->wanted = false;
    return;
  }
  if (leftwards) {
    s->high = s->right;
    s->right = s->left;
    s->at_right = s->at_left;
    s->left = s->high - golden * (s->high - s->low);
  } else {
    s->low = s->left;
    s->left = s->right;
    s->at_left = s->at_right;
    s->right = s->low + golden * (s->high - s->low);
  }
  s->pending = leftwards ? 0 : 1;
  s->inverse[0] = inverse_at(*s, leftwards ? s->left : s->right);
}

__device__ void first_ratios::advance(search *s, const double *totals) const {
  s->xx = totals[6];
  s->at_left = deviation_of(s->xx, totals[0], totals[1]);
  s->at_right = deviation_of(s->xx, totals[2], totals[3]);
  s->whole = deviation_of(s->xx, totals[4], totals[5]);
  if (s->gaussian) {
    s->least = s->whole;
    s->wanted = false;
    return;
  }
  choose(s, STEPS);
}

struct next_ratio : clip_sums<1> {
  enum { CHAINS = 2 };
  int steps_left; /* after this one */
  __device__ bool begin(const search &s) {
    take(s);
    return s.wanted;
  }
  __device__ __forceinline__ void add(double (&chain)[CHAINS], float x) const {
    add_products(chain, x);
  }
  __device__ void advance(search *s, const double *totals) const {
    double deviation = deviation_of(s->xx, totals[0], totals[1]);
    if (s->pending)
      s->at_right = deviation;
    else
      s->at_left = deviation;
    choose(s, steps_left);
  }
};

/* The deviation at the ratio that is in force, and the results. */
struct tracked_ratio : clip_sums<1> {
  enum { CHAINS = 2 };
  __device__ float tracked(const search &s) const {
    return *call.ratio == 0 ? s.found : call.tracking * *call.ratio + (1 - call.tracking) * s.found;
  }
  __device__ bool begin(const search &s) {
    float ratio = tracked(s);
    inverse[0] = inverse_at(s, (double)ratio);
    return s.searches && ratio != s.found;
  }
  __device__ __forceinline__ void add(double (&chain)[CHAINS], float x) const {
    add_products(chain, x);
  }
  __device__ void put(const search &s, double deviation) const {
    *call.deviation = (float)deviation;
    if (call.multiplier)
      *call.multiplier = (float)fmax(exp(-(double)call.alpha * deviation), (double)call.beta);
    (void)s;
  }
  __device__ void advance(search *s, const double *totals) const {
    put(*s, deviation_of(s->xx, totals[0], totals[1]));
  }
  __device__ void idle(search *s) const {
    put(*s, s->least);
  }
};

/* By itself: the pass before it reads the old ratio in every block. */
__global__ void move_ratio(const search *s, clip call) {
  tracked_ratio last = {};
  last.call = call;
  *call.ratio = last.tracked(*s);
}

bool test_gaussian(struct ffb_device *device, const struct ffb_tensor *x, const clip &call) {
  moments first = {};
  beyond second = {};
  first.call = second.call = call;
  first.n = second.n = ffb_elements(x);
  return launch_pass(device, "clip_search", x, first) && launch_pass(device, "clip_search", x, second);
}

/* ---- two segments --------------------------------------------------------------------------------------------- */

struct segments_pass {
  enum { CHAINS = 2 * EXPONENTS + 1 };
  float *exponent, *deviation;
  float coarse, coarse_inverse, fine_inverse[EXPONENTS], threshold[EXPONENTS];

  __device__ void start(search *s, float largest) const {
    float scale = largest / 63;
    /* Below this the finest scale has no finite reciprocal, and the tensor is as good as zero. */
    bool zero = ldexpf(scale, 1 - EXPONENTS) < FLT_MIN;
    *s = search{};
    s->largest = scale;
    s->searches = !zero && isfinite(scale);
    s->least = zero ? 0 : 1;
  }
  __device__ bool begin(const search &s) {
    coarse_inverse = 1 / s.largest;
#pragma unroll
    for (int e = 0; e < EXPONENTS; e++) {
      float fine = ldexpf(s.largest, -e);
      threshold[e] = 63 * fine;
      fine_inverse[e] = 1 / fine;
    }
    return s.searches;
  }
  __device__ __forceinline__ void add(double (&chain)[CHAINS], float x) const {
    double value = (double)x;
#pragma unroll
    for (int e = 0; e < EXPONENTS; e++) {
      bool small = fabsf(x) <= threshold[e];
      float whole = clamped(rintf(x * (small ? fine_inverse[e] : coarse_inverse)), 63);
      double q = (double)(small ? whole : whole * (float)(1 << e));
      chain[2 * e] += value * q;
      chain[2 * e + 1] += q * q;
    }
    chain[2 * EXPONENTS] += value * value;
  }
  __device__ void advance(search *, const double *totals) const {
    int best = 0;
    double xx = totals[2 * EXPONENTS], least = deviation_of(xx, totals[0], totals[1]);
    for (int e = 1; e < EXPONENTS; e++) {
      double d = deviation_of(xx, totals[2 * e], totals[2 * e + 1]);
      if (d < least) {
        least = d;
        best = e;
      }
    }
    *exponent = (float)best;
    *deviation = (float)least;
  }
  __device__ void idle(search *s) const {
    *exponent = 0;
    *deviation = (float)s->least;
  }
};

} // namespace

bool ffb_cuda_clip_search(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_clip_search *search = &arguments->clip_search;
  const struct ffb_tensor *x = search->x;
  clip call = {ffb_data<float>(search->ratio),
               ffb_data<float>(search->deviation),
               ffb_data<float>(search->multiplier),
               search->alpha,
               search->beta,
               search->tracking,
               search->gaussian_test};
  first_ratios first = {};
  next_ratio next = {};
  tracked_ratio last = {};
  first.call = next.call = last.call = call;
  if (!launch_start(device, "clip_search", x, clip_pass{call}) ||
      (search->gaussian_test && !test_gaussian(device, x, call)) || !launch_pass(device, "clip_search", x, first))
    return false;
  for (next.steps_left = STEPS - 1; next.steps_left >= 0; next.steps_left--) {
    if (!launch_pass(device, "clip_search", x, next))
      return false;
  }
  return launch_pass(device, "clip_search", x, last) &&
         FFB_LAUNCH(device, 1, 1, move_ratio, static_cast<struct search *>(device->scratch), call);
}

bool ffb_cuda_segment_search(struct ffb_device *device, const union ffb_arguments *arguments) {
  const struct ffb_segment_search *search = &arguments->segment_search;
  segments_pass rule = {};
  rule.exponent = ffb_data<float>(search->exponent);
  rule.deviation = ffb_data<float>(search->deviation);
  return launch_start(device, "segment_search", search->x, rule) &&
         launch_pass(device, "segment_search", search->x, rule);
}
