/* What the library tells without being asked: events of a group, and its log. */
#include "harness.h"

typedef struct {
  gate events, destroyed;
  uint64_t roles, leaders, memberships, snapshots, failures;
  libraft_event last_leader, last_role, last_snapshot;
} listener;

#define LISTENER {GATE, GATE, 0, 0, 0, 0, 0, {0}, {0}, {0}}

static void listen_to(void *user_data, const libraft_event *event) {
  listener *l = user_data;
  CHECK_EQ(event->size, sizeof(*event));
  CHECK_EQ(event->group_id, 1);
  CHECK_EQ(gate_passed(&l->destroyed), 0);
  switch (event->kind) {
    case LIBRAFT_EVENT_ROLE:
      l->roles++;
      l->last_role = *event;
      break;
    case LIBRAFT_EVENT_LEADER:
      l->leaders++;
      l->last_leader = *event;
      break;
    case LIBRAFT_EVENT_MEMBERSHIP:
      l->memberships++;
      break;
    case LIBRAFT_EVENT_SNAPSHOT_TAKEN:
      l->snapshots++;
      l->last_snapshot = *event;
      break;
    case LIBRAFT_EVENT_FAILED:
      l->failures++;
      break;
  }
  gate_pass(&l->events);
}

static void end_of_listening(void *user_data) { gate_pass(&((listener *)user_data)->destroyed); }

/* Events are told on the thread that also completes calls, in order: once a later call has completed, they were told. */
static void settle(world *w) {
  sight s = SIGHT;
  libraft_completer completer = seen_by_callback(0);
  OK(libraft_group_read_index(w->group, &completer, &s, &failure));
  gate_wait(&s.done, 1);
}

static void a_listener_hears_of_snapshots_until_it_is_replaced(void) {
  world w = open_world();
  listener first = LISTENER, second = LISTENER, third = LISTENER;
  uint64_t index = 0;
  OK(libraft_group_set_event_callback(w.group, listen_to, &first, end_of_listening, &failure));
  OK(libraft_group_propose_wait(w.group, "some state", 10, NULL, NULL, NULL, &failure));
  OK(libraft_group_take_snapshot_wait(w.group, &index, &failure));
  settle(&w);
  gate_wait(&first.events, 1);
  CHECK_EQ(first.snapshots, 1);
  CHECK_EQ(first.last_snapshot.index, index);
  CHECK(first.last_snapshot.bytes >= 10);
  CHECK_EQ(gate_passed(&first.destroyed), 0);

  OK(libraft_group_set_event_callback(w.group, listen_to, &second, end_of_listening, &failure));
  gate_wait(&first.destroyed, 1);
  OK(libraft_group_set_event_callback(w.group, NULL, NULL, NULL, &failure));
  gate_wait(&second.destroyed, 1);
  OK(libraft_group_set_event_callback(w.group, listen_to, &third, NULL, &failure));
  close_world(&w);
  CHECK_EQ(gate_passed(&third.destroyed), 0);
  CHECK_EQ(gate_passed(&first.destroyed), 1);
  CHECK_EQ(gate_passed(&second.destroyed), 1);
}

static void a_listener_hears_of_roles_and_leaders(void) {
  memory *m = memory_new();
  libraft_node *node = open_node(1, fresh_directory());
  libraft_state_machine machine = memory_machine(m);
  libraft_group *group = NULL;
  libraft_group_options options;
  char address[64];
  libraft_initial_member member = {1, address, {0, 0}};
  listener l = LISTENER;
  node_address(node, address, sizeof(address));
  OK(libraft_group_options_init(&options));
  options.group_id = 1;
  options.initial_members = &member;
  options.initial_members_count = 1;
  OK(libraft_group_start(node, &options, &machine, &group, &failure));
  OK(libraft_group_set_event_callback(group, listen_to, &l, end_of_listening, &failure));
  OK(libraft_group_wait_ready(group, 60000, &failure));
  world w = {node, group, m};
  settle(&w);
  CHECK_EQ(l.last_role.role, LIBRAFT_ROLE_LEADER);
  CHECK_EQ(l.last_leader.node_id, 1);
  CHECK(l.last_leader.term > 0);
  close_world(&w);
  CHECK_EQ(gate_passed(&l.destroyed), 1);
}

static void a_listener_hears_of_failure(void) {
  world w = open_world();
  listener l = LISTENER;
  sight s = SIGHT;
  libraft_completer completer = seen_by_callback(0);
  OK(libraft_group_set_event_callback(w.group, listen_to, &l, end_of_listening, &failure));
  w.memory->fail_with = 4;
  OK(libraft_group_propose(w.group, "x", 1, &completer, &s, &failure));
  gate_wait(&s.done, 1);
  CHECK_EQ(s.last.code, LIBRAFT_ERR_APPLY_FAILED);
  while (l.failures == 0) {
    gate_wait(&l.events, gate_passed(&l.events) + 1);
  }
  CHECK_EQ(l.failures, 1);
  close_world(&w);
}

static void a_listener_that_is_refused_is_destroyed_at_once(void) {
  listener l = LISTENER;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_set_event_callback(NULL, listen_to, &l, end_of_listening, &failure));
  CHECK_EQ(gate_passed(&l.destroyed), 1);
}

typedef struct {
  gate records, destroyed;
  char all[1 << 16];
} log_book;

static void write_down(void *user_data, const libraft_log_record *record) {
  log_book *book = user_data;
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  CHECK_EQ(record->size, sizeof(*record));
  CHECK(record->level >= LIBRAFT_LOG_ERROR && record->level <= LIBRAFT_LOG_DEBUG);
  CHECK(strlen(record->target) > 0);
  pthread_mutex_lock(&mutex);
  size_t length = strlen(book->all);
  snprintf(book->all + length, sizeof(book->all) - length, "%s\n", record->message);
  pthread_mutex_unlock(&mutex);
  gate_pass(&book->records);
}

static void end_of_log(void *user_data) { gate_pass(&((log_book *)user_data)->destroyed); }

static void the_log_callback_hears_what_the_library_says(void) {
  static log_book book = {GATE, GATE, ""};
  OK(libraft_set_log_callback(LIBRAFT_LOG_DEBUG, write_down, &book, end_of_log, &failure));
  world w = open_world();
  w.memory->fail_with = 8;
  sight s = SIGHT;
  libraft_completer completer = seen_by_callback(0);
  OK(libraft_group_propose(w.group, "x", 1, &completer, &s, &failure));
  gate_wait(&s.done, 1);
  close_world(&w);
  CHECK(gate_passed(&book.records) > 0);
  CHECK(strlen(book.all) > 0);
  CHECK_EQ(gate_passed(&book.destroyed), 0);

  OK(libraft_set_log_callback(LIBRAFT_LOG_OFF, NULL, NULL, NULL, &failure));
  CHECK_EQ(gate_passed(&book.destroyed), 1);
  uint64_t records = gate_passed(&book.records);
  w = open_world();
  close_world(&w);
  CHECK_EQ(gate_passed(&book.records), records);
}

static void a_log_callback_that_is_refused_is_destroyed_at_once(void) {
  static log_book book = {GATE, GATE, ""};
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_set_log_callback(99, write_down, &book, end_of_log, &failure));
  CHECK_EQ(gate_passed(&book.destroyed), 1);
}

int main(void) {
  RUN(a_listener_hears_of_snapshots_until_it_is_replaced);
  RUN(a_listener_hears_of_roles_and_leaders);
  RUN(a_listener_hears_of_failure);
  RUN(a_listener_that_is_refused_is_destroyed_at_once);
  RUN(the_log_callback_hears_what_the_library_says);
  RUN(a_log_callback_that_is_refused_is_destroyed_at_once);
  return 0;
}
