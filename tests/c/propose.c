/* Proposing and reading on a group of one member: what completes, how, and with what. */
#include "harness.h"

static void a_proposal_returns_its_index_term_and_result(void) {
  world w = open_world();
  uint64_t index = 0, term = 0, second = 0;
  libraft_bytes *result = NULL;
  OK(libraft_group_propose_wait(w.group, "first", 5, &index, &term, &result, &failure));
  CHECK(index > 0 && term > 0);
  CHECK_EQ(libraft_bytes_len(result), 6);
  CHECK(memcmp(libraft_bytes_data(result), "!first", 6) == 0);
  libraft_bytes_free(result);
  CHECK(libraft_bytes_data(result) == NULL);
  libraft_bytes_free(result);
  OK(libraft_group_propose_wait(w.group, "second", 6, &second, NULL, NULL, &failure));
  CHECK(second > index);
  CHECK_EQ(w.memory->entries, 2);
  CHECK_EQ(w.memory->length, 11);
  CHECK(memcmp(w.memory->bytes, "firstsecond", 11) == 0);
  close_world(&w);
}

static void a_callback_completes_once_with_what_the_machine_said(void) {
  world w = open_world();
  for (int32_t quick = 0; quick <= 1; quick++) {
    sight s = SIGHT;
    libraft_completer completer = seen_by_callback(quick);
    OK(libraft_group_propose(w.group, "hello", 5, &completer, &s, &failure));
    gate_wait(&s.done, 1);
    CHECK_EQ(s.last.code, LIBRAFT_OK);
    CHECK(s.last.index > 0 && s.last.term > 0);
    CHECK(strcmp(s.result, "!hello") == 0);
    CHECK_EQ(s.completions, 1);
  }
  close_world(&w);
}

static void a_batch_completes_in_order_with_a_result_for_each_entry(void) {
  world w = open_world();
  sight s = SIGHT;
  libraft_completer completer = seen_by_callback(0);
  size_t offsets[4] = {2, 3, 5, 8};
  OK(libraft_group_propose_batch(w.group, "--abbccc", offsets, 3, &completer, &s, &failure));
  gate_wait(&s.done, 1);
  CHECK_EQ(s.completions, 3);
  CHECK_EQ(s.last.position, 2);
  CHECK(strcmp(s.result, "!ccc") == 0);
  CHECK(w.memory->length == 6 && memcmp(w.memory->bytes, "abbccc", 6) == 0);
  close_world(&w);
}

static void a_caller_need_not_want_to_know(void) {
  world w = open_world();
  size_t offsets[2] = {0, 4};
  OK(libraft_group_propose(w.group, "lost", 4, NULL, NULL, &failure));
  OK(libraft_group_propose_batch(w.group, "and!", offsets, 1, NULL, NULL, &failure));
  OK(libraft_group_propose_wait(w.group, "behind", 6, NULL, NULL, NULL, &failure));
  CHECK_EQ(w.memory->entries, 3);
  close_world(&w);
}

static void a_read_index_covers_what_was_acknowledged_before(void) {
  world w = open_world();
  sight s = SIGHT;
  libraft_completer completer = seen_by_callback(1);
  uint64_t written = 0, read = 0;
  OK(libraft_group_propose_wait(w.group, "x", 1, &written, NULL, NULL, &failure));
  OK(libraft_group_read_index_wait(w.group, &read, &failure));
  CHECK(read >= written);
  OK(libraft_group_read_index(w.group, &completer, &s, &failure));
  gate_wait(&s.done, 1);
  CHECK(s.last.code == LIBRAFT_OK && s.last.index >= written && s.last.term == 0);
  close_world(&w);
}

enum { THREADS = 4, EACH = 200 };

static void *propose_many(void *argument) {
  world *w = argument;
  for (int i = 0; i < EACH; i++) {
    OK(libraft_group_propose_wait(w->group, "t", 1, NULL, NULL, NULL, &failure));
  }
  return NULL;
}

static void many_threads_propose_side_by_side(void) {
  world w = open_world();
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) {
    CHECK(pthread_create(&threads[i], NULL, propose_many, &w) == 0);
  }
  for (int i = 0; i < THREADS; i++) {
    CHECK(pthread_join(threads[i], NULL) == 0);
  }
  CHECK_EQ(w.memory->entries, THREADS * EACH);
  close_world(&w);
}

typedef struct {
  world *w;
  gate done;
  int left;
} chain;

static void propose_next(void *user_data, const libraft_completion *completions, size_t count) {
  chain *c = user_data;
  libraft_completer completer;
  CHECK(count == 1 && completions->code == LIBRAFT_OK);
  OK(libraft_completer_init(&completer));
  completer.callback = propose_next;
  completer.quick = 1;
  if (--c->left > 0) {
    OK(libraft_group_propose(c->w->group, "c", 1, &completer, c, &failure));
  } else {
    gate_pass(&c->done);
  }
}

static void a_completion_callback_may_propose_but_not_wait(void) {
  world w = open_world();
  chain c = {&w, GATE, 100};
  libraft_completer completer;
  OK(libraft_completer_init(&completer));
  completer.callback = propose_next;
  OK(libraft_group_propose(w.group, "c", 1, &completer, &c, &failure));
  gate_wait(&c.done, 1);
  CHECK_EQ(w.memory->entries, 100);
  close_world(&w);
}

static void wait_in_callback(void *user_data, const libraft_completion *completions, size_t count) {
  world *w = ((void **)user_data)[0];
  enum { E = LIBRAFT_ERR_WOULD_DEADLOCK };
  (void)completions, (void)count;
  EXPECT(E, libraft_group_propose_wait(w->group, "x", 1, NULL, NULL, NULL, &failure));
  EXPECT(E, libraft_group_read_index_wait(w->group, NULL, &failure));
  EXPECT(E, libraft_group_take_snapshot_wait(w->group, NULL, &failure));
  EXPECT(E, libraft_group_transfer_leadership_wait(w->group, 1, &failure));
  EXPECT(E, libraft_group_wait_ready(w->group, 1, &failure));
  gate_pass(((void **)user_data)[1]);
}

static void waiting_inside_a_callback_is_refused(void) {
  world w = open_world();
  gate done = GATE;
  void *both[2] = {&w, &done};
  libraft_completer completer;
  OK(libraft_completer_init(&completer));
  completer.callback = wait_in_callback;
  OK(libraft_group_read_index(w.group, &completer, both, &failure));
  gate_wait(&done, 1);
  close_world(&w);
}

static void what_is_acknowledged_is_there_after_reopening(void) {
  memory *first = memory_new(), *second = memory_new();
  const char *directory = fresh_directory();
  libraft_node_options options = node_options(1, directory);
  libraft_node *node = NULL;
  char address[64];
  OK(libraft_node_open(&options, &node, &failure));
  node_address(node, address, sizeof(address));
  libraft_state_machine machine = memory_machine(first);
  libraft_group *group = start_alone(node, 1, &machine);
  for (int i = 0; i < 10; i++) {
    OK(libraft_group_propose_wait(group, "durable", 7, NULL, NULL, NULL, &failure));
  }
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);

  /* An existing group goes on without a list of members. */
  libraft_group_options group_options;
  libraft_node_info info;
  OK(libraft_group_options_init(&group_options));
  OK(libraft_node_info_init(&info));
  group_options.group_id = 1;
  machine = memory_machine(second);
  options.listen_address = address;
  OK(libraft_node_open(&options, &node, &failure));
  OK(libraft_node_status(node, &info, &failure));
  CHECK_EQ(info.boot_counter, 2);
  CHECK(strcmp(info.cluster, "tests") == 0 && info.node_id == 1);
  OK(libraft_group_start(node, &group_options, &machine, &group, &failure));
  OK(libraft_group_wait_ready(group, 60000, &failure));
  OK(libraft_group_read_index_wait(group, NULL, &failure));
  CHECK_EQ(second->entries, 10);
  CHECK(first->length == second->length && memcmp(first->bytes, second->bytes, first->length) == 0);
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);
  memory_free(first);
  memory_free(second);
}

static void status_tells_role_leader_and_indexes(void) {
  world w = open_world();
  libraft_group_info info;
  libraft_node_info node_info;
  libraft_error *failed = (libraft_error *)&info;
  uint64_t index = 0;
  OK(libraft_group_propose_wait(w.group, "x", 1, &index, NULL, NULL, &failure));
  OK(libraft_group_info_init(&info));
  OK(libraft_group_status(w.group, &info, &failure));
  CHECK_EQ(info.size, sizeof(info));
  CHECK_EQ(info.group_id, 1);
  CHECK_EQ(info.role, LIBRAFT_ROLE_LEADER);
  CHECK_EQ(info.leader_node_id, 1);
  CHECK(strchr(info.leader_address, ':') != NULL);
  CHECK_EQ(info.failure_code, LIBRAFT_OK);
  CHECK(info.commit_index >= index && info.last_index >= index && info.term > 0);
  OK(libraft_group_failure(w.group, &failed, &failure));
  CHECK(failed == NULL);
  OK(libraft_node_info_init(&node_info));
  OK(libraft_node_status(w.node, &node_info, &failure));
  CHECK_EQ(node_info.groups, 1);
  CHECK_EQ(node_info.failure_code, LIBRAFT_OK);
  failed = (libraft_error *)&info;
  OK(libraft_node_failure(w.node, &failed, &failure));
  CHECK(failed == NULL);

  libraft_members *members = NULL;
  OK(libraft_group_members(w.group, &members, &failure));
  CHECK_EQ(libraft_members_count(members), 1);
  const libraft_member *member = libraft_members_at(members, 0);
  CHECK_EQ(member->node_id, 1);
  CHECK_EQ(member->role, LIBRAFT_MEMBER_VOTER);
  CHECK(strcmp(member->address, info.leader_address) == 0);
  CHECK(memcmp(member->incarnation, node_info.incarnation, 16) == 0);
  CHECK(libraft_members_at(members, 1) == NULL);
  libraft_members_free(members);
  CHECK_EQ(libraft_members_count(members), 0);
  close_world(&w);
}

static void a_limit_on_pending_proposals_answers_busy_with_a_retriable_error(void) {
  memory *m = memory_new();
  libraft_node *node = open_node(1, fresh_directory());
  libraft_group *group = NULL;
  libraft_group_options options;
  char address[64];
  libraft_initial_member member = {1, address, {0, 0}};
  libraft_state_machine machine = memory_machine(m);
  libraft_error *error = NULL;
  node_address(node, address, sizeof(address));
  OK(libraft_group_options_init(&options));
  options.group_id = 1;
  options.initial_members = &member;
  options.initial_members_count = 1;
  options.pending_count_max = 2;
  OK(libraft_group_start(node, &options, &machine, &group, &failure));
  OK(libraft_group_wait_ready(group, 60000, &failure));
  size_t offsets[4] = {0, 1, 2, 3};
  int32_t code = libraft_group_propose_batch(group, "abc", offsets, 3, NULL, NULL, &error);
  record_code(code);
  CHECK_EQ(code, LIBRAFT_ERR_BUSY);
  CHECK_EQ(libraft_error_retriable(error), 1);
  CHECK_EQ(libraft_error_outcome(error), LIBRAFT_OUTCOME_REJECTED);
  uint64_t node_id = 7;
  EXPECT(LIBRAFT_ERR_NO_LEADER, libraft_error_leader(error, &node_id, NULL));
  CHECK_EQ(node_id, 7);
  libraft_error_free(error);
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);
  memory_free(m);
}

int main(void) {
  RUN(a_proposal_returns_its_index_term_and_result);
  RUN(a_callback_completes_once_with_what_the_machine_said);
  RUN(a_batch_completes_in_order_with_a_result_for_each_entry);
  RUN(a_caller_need_not_want_to_know);
  RUN(a_read_index_covers_what_was_acknowledged_before);
  RUN(many_threads_propose_side_by_side);
  RUN(a_completion_callback_may_propose_but_not_wait);
  RUN(waiting_inside_a_callback_is_refused);
  RUN(what_is_acknowledged_is_there_after_reopening);
  RUN(status_tells_role_leader_and_indexes);
  RUN(a_limit_on_pending_proposals_answers_busy_with_a_retriable_error);
  return 0;
}
