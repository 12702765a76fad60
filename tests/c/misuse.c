/* A host that does it wrong gets a code and a sentence, whatever it does; nothing crashes. */
#include "harness.h"

/* One machine that would do, where the call fails before it is asked for anything. */
static libraft_state_machine unused_machine(memory *m) { return memory_machine(m); }

static void null_is_an_invalid_argument_everywhere(void) {
  enum { E = LIBRAFT_ERR_INVALID_ARGUMENT };
  libraft_node_options options = node_options(1, "never-made");
  libraft_group_options group_options;
  libraft_completer completer = seen_by_callback(0);
  libraft_change change = {LIBRAFT_CHANGE_REMOVE, 0, 1, NULL, {0, 0, 0}};
  libraft_queue_event event;
  libraft_node *node = NULL;
  libraft_group *group = NULL;
  size_t count = 0, offsets[2] = {0, 1};
  const uint8_t *data = NULL;
  char byte = 0;
  int fd = 0;
  OK(libraft_group_options_init(&group_options));

  EXPECT(E, libraft_node_options_init(NULL));
  EXPECT(E, libraft_node_info_init(NULL));
  EXPECT(E, libraft_group_options_init(NULL));
  EXPECT(E, libraft_group_info_init(NULL));
  EXPECT(E, libraft_completer_init(NULL));
  EXPECT(E, libraft_state_machine_init(NULL));
  EXPECT(E, libraft_queue_options_init(NULL));
  EXPECT(E, libraft_node_open(NULL, &node, &failure));
  EXPECT(E, libraft_node_open(&options, NULL, &failure));
  EXPECT(E, libraft_node_close(NULL, &failure));
  EXPECT(E, libraft_node_close_async(NULL, NULL, NULL, &failure));
  EXPECT(E, libraft_node_status(NULL, NULL, &failure));
  EXPECT(E, libraft_node_failure(NULL, NULL, &failure));
  EXPECT(E, libraft_node_group(NULL, 1, &group, &failure));
  EXPECT(E, libraft_group_start(NULL, &group_options, NULL, &group, &failure));
  EXPECT(E, libraft_group_wait_ready(NULL, 1, &failure));
  EXPECT(E, libraft_group_stop(NULL, &failure));
  EXPECT(E, libraft_group_stop_async(NULL, NULL, NULL, &failure));
  EXPECT(E, libraft_group_status(NULL, NULL, &failure));
  EXPECT(E, libraft_group_failure(NULL, NULL, &failure));
  EXPECT(E, libraft_group_propose(NULL, "x", 1, &completer, NULL, &failure));
  EXPECT(E, libraft_group_propose_batch(NULL, "x", offsets, 1, &completer, NULL, &failure));
  EXPECT(E, libraft_group_propose_wait(NULL, "x", 1, NULL, NULL, NULL, &failure));
  EXPECT(E, libraft_group_read_index(NULL, &completer, NULL, &failure));
  EXPECT(E, libraft_group_read_index_wait(NULL, NULL, &failure));
  EXPECT(E, libraft_group_members(NULL, NULL, &failure));
  EXPECT(E, libraft_group_change_membership(NULL, &change, 1, &completer, NULL, &failure));
  EXPECT(E, libraft_group_change_membership_wait(NULL, &change, 1, &failure));
  EXPECT(E, libraft_group_transfer_leadership(NULL, 2, &completer, NULL, &failure));
  EXPECT(E, libraft_group_transfer_leadership_wait(NULL, 2, &failure));
  EXPECT(E, libraft_group_take_snapshot(NULL, &completer, NULL, &failure));
  EXPECT(E, libraft_group_take_snapshot_wait(NULL, NULL, &failure));
  EXPECT(E, libraft_group_set_event_callback(NULL, NULL, NULL, NULL, &failure));
  EXPECT(E, libraft_request_complete(NULL, LIBRAFT_OK, &failure));
  EXPECT(E, libraft_request_set_message(NULL, "x", &failure));
  EXPECT(E, libraft_request_set_opened(NULL, 0, NULL, 0, &failure));
  EXPECT(E, libraft_request_set_snapshot(NULL, NULL, &failure));
  EXPECT(E, libraft_request_blob(NULL, &data, &count, &failure));
  EXPECT(E, libraft_results_set(NULL, 0, "x", 1, &failure));
  EXPECT(E, libraft_snapshot_writer_write(NULL, "x", 1, &failure));
  EXPECT(E, libraft_snapshot_reader_read(NULL, &byte, 1, &count, &failure));
  EXPECT(E, libraft_queue_open(NULL, NULL, &failure));
  EXPECT(E, libraft_queue_fd(NULL, &fd, &failure));
  EXPECT(E, libraft_queue_poll(NULL, &event, 1, 0, &count, &failure));
  EXPECT(E, libraft_error_leader(NULL, NULL, NULL));
  CHECK(access("never-made", F_OK) != 0);
}

static void freeing_null_and_looking_at_null_is_harmless(void) {
  libraft_node_free(NULL);
  libraft_group_free(NULL);
  libraft_queue_free(NULL);
  libraft_error_free(NULL);
  libraft_bytes_free(NULL);
  libraft_members_free(NULL);
  CHECK(libraft_bytes_data(NULL) == NULL && libraft_bytes_len(NULL) == 0);
  CHECK(libraft_members_count(NULL) == 0 && libraft_members_at(NULL, 0) == NULL);
  CHECK_EQ(libraft_error_code(NULL), LIBRAFT_ERR_INVALID_HANDLE);
  CHECK_EQ(libraft_error_outcome(NULL), LIBRAFT_OUTCOME_UNKNOWN);
  CHECK_EQ(libraft_error_retriable(NULL), 0);
  CHECK(strcmp(libraft_error_message(NULL), "") == 0);
}

static void calls_without_a_place_for_an_error_still_return_the_code(void) {
  CHECK_EQ(libraft_node_close(NULL, NULL), LIBRAFT_ERR_INVALID_ARGUMENT);
  CHECK_EQ(libraft_queue_open(NULL, NULL, NULL), LIBRAFT_ERR_INVALID_ARGUMENT);
}

static void forged_handles_are_refused(void) {
  uint64_t local = 42;
  libraft_queue *queue = NULL;
  OK(libraft_queue_open(NULL, &queue, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_HANDLE, libraft_node_close((libraft_node *)&local, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_HANDLE, libraft_node_close((libraft_node *)queue, &failure));
  for (int bit = 0; bit < 48; bit++) {
    int fd = -7;
    libraft_queue *forged = (libraft_queue *)((uintptr_t)queue ^ ((uintptr_t)1 << bit));
    EXPECT(LIBRAFT_ERR_INVALID_HANDLE, libraft_queue_fd(forged, &fd, &failure));
    CHECK_EQ(fd, -7);
    libraft_queue_free(forged);
  }
  int fd = -1;
  OK(libraft_queue_fd(queue, &fd, &failure));
  CHECK(fd >= 0);
  libraft_queue_free(queue);
}

static void stale_handles_are_refused_even_when_their_slot_is_used_again(void) {
  libraft_queue *first = NULL, *second = NULL;
  int fd = -1;
  OK(libraft_queue_open(NULL, &first, &failure));
  libraft_queue_free(first);
  OK(libraft_queue_open(NULL, &second, &failure));
  CHECK(first != second);
  EXPECT(LIBRAFT_ERR_INVALID_HANDLE, libraft_queue_fd(first, &fd, &failure));
  libraft_queue_free(first);
  OK(libraft_queue_fd(second, &fd, &failure));
  libraft_queue_free(second);
}

static void structs_of_impossible_sizes_are_refused(void) {
  libraft_node *node = NULL;
  libraft_queue *queue = NULL;
  struct {
    libraft_queue_options options;
    uint64_t tail;
  } future;
  libraft_node_options options = node_options(1, "never-made");
  options.size = 0;
  EXPECT(LIBRAFT_ERR_INVALID_SIZE, libraft_node_open(&options, &node, &failure));
  options.size = sizeof(options) - 1;
  EXPECT(LIBRAFT_ERR_INVALID_SIZE, libraft_node_open(&options, &node, &failure));
  options.size = SIZE_MAX;
  EXPECT(LIBRAFT_ERR_INVALID_SIZE, libraft_node_open(&options, &node, &failure));
  CHECK(node == NULL);

  OK(libraft_queue_options_init_sized(&future.options, sizeof(future)));
  OK(libraft_queue_open(&future.options, &queue, &failure));
  libraft_queue_free(queue);
  queue = NULL;
  future.tail = 1;
  EXPECT(LIBRAFT_ERR_INVALID_SIZE, libraft_queue_open(&future.options, &queue, &failure));
  CHECK(queue == NULL);
}

static void node_options_are_checked(void) {
  libraft_node *node = NULL;
  libraft_node_options options = node_options(1, "never-made");
  options.insecure_transport = 2;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_node_open(&options, &node, &failure));
  options = node_options(1, "never-made");
  options.reserved = 1;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_node_open(&options, &node, &failure));
  options = node_options(1, NULL);
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_node_open(&options, &node, &failure));
  options = node_options(0, "never-made");
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_node_open(&options, &node, &failure));
  options = node_options(1, "never-made");
  options.cluster = NULL;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_node_open(&options, &node, &failure));
  options.cluster = "";
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_node_open(&options, &node, &failure));
  options.cluster = "caf\xE9";
  EXPECT(LIBRAFT_ERR_INVALID_UTF8, libraft_node_open(&options, &node, &failure));
  options = node_options(1, "never-made");
  options.tick_ms = 0;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_node_open(&options, &node, &failure));
  options = node_options(1, "never-made");
  options.election_ticks = 0;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_node_open(&options, &node, &failure));
  options = node_options(1, "never-made");
  options.apply_threads = 0;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_node_open(&options, &node, &failure));
  CHECK(node == NULL);
}

static void addresses_are_checked(void) {
  libraft_node *node = NULL;
  libraft_node_options options = node_options(1, fresh_directory());
  options.listen_address = "no port";
  EXPECT(LIBRAFT_ERR_ADDRESS_INVALID, libraft_node_open(&options, &node, &failure));
  options.listen_address = "0.0.0.0:0";
  EXPECT(LIBRAFT_ERR_INSECURE_ADDRESS, libraft_node_open(&options, &node, &failure));
  char taken[64];
  libraft_node *other = open_node(2, fresh_directory());
  node_address(other, taken, sizeof(taken));
  options.listen_address = taken;
  EXPECT(LIBRAFT_ERR_ADDRESS_IN_USE, libraft_node_open(&options, &node, &failure));
  CHECK(node == NULL);
  OK(libraft_node_close(other, &failure));
  libraft_node_free(other);
}

static void group_options_and_callback_tables_are_checked(void) {
  libraft_node *node = open_node(1, fresh_directory());
  libraft_group *group = NULL;
  libraft_group_options options;
  memory *m = memory_new();
  uint64_t destroyed = 0;
  OK(libraft_group_options_init(&options));
  options.group_id = 1;

  libraft_state_machine machine = unused_machine(m);
  machine.kind = 3;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_start(node, &options, &machine, &group, &failure));
  CHECK_EQ(gate_passed(&m->destroyed), ++destroyed);
  machine = unused_machine(m);
  machine.quick = -1;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_start(node, &options, &machine, &group, &failure));
  CHECK_EQ(gate_passed(&m->destroyed), ++destroyed);
  machine = unused_machine(m);
  machine.apply = NULL;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_start(node, &options, &machine, &group, &failure));
  CHECK_EQ(gate_passed(&m->destroyed), ++destroyed);
  machine = unused_machine(m);
  machine.kind = LIBRAFT_MACHINE_ON_DISK;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_start(node, &options, &machine, &group, &failure));
  CHECK_EQ(gate_passed(&m->destroyed), ++destroyed);
  machine = unused_machine(m);
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_group_start(node, NULL, &machine, &group, &failure));
  CHECK_EQ(gate_passed(&m->destroyed), ++destroyed);
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_start(node, &options, &machine, NULL, &failure));
  CHECK_EQ(gate_passed(&m->destroyed), ++destroyed);
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_start(NULL, &options, &machine, &group, &failure));
  CHECK_EQ(gate_passed(&m->destroyed), ++destroyed);

  /* A struct from the future is refused, but `destroy` is known, and runs. */
  struct {
    libraft_state_machine machine;
    uint64_t tail;
  } future = {unused_machine(m), 1};
  future.machine.size = sizeof(future);
  EXPECT(LIBRAFT_ERR_INVALID_SIZE,
         libraft_group_start(node, &options, &future.machine, &group, &failure));
  CHECK_EQ(gate_passed(&m->destroyed), ++destroyed);
  /* Of an impossible size nothing is looked at. */
  machine.size = 8;
  EXPECT(LIBRAFT_ERR_INVALID_SIZE,
         libraft_group_start(node, &options, &machine, &group, &failure));
  CHECK_EQ(gate_passed(&m->destroyed), destroyed);

  options.group_id = 0;
  machine = unused_machine(m);
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_start(node, &options, &machine, &group, &failure));
  CHECK_EQ(gate_passed(&m->destroyed), ++destroyed);
  libraft_initial_member member = {1, "\xFF", {0, 0}};
  options.group_id = 1;
  options.initial_members = &member;
  options.initial_members_count = 1;
  EXPECT(LIBRAFT_ERR_INVALID_UTF8,
         libraft_group_start(node, &options, &machine, &group, &failure));
  CHECK_EQ(gate_passed(&m->destroyed), ++destroyed);
  member.address = "127.0.0.1:1";
  member.reserved[1] = 1;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_start(node, &options, &machine, &group, &failure));
  CHECK_EQ(gate_passed(&m->destroyed), ++destroyed);
  options.initial_members = NULL;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_start(node, &options, &machine, &group, &failure));
  CHECK_EQ(gate_passed(&m->destroyed), ++destroyed);
  CHECK(group == NULL);
  EXPECT(LIBRAFT_ERR_GROUP_NOT_FOUND, libraft_node_group(node, 1, &group, &failure));
  OK(libraft_node_close(node, &failure));
  libraft_node_free(node);
  free(m);
}

static void calls_to_a_group_are_checked(void) {
  world w = open_world();
  sight s = SIGHT;
  libraft_completer completer = seen_by_callback(0);
  libraft_change change = {LIBRAFT_CHANGE_REMOVE, 0, 1, NULL, {0, 0, 0}};
  size_t descending[3] = {0, 5, 3};
  size_t empty_entry[3] = {0, 3, 3};

  EXPECT(LIBRAFT_ERR_EMPTY_PROPOSAL,
         libraft_group_propose(w.group, NULL, 0, &completer, &s, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_propose(w.group, NULL, 5, &completer, &s, &failure));
  char *large = calloc(1, (8 << 20) + 1);
  EXPECT(LIBRAFT_ERR_TOO_LARGE,
         libraft_group_propose(w.group, large, (8 << 20) + 1, &completer, &s, &failure));
  free(large);
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_group_propose_batch(w.group, "abcde", descending, 2,
                                                                   &completer, &s, &failure));
  EXPECT(LIBRAFT_ERR_EMPTY_PROPOSAL, libraft_group_propose_batch(w.group, "abc", empty_entry, 2,
                                                                 &completer, &s, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_propose_batch(w.group, "abc", empty_entry, 0, &completer, &s, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_propose_batch(w.group, "abc", NULL, 1, &completer, &s, &failure));

  completer.quick = 2;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_propose(w.group, "x", 1, &completer, &s, &failure));
  completer = seen_by_callback(0);
  completer.callback = NULL;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_group_read_index(w.group, &completer, &s, &failure));
  completer = seen_by_callback(0);
  completer.queue = (libraft_queue *)&s;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_group_read_index(w.group, &completer, &s, &failure));
  completer.callback = NULL;
  EXPECT(LIBRAFT_ERR_INVALID_HANDLE, libraft_group_read_index(w.group, &completer, &s, &failure));
  completer = seen_by_callback(0);
  completer.size = 1;
  EXPECT(LIBRAFT_ERR_INVALID_SIZE, libraft_group_take_snapshot(w.group, &completer, &s, &failure));

  change.kind = 99;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_change_membership(w.group, &change, 1, NULL, NULL, &failure));
  change.kind = LIBRAFT_CHANGE_ADD_VOTER;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_change_membership_wait(w.group, &change, 1, &failure));
  change.address = "\xFF";
  EXPECT(LIBRAFT_ERR_INVALID_UTF8,
         libraft_group_change_membership_wait(w.group, &change, 1, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_change_membership_wait(w.group, &change, 0, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_group_status(w.group, NULL, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_group_members(w.group, NULL, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_group_failure(w.group, NULL, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_node_failure(w.node, NULL, &failure));
  close_world(&w);
  CHECK_EQ(s.completions, 0);
}

int main(void) {
  RUN(null_is_an_invalid_argument_everywhere);
  RUN(freeing_null_and_looking_at_null_is_harmless);
  RUN(calls_without_a_place_for_an_error_still_return_the_code);
  RUN(forged_handles_are_refused);
  RUN(stale_handles_are_refused_even_when_their_slot_is_used_again);
  RUN(structs_of_impossible_sizes_are_refused);
  RUN(node_options_are_checked);
  RUN(addresses_are_checked);
  RUN(group_options_and_callback_tables_are_checked);
  RUN(calls_to_a_group_are_checked);
  return 0;
}
