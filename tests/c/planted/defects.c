/* Defects of the library, planted by its feature `planted`: each is reported to the host with its code, and the host lives
 * on. See tests/c/run --asan. */
#include "harness.h"

/* A panic inside of a call: the call fails, and everything else goes on. */
static void a_panic_becomes_an_error_of_the_call(void) {
  world w = open_world();
  libraft_error *error = NULL;
  CHECK_EQ(libraft_group_propose(w.group, "planted: panic", 14, NULL, NULL, &error),
           LIBRAFT_ERR_PANICKED);
  record_code(libraft_error_code(error));
  CHECK(strstr(libraft_error_message(error), "planted, as the proposal asked for") != NULL);
  CHECK_EQ(libraft_error_outcome(error), LIBRAFT_OUTCOME_UNKNOWN);
  CHECK_EQ(libraft_error_retriable(error), 0);
  libraft_error_free(error);
  OK(libraft_group_propose_wait(w.group, "and on", 6, NULL, NULL, NULL, &failure));
  close_world(&w);
}

/* An entry that would leave a gap in the log: the node goes out of service before anything of it is on the disk. Another node
 * of the process does not mind, and what was acknowledged is there when the directory is opened again. */
static void a_broken_invariant_takes_the_node_out_of_service_and_loses_nothing(void) {
  world w = open_world(), other = open_world();
  libraft_node_info info;
  libraft_error *why = NULL;
  OK(libraft_group_propose_wait(w.group, "kept", 4, NULL, NULL, NULL, &failure));
  EXPECT(LIBRAFT_ERR_INTERNAL,
         libraft_group_propose_wait(w.group, "planted: gap", 12, NULL, NULL, NULL, &failure));
  OK(libraft_node_info_init(&info));
  OK(libraft_node_status(w.node, &info, &failure));
  CHECK_EQ(info.failure_code, LIBRAFT_ERR_INTERNAL);
  OK(libraft_node_failure(w.node, &why, &failure));
  CHECK_EQ(libraft_error_code(why), LIBRAFT_ERR_INTERNAL);
  CHECK(strstr(libraft_error_message(why), "would leave a gap") != NULL);
  libraft_error_free(why);
  OK(libraft_group_propose_wait(other.group, "fine", 4, NULL, NULL, NULL, &failure));
  close_world(&other);
  EXPECT(LIBRAFT_ERR_INTERNAL, libraft_node_close(w.node, &failure));
  libraft_group_free(w.group);
  libraft_node_free(w.node);
  memory_free(w.memory);

  memory *again = memory_new();
  libraft_state_machine machine = memory_machine(again);
  libraft_node *node = open_node(1, "data-1");
  libraft_group *group = start_alone(node, 1, &machine);
  CHECK(again->length == 4 && memcmp(again->bytes, "kept", 4) == 0);
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);
  memory_free(again);
}

int main(void) {
  RUN(a_panic_becomes_an_error_of_the_call);
  RUN(a_broken_invariant_takes_the_node_out_of_service_and_loses_nothing);
  return 0;
}
