/* State machines of all kinds: pending answers, snapshots, failures, and `destroy` exactly once. */
#include "harness.h"

/* A machine that answers each request from a thread of its own, after the callback has returned. */
typedef struct {
  libraft_request *request;
  const libraft_entry *entries;
  size_t count;
  libraft_results *results;
  memory *memory;
} later;

static void *answer_later(void *argument) {
  later *l = argument;
  memory_apply_entries(l->memory, l->entries, l->count, l->results);
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_results_set(l->results, l->count, "x", 1, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_request_complete(l->request, LIBRAFT_PENDING, &failure));
  OK(libraft_request_complete(l->request, LIBRAFT_OK, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_HANDLE, libraft_request_complete(l->request, 2, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_HANDLE, libraft_results_set(l->results, 0, "x", 1, &failure));
  free(l);
  return NULL;
}

static int32_t apply_later(void *user_data, libraft_request *request, const libraft_entry *entries,
                           size_t count, libraft_results *results) {
  later *l = malloc(sizeof(*l));
  pthread_t thread;
  l->request = request;
  l->entries = entries;
  l->count = count;
  l->results = results;
  l->memory = user_data;
  CHECK(pthread_create(&thread, NULL, answer_later, l) == 0);
  CHECK(pthread_detach(thread) == 0);
  return LIBRAFT_PENDING;
}

static void a_pending_apply_is_answered_from_another_thread(void) {
  memory *m = memory_new();
  libraft_state_machine machine = memory_machine(m);
  machine.apply = apply_later;
  libraft_node *node = open_node(1, fresh_directory());
  libraft_group *group = start_alone(node, 1, &machine);
  for (int i = 0; i < 20; i++) {
    libraft_bytes *result = NULL;
    OK(libraft_group_propose_wait(group, "later", 5, NULL, NULL, &result, &failure));
    CHECK(libraft_bytes_len(result) == 6);
    libraft_bytes_free(result);
  }
  CHECK_EQ(m->entries, 20);
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);
  memory_free(m);
}

static void a_quick_machine_applies_without_a_thread_of_its_own(void) {
  memory *m = memory_new();
  libraft_state_machine machine = memory_machine(m);
  machine.quick = 1;
  libraft_node *node = open_node(1, fresh_directory());
  libraft_group *group = start_alone(node, 1, &machine);
  for (int i = 0; i < 20; i++) {
    OK(libraft_group_propose_wait(group, "quick", 5, NULL, NULL, NULL, &failure));
  }
  CHECK_EQ(m->entries, 20);
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);
  memory_free(m);
}

static void a_failing_apply_stops_its_group_only_and_its_words_are_kept(void) {
  memory *bad = memory_new(), *good = memory_new();
  libraft_node *node = open_node(1, fresh_directory());
  libraft_state_machine machine = memory_machine(bad);
  libraft_group *group = start_alone(node, 1, &machine), *other = NULL;
  libraft_group_options options;
  char address[64];
  libraft_initial_member member = {1, address, {0, 0}};
  sight s = SIGHT;
  libraft_completer completer = seen_by_callback(0);
  libraft_error *failed = NULL;
  libraft_group_info info;
  node_address(node, address, sizeof(address));
  OK(libraft_group_options_init(&options));
  options.group_id = 2;
  options.initial_members = &member;
  options.initial_members_count = 1;
  machine = memory_machine(good);
  OK(libraft_group_start(node, &options, &machine, &other, &failure));
  OK(libraft_group_wait_ready(other, 60000, &failure));

  bad->fail_with = 77;
  OK(libraft_group_propose(group, "poison", 6, &completer, &s, &failure));
  gate_wait(&s.done, 1);
  CHECK_EQ(s.last.code, LIBRAFT_ERR_APPLY_FAILED);
  CHECK(s.last.outcome != LIBRAFT_OUTCOME_APPLIED);
  EXPECT(LIBRAFT_ERR_APPLY_FAILED,
         libraft_group_propose_wait(group, "more", 4, NULL, NULL, NULL, &failure));
  OK(libraft_group_failure(group, &failed, &failure));
  CHECK(failed != NULL);
  CHECK_EQ(libraft_error_code(failed), LIBRAFT_ERR_APPLY_FAILED);
  CHECK(strstr(libraft_error_message(failed), "77") != NULL);
  CHECK(strstr(libraft_error_message(failed), "the test wants it") != NULL);
  libraft_error_free(failed);
  OK(libraft_group_info_init(&info));
  OK(libraft_group_status(group, &info, &failure));
  CHECK_EQ(info.role, LIBRAFT_ROLE_STOPPED);
  CHECK_EQ(info.failure_code, LIBRAFT_ERR_APPLY_FAILED);

  OK(libraft_group_propose_wait(other, "healthy", 7, NULL, NULL, NULL, &failure));
  CHECK_EQ(good->entries, 1);
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_group_free(other);
  libraft_node_free(node);
  memory_free(bad);
  memory_free(good);
}

static void a_snapshot_is_restored_in_place_of_the_log(void) {
  memory *first = memory_new(), *second = memory_new();
  const char *directory = fresh_directory();
  libraft_node_options options = node_options(1, directory);
  libraft_node *node = open_node(1, directory);
  libraft_state_machine machine = memory_machine(first);
  libraft_group *group = start_alone(node, 1, &machine);
  libraft_group_options group_options;
  libraft_group_info info;
  uint64_t index = 0, snapshot = 0;
  sight s = SIGHT;
  libraft_completer completer = seen_by_callback(0);
  char address[64];
  node_address(node, address, sizeof(address));
  for (int i = 0; i < 100; i++) {
    OK(libraft_group_propose_wait(group, "state;", 6, &index, NULL, NULL, &failure));
  }
  OK(libraft_group_take_snapshot(group, &completer, &s, &failure));
  gate_wait(&s.done, 1);
  CHECK_EQ(s.last.code, LIBRAFT_OK);
  CHECK(s.last.index >= index);
  OK(libraft_group_propose_wait(group, "tail", 4, NULL, NULL, NULL, &failure));
  OK(libraft_group_take_snapshot_wait(group, &snapshot, &failure));
  CHECK(snapshot > s.last.index);
  OK(libraft_group_info_init(&info));
  OK(libraft_group_status(group, &info, &failure));
  CHECK_EQ(info.snapshot_index, snapshot);
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);

  OK(libraft_group_options_init(&group_options));
  group_options.group_id = 1;
  machine = memory_machine(second);
  options.listen_address = address;
  OK(libraft_node_open(&options, &node, &failure));
  OK(libraft_group_start(node, &group_options, &machine, &group, &failure));
  OK(libraft_group_wait_ready(group, 60000, &failure));
  OK(libraft_group_read_index_wait(group, NULL, &failure));
  CHECK_EQ(second->restores, 1);
  CHECK_EQ(second->entries, 0);
  CHECK(first->length == second->length && memcmp(first->bytes, second->bytes, first->length) == 0);
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);
  memory_free(first);
  memory_free(second);
}

static int32_t save_badly(void *user_data, libraft_request *request, void *snapshot,
                          libraft_snapshot_writer *writer) {
  (void)user_data, (void)snapshot;
  OK(libraft_snapshot_writer_write(writer, "half", 4, &failure));
  OK(libraft_request_set_message(request, "no ink", &failure));
  return -1;
}

static void a_failing_save_fails_the_snapshot_and_not_the_group(void) {
  memory *m = memory_new();
  libraft_node *node = open_node(1, fresh_directory());
  libraft_state_machine machine = memory_machine(m);
  machine.save_snapshot = save_badly;
  libraft_group *group = start_alone(node, 1, &machine);
  OK(libraft_group_propose_wait(group, "x", 1, NULL, NULL, NULL, &failure));
  EXPECT(LIBRAFT_ERR_SAVE_FAILED, libraft_group_take_snapshot_wait(group, NULL, &failure));
  OK(libraft_group_propose_wait(group, "x", 1, NULL, NULL, NULL, &failure));
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);
  memory_free(m);
}

/* A concurrent machine: prepare_snapshot copies, save_snapshot writes the copy from a thread of its own. */
typedef struct {
  memory *memory;
  libraft_request *request;
  libraft_snapshot_writer *writer;
  memory *view;
} saving;

static int32_t prepare_copy(void *user_data, libraft_request *request) {
  memory *m = user_data, *view = malloc(sizeof(*view));
  pthread_mutex_lock(&m->mutex);
  memcpy(view->bytes, m->bytes, m->length);
  view->length = m->length;
  pthread_mutex_unlock(&m->mutex);
  EXPECT(LIBRAFT_ERR_UNSUPPORTED, libraft_request_set_opened(request, 1, NULL, 0, &failure));
  OK(libraft_request_set_snapshot(request, view, &failure));
  return LIBRAFT_OK;
}

static void *save_view(void *argument) {
  saving *s = argument;
  EXPECT(LIBRAFT_ERR_UNSUPPORTED, libraft_request_set_snapshot(s->request, s, &failure));
  OK(libraft_snapshot_writer_write(s->writer, s->view->bytes, s->view->length, &failure));
  OK(libraft_request_complete(s->request, LIBRAFT_OK, &failure));
  EXPECT(LIBRAFT_ERR_INVALID_HANDLE, libraft_snapshot_writer_write(s->writer, "x", 1, &failure));
  free(s);
  return NULL;
}

static int32_t save_copy_later(void *user_data, libraft_request *request, void *snapshot,
                               libraft_snapshot_writer *writer) {
  saving *s = malloc(sizeof(*s));
  pthread_t thread;
  CHECK(snapshot != NULL);
  s->memory = user_data;
  s->memory->saves++;
  s->request = request;
  s->writer = writer;
  s->view = snapshot;
  CHECK(pthread_create(&thread, NULL, save_view, s) == 0);
  CHECK(pthread_detach(thread) == 0);
  return LIBRAFT_PENDING;
}

static void release_copy(void *user_data, void *snapshot) {
  memory *m = user_data;
  CHECK(snapshot != NULL);
  CHECK_EQ(gate_passed(&m->destroyed), 0);
  m->releases++;
  free(snapshot);
}

static void a_concurrent_machine_prepares_saves_and_releases(void) {
  memory *m = memory_new();
  libraft_node *node = open_node(1, fresh_directory());
  libraft_state_machine machine = memory_machine(m);
  machine.kind = LIBRAFT_MACHINE_CONCURRENT;
  machine.prepare_snapshot = prepare_copy;
  machine.save_snapshot = save_copy_later;
  machine.release_snapshot = release_copy;
  libraft_group *group = start_alone(node, 1, &machine);
  for (uint64_t i = 1; i <= 3; i++) {
    OK(libraft_group_propose_wait(group, "x", 1, NULL, NULL, NULL, &failure));
    OK(libraft_group_take_snapshot_wait(group, NULL, &failure));
    CHECK_EQ(m->saves, i);
  }
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);
  CHECK_EQ(m->releases, 3);
  memory_free(m);
}

/* An on-disk machine, whose disk is a struct that outlives it. */
typedef struct {
  memory state;
  uint64_t applied_index, synced_index, claims;
  uint8_t blob[256];
  size_t blob_len;
  int32_t open_with, sync_with;
  gate destroyed, opened, synced;
} disk;

static disk *disk_new(void) {
  static const gate fresh = GATE;
  disk *d = calloc(1, sizeof(*d));
  CHECK(d != NULL);
  d->destroyed = d->opened = d->synced = fresh;
  pthread_mutex_init(&d->state.mutex, NULL);
  return d;
}

static int32_t disk_open(void *user_data, libraft_request *request) {
  disk *d = user_data;
  uint64_t index = d->claims ? d->claims : d->applied_index;
  gate_pass(&d->opened);
  d->state.last_index = d->applied_index;
  if (d->open_with == LIBRAFT_OK) {
    OK(libraft_request_set_opened(request, index, d->blob, d->blob_len, &failure));
  }
  return d->open_with;
}

static int32_t disk_apply(void *user_data, libraft_request *request, const libraft_entry *entries,
                          size_t count, libraft_results *results) {
  disk *d = user_data;
  const uint8_t *blob = NULL;
  OK(libraft_request_blob(request, &blob, &d->blob_len, &failure));
  CHECK(d->blob_len <= sizeof(d->blob));
  memcpy(d->blob, blob, d->blob_len);
  memory_apply_entries(&d->state, entries, count, results);
  d->applied_index = entries[count - 1].index;
  return LIBRAFT_OK;
}

static int32_t disk_sync(void *user_data, libraft_request *request) {
  disk *d = user_data;
  (void)request;
  if (d->sync_with == LIBRAFT_OK) {
    d->synced_index = d->applied_index;
  }
  gate_pass(&d->synced);
  return d->sync_with;
}

static int32_t disk_prepare(void *user_data, libraft_request *request) {
  (void)user_data, (void)request;
  return LIBRAFT_OK;
}

static int32_t disk_save(void *user_data, libraft_request *request, void *snapshot,
                         libraft_snapshot_writer *writer) {
  disk *d = user_data;
  (void)request;
  CHECK(snapshot == NULL);
  return libraft_snapshot_writer_write(writer, d->state.bytes, d->state.length, NULL);
}

static int32_t disk_restore(void *user_data, libraft_request *request,
                            libraft_snapshot_reader *reader) {
  disk *d = user_data;
  return memory_restore(&d->state, request, reader);
}

static void disk_destroy(void *user_data) { gate_pass(&((disk *)user_data)->destroyed); }

static libraft_state_machine disk_machine(disk *d) {
  libraft_state_machine machine;
  OK(libraft_state_machine_init(&machine));
  machine.user_data = d;
  machine.destroy = disk_destroy;
  machine.kind = LIBRAFT_MACHINE_ON_DISK;
  machine.open = disk_open;
  machine.apply = disk_apply;
  machine.sync = disk_sync;
  machine.prepare_snapshot = disk_prepare;
  machine.save_snapshot = disk_save;
  machine.restore_snapshot = disk_restore;
  return machine;
}

/* Opens the node, starts the group, and returns what libraft_group_wait_ready says. */
static int32_t run_disk(disk *d, const char *directory, const char *address, int proposals) {
  libraft_node *node = NULL;
  libraft_group *group = NULL;
  libraft_group_options options;
  libraft_node_options node_opts = node_options(1, directory);
  libraft_state_machine machine = disk_machine(d);
  libraft_initial_member member = {1, address, {0, 0}};
  node_opts.listen_address = address;
  OK(libraft_node_open(&node_opts, &node, &failure));
  OK(libraft_group_options_init(&options));
  options.group_id = 1;
  options.initial_members = &member;
  options.initial_members_count = 1;
  OK(libraft_group_start(node, &options, &machine, &group, &failure));
  int32_t code = libraft_group_wait_ready(group, 60000, NULL);
  record_code(code);
  for (int i = 0; code == LIBRAFT_OK && i < proposals; i++) {
    OK(libraft_group_propose_wait(group, "d", 1, NULL, NULL, NULL, &failure));
  }
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);
  return code;
}

static void an_on_disk_machine_goes_on_where_it_was(void) {
  disk *d = disk_new();
  const char *directory = fresh_directory(), *address = fresh_address();
  CHECK_EQ(run_disk(d, directory, address, 10), LIBRAFT_OK);
  CHECK_EQ(d->state.entries, 10);
  uint64_t index = d->applied_index;
  CHECK(index > 0);
  CHECK_EQ(run_disk(d, directory, address, 5), LIBRAFT_OK);
  CHECK_EQ(d->state.entries, 15);
  CHECK(d->applied_index > index);
  CHECK_EQ(gate_passed(&d->destroyed), 2);
  free(d);
}

static void a_machine_that_is_ahead_of_the_log_is_refused(void) {
  disk *d = disk_new();
  const char *directory = fresh_directory(), *address = fresh_address();
  CHECK_EQ(run_disk(d, directory, address, 3), LIBRAFT_OK);
  d->claims = d->applied_index + 1000;
  CHECK_EQ(run_disk(d, directory, address, 0), LIBRAFT_ERR_MACHINE_AHEAD);
  d->claims = 0;
  CHECK_EQ(run_disk(d, directory, address, 1), LIBRAFT_OK);
  CHECK_EQ(gate_passed(&d->destroyed), 3);
  free(d);
}

static void a_machine_that_does_not_open_stops_its_group(void) {
  disk *d = disk_new();
  const char *directory = fresh_directory(), *address = fresh_address();
  d->open_with = 5;
  CHECK_EQ(run_disk(d, directory, address, 0), LIBRAFT_ERR_OPEN_FAILED);
  d->open_with = LIBRAFT_OK;
  CHECK_EQ(run_disk(d, directory, address, 1), LIBRAFT_OK);
  CHECK_EQ(gate_passed(&d->destroyed), 2);
  free(d);
}

static void a_failing_sync_stops_the_group(void) {
  disk *d = disk_new();
  libraft_node *node = open_node(1, fresh_directory());
  libraft_state_machine machine = disk_machine(d);
  libraft_group *group = start_alone(node, 1, &machine);
  OK(libraft_group_propose_wait(group, "x", 1, NULL, NULL, NULL, &failure));
  d->sync_with = 9;
  /* A snapshot needs what it stands for to be durable. */
  EXPECT(LIBRAFT_ERR_SYNC_FAILED, libraft_group_take_snapshot_wait(group, NULL, &failure));
  EXPECT(LIBRAFT_ERR_SYNC_FAILED,
         libraft_group_propose_wait(group, "x", 1, NULL, NULL, NULL, &failure));
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);
  CHECK_EQ(gate_passed(&d->destroyed), 1);
  free(d);
}

static int32_t restore_badly(void *user_data, libraft_request *request,
                             libraft_snapshot_reader *reader) {
  char byte;
  size_t length = 7;
  (void)user_data, (void)request;
  EXPECT(LIBRAFT_ERR_INVALID_ARGUMENT,
         libraft_snapshot_reader_read(reader, &byte, 0, &length, &failure));
  CHECK_EQ(length, 7);
  return 3;
}

static void a_failing_restore_stops_the_group(void) {
  memory *m = memory_new(), *bad = memory_new();
  const char *directory = fresh_directory();
  libraft_node *node = open_node(1, directory);
  libraft_state_machine machine = memory_machine(m);
  libraft_group *group = start_alone(node, 1, &machine);
  libraft_group_options options;
  OK(libraft_group_propose_wait(group, "x", 1, NULL, NULL, NULL, &failure));
  OK(libraft_group_take_snapshot_wait(group, NULL, &failure));
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);

  OK(libraft_group_options_init(&options));
  options.group_id = 1;
  machine = memory_machine(bad);
  machine.restore_snapshot = restore_badly;
  node = open_node(1, directory);
  OK(libraft_group_start(node, &options, &machine, &group, &failure));
  EXPECT(LIBRAFT_ERR_RESTORE_FAILED, libraft_group_wait_ready(group, 60000, &failure));
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);
  memory_free(m);
  memory_free(bad);
}

int main(void) {
  RUN(a_pending_apply_is_answered_from_another_thread);
  RUN(a_quick_machine_applies_without_a_thread_of_its_own);
  RUN(a_failing_apply_stops_its_group_only_and_its_words_are_kept);
  RUN(a_snapshot_is_restored_in_place_of_the_log);
  RUN(a_failing_save_fails_the_snapshot_and_not_the_group);
  RUN(a_concurrent_machine_prepares_saves_and_releases);
  RUN(an_on_disk_machine_goes_on_where_it_was);
  RUN(a_machine_that_is_ahead_of_the_log_is_refused);
  RUN(a_machine_that_does_not_open_stops_its_group);
  RUN(a_failing_sync_stops_the_group);
  RUN(a_failing_restore_stops_the_group);
  return 0;
}
