/* Hosts with an event loop: completions through a queue, and a state machine that is served from one. */
#include "harness.h"

#include <poll.h>

static libraft_completer through(libraft_queue *queue) {
  libraft_completer completer;
  OK(libraft_completer_init(&completer));
  completer.queue = queue;
  return completer;
}

static int readable(libraft_queue *queue, int timeout_ms) {
  struct pollfd fd = {-1, POLLIN, 0};
  OK(libraft_queue_fd(queue, &fd.fd, &failure));
  return poll(&fd, 1, timeout_ms);
}

static void completions_come_through_the_queue_and_its_descriptor_tells(void) {
  world w = open_world();
  libraft_queue *queue = NULL;
  libraft_queue_event events[4];
  size_t count = 99, offsets[3] = {0, 1, 3};
  int tag = 0;
  OK(libraft_queue_open(NULL, &queue, &failure));
  OK(libraft_queue_poll(queue, events, 4, 0, &count, &failure));
  CHECK_EQ(count, 0);
  CHECK_EQ(readable(queue, 0), 0);

  libraft_completer completer = through(queue);
  OK(libraft_group_propose(w.group, "one", 3, &completer, &tag, &failure));
  CHECK_EQ(readable(queue, 60000), 1);
  OK(libraft_queue_poll(queue, events, 4, 0, &count, &failure));
  CHECK_EQ(count, 1);
  CHECK_EQ(events[0].kind, LIBRAFT_QUEUE_COMPLETIONS);
  CHECK(events[0].request == NULL && events[0].completions_count == 1);
  CHECK(events[0].completions->user_data == &tag);
  CHECK_EQ(events[0].completions->code, LIBRAFT_OK);
  CHECK(events[0].completions->result_len == 4);
  CHECK(memcmp(events[0].completions->result, "!one", 4) == 0);
  CHECK_EQ(readable(queue, 0), 0);

  OK(libraft_group_propose_batch(w.group, "abb", offsets, 2, &completer, NULL, &failure));
  OK(libraft_queue_poll(queue, events, 4, LIBRAFT_WAIT_FOREVER, &count, &failure));
  CHECK_EQ(count, 1);
  CHECK_EQ(events[0].completions_count, 2);
  CHECK(memcmp(events[0].completions[1].result, "!bb", 3) == 0);
  OK(libraft_group_read_index(w.group, &completer, NULL, &failure));
  OK(libraft_queue_poll(queue, events, 1, 60000, &count, &failure));
  CHECK(count == 1 && events[0].completions->index > 0);
  libraft_queue_free(queue);
  close_world(&w);
}

static void unreaped_completions_count_against_the_limit(void) {
  world w = open_world();
  libraft_queue *queue = NULL;
  libraft_queue_options options;
  libraft_queue_event events[2];
  size_t count = 0, offsets[4] = {0, 1, 2, 3};
  OK(libraft_queue_options_init(&options));
  options.completions_max = 0;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_queue_open(&options, &queue, &failure));
  options.completions_max = 2;
  OK(libraft_queue_open(&options, &queue, &failure));
  libraft_completer completer = through(queue);
  EXPECT(LIBRAFT_ERR_BUSY,
         libraft_group_propose_batch(w.group, "abc", offsets, 3, &completer, NULL, &failure));
  OK(libraft_group_propose(w.group, "1", 1, &completer, NULL, &failure));
  OK(libraft_group_propose(w.group, "2", 1, &completer, NULL, &failure));
  EXPECT(LIBRAFT_ERR_BUSY, libraft_group_propose(w.group, "3", 1, &completer, NULL, &failure));
  OK(libraft_group_propose_wait(w.group, "behind", 6, NULL, NULL, NULL, &failure));
  EXPECT(LIBRAFT_ERR_BUSY, libraft_group_propose(w.group, "3", 1, &completer, NULL, &failure));
  OK(libraft_queue_poll(queue, events, 1, 60000, &count, &failure));
  CHECK_EQ(count, 1);
  OK(libraft_group_propose(w.group, "3", 1, &completer, NULL, &failure));
  /* Calls that the group refuses take no room. */
  for (size_t reaped = 0; reaped < 2; reaped += count) {
    OK(libraft_queue_poll(queue, events, 2, 60000, &count, &failure));
  }
  for (int i = 0; i < 5; i++) {
    EXPECT(LIBRAFT_ERR_EMPTY_PROPOSAL,
           libraft_group_propose(w.group, "", 0, &completer, NULL, &failure));
  }
  OK(libraft_group_propose(w.group, "4", 1, &completer, NULL, &failure));
  libraft_queue_free(queue);
  close_world(&w);
}

static void *poll_forever(void *argument) {
  void **both = argument;
  libraft_queue_event event;
  size_t count = 7;
  int32_t code;
  gate_pass(both[1]);
  do { /* busy while the main thread looks whether this one is inside */
    code = libraft_queue_poll(both[0], &event, 1, LIBRAFT_WAIT_FOREVER, &count, NULL);
  } while (code == LIBRAFT_ERR_BUSY);
  record_code(code);
  CHECK_EQ(code, LIBRAFT_ERR_CLOSED);
  CHECK_EQ(count, 7);
  return NULL;
}

static void one_thread_polls_and_freeing_the_queue_wakes_it(void) {
  libraft_queue *queue = NULL;
  libraft_queue_event event;
  gate started = GATE;
  pthread_t poller;
  size_t count = 0;
  int32_t code = LIBRAFT_OK;
  OK(libraft_queue_open(NULL, &queue, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_queue_poll(queue, NULL, 1, 0, &count, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_queue_poll(queue, &event, 0, 0, &count, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT, libraft_queue_poll(queue, &event, 1, 0, NULL, &failure));
  void *both[2] = {queue, &started};
  CHECK(pthread_create(&poller, NULL, poll_forever, both) == 0);
  gate_wait(&started, 1);
  while (code == LIBRAFT_OK) { /* until the other thread is inside */
    code = libraft_queue_poll(queue, &event, 1, 0, &count, NULL);
  }
  record_code(code);
  CHECK_EQ(code, LIBRAFT_ERR_BUSY);
  libraft_queue_free(queue);
  CHECK(pthread_join(poller, NULL) == 0);
  EXPECT(LIBRAFT_ERR_INVALID_HANDLE, libraft_queue_poll(queue, &event, 1, 0, &count, &failure));
}

static void a_queue_may_be_freed_while_calls_are_under_way(void) {
  world w = open_world();
  libraft_queue *queue = NULL;
  OK(libraft_queue_open(NULL, &queue, &failure));
  libraft_completer completer = through(queue);
  for (int i = 0; i < 50; i++) {
    OK(libraft_group_propose(w.group, "x", 1, &completer, NULL, &failure));
  }
  libraft_queue_free(queue);
  EXPECT(LIBRAFT_ERR_INVALID_HANDLE,
         libraft_group_propose(w.group, "x", 1, &completer, NULL, &failure));
  OK(libraft_group_propose_wait(w.group, "behind", 6, NULL, NULL, NULL, &failure));
  CHECK_EQ(w.memory->entries, 51);
  close_world(&w);
}

/* A host that serves its state machine from an event loop of its own. */
typedef struct {
  libraft_queue *queue;
  memory *memory;
  pthread_t thread;
  uint64_t applies, opens, others;
} server;

static void serve(server *s, const libraft_request_info *request) {
  int32_t code = LIBRAFT_OK;
  CHECK_EQ(request->size, sizeof(*request));
  CHECK_EQ(request->group_id, 1);
  CHECK(request->user_data == s->memory);
  switch (request->kind) {
    case LIBRAFT_REQUEST_OPEN:
      s->opens++;
      break;
    case LIBRAFT_REQUEST_APPLY:
      s->applies++;
      memory_apply_entries(s->memory, request->entries, request->entries_count, request->results);
      break;
    case LIBRAFT_REQUEST_SAVE_SNAPSHOT:
      code = memory_save(s->memory, request->request, request->snapshot, request->writer);
      break;
    case LIBRAFT_REQUEST_RESTORE_SNAPSHOT:
      code = memory_restore(s->memory, request->request, request->reader);
      break;
    default:
      s->others++;
  }
  libraft_request *handle = request->request;
  OK(libraft_request_complete(handle, code, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_HANDLE, libraft_request_complete(handle, code, &failure));
}

static void *serve_all(void *argument) {
  server *s = argument;
  libraft_queue_event events[3];
  size_t count = 0;
  for (;;) {
    int32_t code =
        libraft_queue_poll(s->queue, events, 3, LIBRAFT_WAIT_FOREVER, &count, NULL);
    if (code == LIBRAFT_ERR_CLOSED || code == LIBRAFT_ERR_INVALID_HANDLE) {
      return NULL;
    }
    CHECK_EQ(code, LIBRAFT_OK);
    for (size_t i = 0; i < count; i++) {
      CHECK_EQ(events[i].kind, LIBRAFT_QUEUE_REQUEST);
      serve(s, events[i].request);
    }
  }
}

static libraft_state_machine machine_of_queue(memory *m, libraft_queue *queue) {
  libraft_state_machine machine;
  OK(libraft_state_machine_init(&machine));
  machine.user_data = m;
  machine.destroy = memory_destroy;
  machine.queue = queue;
  return machine;
}

static void a_state_machine_can_be_served_from_a_queue(void) {
  server s = {NULL, memory_new(), 0, 0, 0, 0};
  libraft_node *node = open_node(1, fresh_directory());
  libraft_bytes *result = NULL;
  OK(libraft_queue_open(NULL, &s.queue, &failure));
  CHECK(pthread_create(&s.thread, NULL, serve_all, &s) == 0);
  libraft_state_machine machine = machine_of_queue(s.memory, s.queue);
  libraft_group *group = start_alone(node, 1, &machine);
  for (int i = 0; i < 20; i++) {
    OK(libraft_group_propose_wait(group, "queued", 6, NULL, NULL, &result, &failure));
    CHECK(memcmp(libraft_bytes_data(result), "!queued", 7) == 0);
    libraft_bytes_free(result);
  }
  OK(libraft_group_take_snapshot_wait(group, NULL, &failure));
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);
  libraft_queue_free(s.queue);
  CHECK(pthread_join(s.thread, NULL) == 0);
  CHECK_EQ(s.memory->entries, 20);
  CHECK_EQ(s.memory->saves, 1);
  CHECK(s.applies > 0 && s.opens == 1);
  memory_free(s.memory);
}

static void a_machine_with_a_queue_must_not_have_callbacks_too(void) {
  libraft_queue *queue = NULL;
  libraft_group *group = NULL;
  libraft_group_options options;
  memory *m = memory_new();
  libraft_node *node = open_node(1, fresh_directory());
  OK(libraft_queue_open(NULL, &queue, &failure));
  OK(libraft_group_options_init(&options));
  options.group_id = 1;
  libraft_state_machine machine = machine_of_queue(m, queue);
  machine.apply = memory_apply;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_group_start(node, &options, &machine, &group, &failure));
  gate_wait(&m->destroyed, 1);
  libraft_queue_free(queue);
  memory_free(m);
  m = memory_new();
  machine = machine_of_queue(m, queue);
  EXPECT(LIBRAFT_ERR_INVALID_HANDLE,
         libraft_group_start(node, &options, &machine, &group, &failure));
  OK(libraft_node_close(node, &failure));
  libraft_node_free(node);
  memory_free(m);
}

static void freeing_the_queue_of_a_machine_fails_its_requests_and_not_the_host(void) {
  libraft_queue *queue = NULL;
  memory *m = memory_new();
  libraft_node *node = open_node(1, fresh_directory());
  libraft_group *group = NULL;
  libraft_group_options options;
  char address[64];
  libraft_initial_member member = {1, address, {0, 0}};
  node_address(node, address, sizeof(address));
  OK(libraft_queue_open(NULL, &queue, &failure));
  OK(libraft_group_options_init(&options));
  options.group_id = 1;
  options.initial_members = &member;
  options.initial_members_count = 1;
  libraft_state_machine machine = machine_of_queue(m, queue);
  OK(libraft_group_start(node, &options, &machine, &group, &failure));
  CHECK_EQ(readable(queue, 60000), 1); /* the request to open */
  libraft_queue_free(queue);
  EXPECT(LIBRAFT_ERR_OPEN_FAILED, libraft_group_wait_ready(group, 60000, &failure));
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);
  memory_free(m);
}

int main(void) {
  RUN(completions_come_through_the_queue_and_its_descriptor_tells);
  RUN(unreaped_completions_count_against_the_limit);
  RUN(one_thread_polls_and_freeing_the_queue_wakes_it);
  RUN(a_queue_may_be_freed_while_calls_are_under_way);
  RUN(a_state_machine_can_be_served_from_a_queue);
  RUN(a_machine_with_a_queue_must_not_have_callbacks_too);
  RUN(freeing_the_queue_of_a_machine_fails_its_requests_and_not_the_host);
  return 0;
}
