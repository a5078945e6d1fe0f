#include "harness/meters/still.h"

bool meter_still_note(struct meter_still *still, const struct meter_still_rule *rule, bool same, double now,
                      size_t *doubtful) {
  bool unseen = now - still->last > rule->unseen_seconds;
  *doubtful = 0;
  if (!same || !still->begun || unseen) {
    *still = (struct meter_still){.begun = true, .since = now, .last = now};
    return false;
  }
  still->last = now;
  still->seen++;
  if (still->seen < rule->readings || now - still->since < rule->seconds) {
    still->repeats++;
    return false;
  }
  *doubtful = still->repeats;
  still->repeats = 0;
  return true;
}
