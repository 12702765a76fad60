/* Ends: closing and stopping in every state, from every thread, twice, too late, and not at all. */
#include "harness.h"

static void closing_twice_is_no_error_and_the_directory_is_free_at_once(void) {
  const char *directory = fresh_directory();
  for (int i = 0; i < 3; i++) {
    libraft_node *node = open_node(1, directory);
    OK(libraft_node_close(node, &failure));
    OK(libraft_node_close(node, &failure));
    libraft_node_free(node);
  }
}

static void calls_after_a_close_are_refused(void) {
  world w = open_world();
  libraft_completer completer = seen_by_callback(0);
  libraft_group *group = NULL;
  libraft_group_options options;
  memory *late = memory_new();
  libraft_state_machine machine = memory_machine(late);
  enum { E = LIBRAFT_ERR_CLOSED };
  OK(libraft_node_close(w.node, &failure));
  EXPECT(E, libraft_group_propose(w.group, "x", 1, &completer, NULL, &failure));
  EXPECT(E, libraft_group_propose_wait(w.group, "x", 1, NULL, NULL, NULL, &failure));
  EXPECT(E, libraft_group_read_index_wait(w.group, NULL, &failure));
  EXPECT(E, libraft_group_take_snapshot_wait(w.group, NULL, &failure));
  EXPECT(E, libraft_group_wait_ready(w.group, 1000, &failure));
  EXPECT(E, libraft_node_close_async(w.node, NULL, NULL, &failure));
  EXPECT(LIBRAFT_ERR_STOPPED, libraft_group_stop_async(w.group, NULL, NULL, &failure));
  OK(libraft_group_options_init(&options));
  options.group_id = 9;
  EXPECT(E, libraft_group_start(w.node, &options, &machine, &group, &failure));
  CHECK(group == NULL);
  memory_free(late);
  OK(libraft_group_stop(w.group, &failure));
  close_world(&w);
}

static void handles_are_refused_after_they_were_freed(void) {
  world w = open_world();
  OK(libraft_node_close(w.node, &failure));
  libraft_group_free(w.group);
  libraft_node_free(w.node);
  libraft_group_free(w.group);
  libraft_node_free(w.node);
  EXPECT(LIBRAFT_ERR_INVALID_HANDLE, libraft_node_close(w.node, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_HANDLE, libraft_group_stop(w.group, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_HANDLE,
         libraft_group_propose(w.group, "x", 1, NULL, NULL, &failure));
  memory_free(w.memory);
}

static void stopping_a_group_destroys_its_machine_and_lets_it_start_again(void) {
  world w = open_world();
  libraft_group *again = NULL;
  libraft_group_options options;
  memory *second = memory_new();
  libraft_state_machine machine = memory_machine(second);
  OK(libraft_group_propose_wait(w.group, "kept", 4, NULL, NULL, NULL, &failure));
  OK(libraft_group_options_init(&options));
  options.group_id = 1;
  EXPECT(LIBRAFT_ERR_GROUP_EXISTS,
         libraft_group_start(w.node, &options, &machine, &again, &failure));
  memory_free(second);
  OK(libraft_group_stop(w.group, &failure));
  CHECK_EQ(gate_passed(&w.memory->destroyed), 1);
  OK(libraft_group_stop(w.group, &failure));
  EXPECT(LIBRAFT_ERR_STOPPED, libraft_group_stop_async(w.group, NULL, NULL, &failure));
  EXPECT(LIBRAFT_ERR_STOPPED, libraft_group_propose(w.group, "x", 1, NULL, NULL, &failure));
  second = memory_new();
  machine = memory_machine(second);
  OK(libraft_group_start(w.node, &options, &machine, &again, &failure));
  OK(libraft_group_wait_ready(again, 60000, &failure));
  OK(libraft_group_read_index_wait(again, NULL, &failure));
  CHECK(second->length == 4 && memcmp(second->bytes, "kept", 4) == 0);
  libraft_group_free(again);
  close_world(&w);
  memory_free(second);
}

typedef struct {
  gate done;
  int32_t code;
} ending;

static void ended(void *user_data, int32_t code, const libraft_error *error) {
  ending *e = user_data;
  CHECK((code == LIBRAFT_OK) == (error == NULL));
  e->code = code;
  gate_pass(&e->done);
}

static void closing_and_stopping_can_be_waited_for_by_callback(void) {
  world w = open_world();
  ending stopped = {GATE, -1}, closed = {GATE, -1};
  OK(libraft_group_stop_async(w.group, ended, &stopped, &failure));
  gate_wait(&stopped.done, 1);
  CHECK_EQ(stopped.code, LIBRAFT_OK);
  CHECK_EQ(gate_passed(&w.memory->destroyed), 1);
  OK(libraft_node_close_async(w.node, ended, &closed, &failure));
  gate_wait(&closed.done, 1);
  CHECK_EQ(closed.code, LIBRAFT_OK);
  close_world(&w);
}

static void close_in_callback(void *user_data, const libraft_completion *completions,
                              size_t count) {
  world *w = ((void **)user_data)[0];
  (void)completions, (void)count;
  EXPECT(LIBRAFT_ERR_WOULD_DEADLOCK, libraft_group_stop(w->group, &failure));
  EXPECT(LIBRAFT_ERR_WOULD_DEADLOCK, libraft_node_close(w->node, &failure));
  gate_pass(((void **)user_data)[1]);
}

static void closing_inside_a_callback_begins_the_close(void) {
  for (int32_t quick = 0; quick <= 1; quick++) {
    world w = open_world();
    gate done = GATE;
    void *both[2] = {&w, &done};
    libraft_completer completer;
    OK(libraft_completer_init(&completer));
    completer.callback = close_in_callback;
    completer.quick = quick;
    OK(libraft_group_read_index(w.group, &completer, both, &failure));
    gate_wait(&done, 1);
    gate_wait(&w.memory->destroyed, 1); /* begun without anybody else asking for it */
    close_world(&w);
  }
}

static int32_t close_in_apply(void *user_data, libraft_request *request,
                              const libraft_entry *entries, size_t count,
                              libraft_results *results) {
  world *w = user_data;
  (void)request, (void)entries, (void)count, (void)results;
  EXPECT(LIBRAFT_ERR_WOULD_DEADLOCK, libraft_node_close(w->node, &failure));
  return LIBRAFT_OK;
}

static void destroy_of_world(void *user_data) {
  gate_pass(&((world *)user_data)->memory->destroyed);
}

static void closing_inside_apply_begins_the_close(void) {
  world w = {NULL, NULL, memory_new()};
  sight s = SIGHT;
  libraft_completer completer = seen_by_callback(0);
  libraft_state_machine machine = memory_machine(w.memory);
  machine.user_data = &w;
  machine.destroy = destroy_of_world;
  machine.apply = close_in_apply;
  w.node = open_node(1, fresh_directory());
  w.group = start_alone(w.node, 1, &machine);
  OK(libraft_group_propose(w.group, "x", 1, &completer, &s, &failure));
  gate_wait(&s.done, 1); /* applied, or unknown because of the close: but it completes */
  gate_wait(&w.memory->destroyed, 1);
  close_world(&w);
  CHECK_EQ(s.completions, 1);
}

typedef struct {
  libraft_request *request;
  gate asked, destroyed;
} pending;

static int32_t keep_request(void *user_data, libraft_request *request,
                            const libraft_entry *entries, size_t count, libraft_results *results) {
  pending *p = user_data;
  (void)entries, (void)count, (void)results;
  p->request = request;
  gate_pass(&p->asked);
  return LIBRAFT_PENDING;
}

static void destroy_pending(void *user_data) { gate_pass(&((pending *)user_data)->destroyed); }

static void a_pending_request_outlives_its_node_and_keeps_the_state_machine(void) {
  memory *unused = memory_new();
  pending p = {NULL, GATE, GATE};
  sight s = SIGHT;
  ending closed = {GATE, -1};
  libraft_completer completer = seen_by_callback(0);
  libraft_state_machine machine = memory_machine(unused);
  machine.user_data = &p;
  machine.destroy = destroy_pending;
  machine.apply = keep_request;
  libraft_node *node = open_node(1, fresh_directory());
  libraft_group *group = start_alone(node, 1, &machine);
  OK(libraft_group_propose(group, "x", 1, &completer, &s, &failure));
  gate_wait(&p.asked, 1);
  OK(libraft_node_close_async(node, ended, &closed, &failure));
  gate_wait(&s.done, 1); /* the proposal's end is told at once: it may or may not be applied */
  CHECK_EQ(s.last.code, LIBRAFT_ERR_CLOSED);
  CHECK_EQ(s.last.outcome, LIBRAFT_OUTCOME_UNKNOWN);
  gate_wait(&closed.done, 1); /* nobody waits for a request that may be forgotten */
  CHECK_EQ(gate_passed(&p.destroyed), 0);
  OK(libraft_request_complete(p.request, LIBRAFT_OK, &failure));
  gate_wait(&p.destroyed, 1);
  CHECK_EQ(s.completions, 1);
  libraft_group_free(group);
  libraft_node_free(node);
  free(unused);
}

enum { LOAD = 2000 };

typedef struct {
  world *w;
  gate started;
  uint64_t accepted;
  sight seen;
} load;

static void *propose_until_closed(void *argument) {
  load *l = argument;
  libraft_completer completer = seen_by_callback(0);
  for (;;) {
    int32_t code = libraft_group_propose(l->w->group, "load", 4, &completer, &l->seen, NULL);
    if (code == LIBRAFT_ERR_BUSY) {
      continue;
    }
    if (code != LIBRAFT_OK) {
      record_code(code);
      CHECK(code == LIBRAFT_ERR_CLOSED || code == LIBRAFT_ERR_STOPPED);
      return NULL;
    }
    l->accepted++;
    gate_pass(&l->started);
  }
}

static void closing_under_load_completes_every_accepted_call_once(void) {
  world w = open_world();
  load l = {&w, GATE, 0, SIGHT};
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, propose_until_closed, &l) == 0);
  gate_wait(&l.started, LOAD);
  OK(libraft_node_close(w.node, &failure));
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK_EQ(l.seen.completions, l.accepted); /* all of them before close returned */
  close_world(&w);
}

static void a_forgotten_close_is_made_up_for_by_free(void) {
  world w = open_world();
  const char *directory = "data-forgotten";
  libraft_node_options options = node_options(7, directory);
  libraft_node *node = NULL;
  memory *m = memory_new();
  libraft_state_machine machine = memory_machine(m);
  OK(libraft_node_open(&options, &node, &failure));
  libraft_group *group = start_alone(node, 7, &machine);
  OK(libraft_group_propose_wait(group, "x", 1, NULL, NULL, NULL, &failure));
  libraft_node_free(node); /* does not block, and closes */
  gate_wait(&m->destroyed, 1);
  EXPECT(LIBRAFT_ERR_CLOSED,
         libraft_group_propose(group, "x", 1, NULL, NULL, &failure));
  libraft_group_free(group);
  memory_free(m);
  close_world(&w);
}

static void a_group_runs_on_when_its_handle_is_freed(void) {
  world w = open_world();
  libraft_group_free(w.group);
  w.group = NULL;
  OK(libraft_node_group(w.node, 1, &w.group, &failure));
  OK(libraft_group_propose_wait(w.group, "x", 1, NULL, NULL, NULL, &failure));
  CHECK_EQ(w.memory->entries, 1);
  close_world(&w);
}

static void *close_too(void *argument) {
  OK(libraft_node_close(argument, &failure));
  return NULL;
}

static void threads_may_close_at_the_same_time(void) {
  world w = open_world();
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) {
    CHECK(pthread_create(&threads[i], NULL, close_too, w.node) == 0);
  }
  for (int i = 0; i < 4; i++) {
    CHECK(pthread_join(threads[i], NULL) == 0);
  }
  close_world(&w);
}

int main(void) {
  RUN(closing_twice_is_no_error_and_the_directory_is_free_at_once);
  RUN(calls_after_a_close_are_refused);
  RUN(handles_are_refused_after_they_were_freed);
  RUN(stopping_a_group_destroys_its_machine_and_lets_it_start_again);
  RUN(closing_and_stopping_can_be_waited_for_by_callback);
  RUN(closing_inside_a_callback_begins_the_close);
  RUN(closing_inside_apply_begins_the_close);
  RUN(a_pending_request_outlives_its_node_and_keeps_the_state_machine);
  RUN(closing_under_load_completes_every_accepted_call_once);
  RUN(a_forgotten_close_is_made_up_for_by_free);
  RUN(a_group_runs_on_when_its_handle_is_freed);
  RUN(threads_may_close_at_the_same_time);
  return 0;
}
