/* Every trainer and every mode of forward-forward learns: its loss falls, and it beats a stated accuracy on records
 * that it was not trained on. */
#include "tests/trainer_cases.h"

#include "harness/evaluation.h"
#include "harness/loader.h"

#include <unistd.h>

struct lesson {
  const char *name;
  struct recipe recipe;
  double accuracy; /* percent on the test records, at least */
};

/* 2000 synthetic digits to train on, 784-128-128-10. A guess is right one time in ten; the bounds are four points or
 * more below what was seen. One-pass at twice this rate depends on the initial weights: 78 to 93 % over five seeds. */
#define BP(name, algorithm, options, accuracy)                                                                         \
  { name, {algorithm, options, .epochs = 8, .batch = 32}, accuracy }
#define FF(name, options, accuracy)                                                                                    \
  { name, {"ff_int8", "learning_rate=0.0005 " options, .epochs = 20, .batch = 16}, accuracy }

static struct lesson lessons[] = {
    BP("bp_fp32", "bp_fp32", "", 89),
    BP("bp_fp32, separate update", "bp_fp32", "update=separate", 89),
    BP("bp_fp32, adam", "bp_fp32", "optimiser=adam learning_rate=0.003", 86),
    BP("bp_int8", "bp_int8", "", 89),
    BP("bp_int8, int8 weights", "bp_int8", "weights=int8", 89),
    BP("bp_ui8", "bp_ui8", "search_period=20", 89),
    BP("bp_gdai8", "bp_gdai8", "search_period=20", 89),
    BP("bp_gdai8, two segments", "bp_gdai8", "search_period=20 segments=2", 89),
    FF("ff_int8 tuned", "", 72),
    FF("ff_int8 paper", "preset=paper learning_rate=0.3", 77),
    FF("ff_int8 one_pass", "preset=one_pass learning_rate=0.001", 86),
    FF("ff_int8 one_pass, int8 weights", "preset=one_pass learning_rate=0.001 weights=int8", 84),
    FF("ff_int8 one_pass, scalar", "preset=one_pass learning_rate=0.001 lookahead=scalar lambda_step=0.01", 70),
    FF("ff_int8, off", "lookahead=off", 72),
    FF("ff_int8, chain", "lookahead=chain lambda_step=0.01", 72),
    FF("ff_int8, greedy", "schedule=greedy", 62),
    FF("ff_int8, hard negatives", "negatives=hard", 70),
    FF("ff_int8, negatives drawn once", "negatives_drawn=once", 66),
    FF("ff_int8, linear head", "inference=linear_head", 77),
    FF("ff_int8, all units", "inference=all", 78),
    FF("ff_int8, int8 weights", "weights=int8", 66),
    FF("ff_int8, mean of squares", "goodness=mean_squares theta=2 optimiser=adam learning_rate=0.003", 70),
};

struct course {
  struct subject subject;
  struct loader loader;
  const struct ffb_dataset_pair *pair;
};

static void course_begin(struct course *course, const struct ffb_dataset_pair *pair, const struct recipe *recipe,
                         int64_t records) {
  struct ffb_error error = {0};
  struct recipe full = *recipe;
  course->pair = pair;
  full.backend = &ffb_backend_cpu;
  full.threads = 2;
  full.height = pair->train.height;
  full.width = pair->train.width;
  full.batch = or_default(recipe->batch, 32);
  full.hidden = recipe->hidden ? recipe->hidden : "128,128";
  full.seed = 1;
  GOOD(loader_open(&course->loader, pair, full.batch, 1, records, 0, &error), &error);
  full.records = course->loader.split.train_count;
  subject_make(&course->subject, &full);
}

static double course_epoch(struct course *course, int64_t epoch) {
  struct ffb_error error = {0};
  struct subject *s = &course->subject;
  struct ffb_epoch_statistics statistics;
  loader_shuffle(&course->loader, (uint32_t)epoch);
  for (int64_t number = 0; number < loader_batches(&course->loader); number++) {
    struct ffb_batch batch;
    loader_train(&course->loader, number, &batch);
    GOOD(s->trainer->train_step(s->state, &batch, &error), &error);
  }
  GOOD(s->trainer->end_epoch(s->state, &statistics, &error), &error);
  assert_int_equal(statistics.not_finite, 0);
  return statistics.loss;
}

static double course_accuracy(struct course *course) {
  struct ffb_error error = {0};
  double accuracy = 0;
  GOOD(evaluation_accuracy(course->subject.trainer, course->subject.state, &course->loader, &course->pair->test,
                           course->loader.split.test, course->loader.split.test_count, &accuracy, NULL, &error),
       &error);
  return accuracy;
}

static void course_end(struct course *course) {
  subject_end(&course->subject);
  loader_close(&course->loader);
}

static void learns(const struct ffb_dataset_pair *pair, const struct lesson *lesson, int64_t records) {
  struct course course;
  course_begin(&course, pair, &lesson->recipe, records);
  double first = course_epoch(&course, 0), last = first;
  for (int64_t epoch = 1; epoch < course.subject.setup.epochs; epoch++)
    last = course_epoch(&course, epoch);
  double accuracy = course_accuracy(&course);
  course_end(&course);
  print_message("# %s: %.1f %%, loss %.3f to %.3f\n", lesson->name, accuracy, first, last);
  if (!(accuracy >= lesson->accuracy))
    fail_msg("%s: %.1f %%, want %.1f", lesson->name, accuracy, lesson->accuracy);
  if (!(last < first))
    fail_msg("%s: the loss went from %g to %g", lesson->name, first, last);
}

static struct ffb_dataset_pair digits, all_digits;

/* The checks of a sanitizer make the two large cases take minutes, and see nothing in them that the small ones lack. */
#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = true };
#else
enum { SANITIZED = false };
#endif

static void lesson_is_learnt(void **state) {
  learns(&digits, *state, 0);
}

/* The default dataset and the paper's network. */
static void paper_network_learns_the_default_digits(void **state) {
  (void)state;
  if (SANITIZED)
    skip();
  learns(&all_digits,
         &(struct lesson){"bp_fp32, 784-1000-1000-10",
                          {"bp_fp32", "learning_rate=0.1", .hidden = "1000,1000", .epochs = 2, .batch = 32},
                          95},
         0);
}

static void real_digits_are_learnt(void **state) {
  (void)state;
  struct ffb_error error = {0};
  struct ffb_dataset_pair pair = {0};
  struct ffb_dataset_request request = {.name = "mnist"};
  static const struct lesson real[] = {
      {"mnist, bp_fp32", {"bp_fp32", NULL, .epochs = 2, .batch = 32}, 92},
      {"mnist, bp_int8", {"bp_int8", NULL, .epochs = 2, .batch = 32}, 92},
      {"mnist, ff_int8", {"ff_int8", NULL, .epochs = 5, .batch = 32}, 80},
      {"mnist, ff_int8 one pass", {"ff_int8", "preset=one_pass", .epochs = 2, .batch = 32}, 88},
  };
  char path[4096];
  snprintf(path, sizeof path, "%s/mnist", getenv("FFBENCH_DATA") ? getenv("FFBENCH_DATA") : "");
  if (SANITIZED || access(path, R_OK) != 0)
    skip();
  GOOD(ffb_dataset_load(&pair, &request, &error), &error);
  for (size_t i = 0; i < COUNT_OF(real); i++)
    learns(&pair, &real[i], 10000);
  ffb_dataset_free(&pair);
}

static int set_up(void **state) {
  (void)state;
  struct ffb_error error = {0};
  struct ffb_dataset_request few = {.name = "synthetic_digits", .synthetic_train = 2200, .synthetic_test = 1000};
  struct ffb_dataset_request all = {.name = "synthetic_digits"};
  if (ffb_dataset_load(&digits, &few, &error) && ffb_dataset_load(&all_digits, &all, &error))
    return 0;
  print_error("%s\n", error.message);
  return -1;
}

static int tear_down(void **state) {
  (void)state;
  ffb_dataset_free(&digits);
  ffb_dataset_free(&all_digits);
  return 0;
}

int main(void) {
  struct CMUnitTest tests[COUNT_OF(lessons) + 2] = {
      cmocka_unit_test(paper_network_learns_the_default_digits),
      cmocka_unit_test(real_digits_are_learnt),
  };
  for (size_t i = 0; i < COUNT_OF(lessons); i++)
    tests[i + 2] =
        (struct CMUnitTest){.name = lessons[i].name, .test_func = lesson_is_learnt, .initial_state = &lessons[i]};
  return cmocka_run_group_tests_name("learning", tests, set_up, tear_down);
}
