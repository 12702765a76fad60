/* A defect, planted: the host frees what it proposes before the library has copied it. The reading is done by Rust code, so a
 * report shows that this code is instrumented. See tests/c/run --asan. */
#include "harness.h"

int main(void) {
  world w = open_world();
  char *data = malloc(1000);
  memset(data, 'x', 1000);
  char *volatile stale = data;
  free(data);
  OK(libraft_group_propose(w.group, stale, 1000, NULL, NULL, &failure));
  close_world(&w);
  return 0;
}
