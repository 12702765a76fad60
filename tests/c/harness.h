/* What the C tests share: checks, a record of the codes they saw, gates to wait at, and a state machine that remembers. */
#ifndef HARNESS_H
#define HARNESS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "libraft.h"

#define UNUSED __attribute__((unused))

/* Checks. The first that fails ends the program. */

#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) {                                                               \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);         \
      fflush(NULL);                                                                   \
      abort();                                                                        \
    }                                                                                 \
  } while (0)

#define CHECK_EQ(left, right)                                                         \
  do {                                                                                \
    uint64_t left_value = (uint64_t)(left), right_value = (uint64_t)(right);          \
    if (left_value != right_value) {                                                  \
      fprintf(stderr, "%s:%d: %s is %" PRIu64 ", and %s is %" PRIu64 "\n", __FILE__,  \
              __LINE__, #left, left_value, #right, right_value);                      \
      fflush(NULL);                                                                   \
      abort();                                                                        \
    }                                                                                 \
  } while (0)

/* A call that must return `expected`. It passes &failure for the error object, if it takes one. */
#define EXPECT(expected, call)                                                        \
  do {                                                                                \
    libraft_error *failure = NULL;                                                    \
    int32_t returned = (call);                                                        \
    check_code((expected), returned, failure, #call, __FILE__, __LINE__);             \
    libraft_error_free(failure);                                                      \
    (void)failure;                                                                    \
  } while (0)

#define OK(call) EXPECT(LIBRAFT_OK, call)

/* The codes that were seen go into a file, by which tests/c/run knows which codes no test observes. */
static inline void record_code(int32_t code) {
  const char *path = getenv("LIBRAFT_TEST_CODES");
  if (code != LIBRAFT_OK && path != NULL) {
    FILE *file = fopen(path, "a");
    CHECK(file != NULL);
    fprintf(file, "%s\n", libraft_code_name(code));
    CHECK(fclose(file) == 0);
  }
}

static inline void check_code(int32_t expected, int32_t returned, const libraft_error *failure,
                              const char *call, const char *file, int line) {
  record_code(returned);
  if (returned != expected) {
    fprintf(stderr, "%s:%d: %s returned %s (%s), not %s\n", file, line, call,
            libraft_code_name(returned), libraft_error_message(failure),
            libraft_code_name(expected));
    fflush(NULL);
    abort();
  }
  if (failure != NULL) {
    CHECK_EQ(libraft_error_code(failure), returned);
    CHECK(strlen(libraft_error_message(failure)) > 10);
    CHECK(libraft_error_outcome(failure) != LIBRAFT_OUTCOME_APPLIED);
  }
}

#define RUN(test)                                                                     \
  do {                                                                                \
    test();                                                                           \
    printf("ok %s\n", #test);                                                         \
    fflush(stdout);                                                                   \
  } while (0)

/* A gate: threads wait until it was passed often enough. Nothing in these tests waits for time to pass. */
typedef struct {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  uint64_t passed;
} gate;

#define GATE {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}

static inline void gate_pass(gate *g) {
  pthread_mutex_lock(&g->mutex);
  g->passed++;
  pthread_cond_broadcast(&g->changed);
  pthread_mutex_unlock(&g->mutex);
}

static inline uint64_t gate_passed(gate *g) {
  pthread_mutex_lock(&g->mutex);
  uint64_t passed = g->passed;
  pthread_mutex_unlock(&g->mutex);
  return passed;
}

/* Waits until the gate was passed `count` times; a minute is the end of all patience. */
static inline void gate_wait(gate *g, uint64_t count) {
  struct timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += 60;
  pthread_mutex_lock(&g->mutex);
  while (g->passed < count) {
    CHECK(pthread_cond_timedwait(&g->changed, &g->mutex, &deadline) == 0);
  }
  pthread_mutex_unlock(&g->mutex);
}

/* A state machine that remembers what it was told. Its state is the concatenation of all entries. */
typedef struct {
  pthread_mutex_t mutex;
  char bytes[1 << 16];
  size_t length;
  uint64_t entries, last_index, restores, saves, releases;
  gate applied, destroyed;
  int32_t fail_with; /* what apply returns */
} memory;

static inline memory *memory_new(void) {
  memory *m = calloc(1, sizeof(*m));
  CHECK(m != NULL);
  pthread_mutex_init(&m->mutex, NULL);
  pthread_mutex_init(&m->applied.mutex, NULL);
  pthread_cond_init(&m->applied.changed, NULL);
  pthread_mutex_init(&m->destroyed.mutex, NULL);
  pthread_cond_init(&m->destroyed.changed, NULL);
  return m;
}

/* The result of an entry is the entry itself, with a '!' in front. */
static inline void memory_apply_entries(memory *m, const libraft_entry *entries, size_t count,
                                        libraft_results *results) {
  pthread_mutex_lock(&m->mutex);
  for (size_t i = 0; i < count; i++) {
    char result[64] = "!";
    size_t length = entries[i].data_len < sizeof(result) - 1 ? entries[i].data_len : 62;
    CHECK(entries[i].index > m->last_index);
    CHECK(entries[i].term > 0);
    CHECK(entries[i].reserved[0] == 0 && entries[i].reserved[1] == 0);
    m->last_index = entries[i].index;
    m->entries++;
    if (m->length + entries[i].data_len <= sizeof(m->bytes)) {
      memcpy(m->bytes + m->length, entries[i].data, entries[i].data_len);
      m->length += entries[i].data_len;
    }
    memcpy(result + 1, entries[i].data, length);
    OK(libraft_results_set(results, i, result, length + 1, &failure));
  }
  pthread_mutex_unlock(&m->mutex);
}

static inline int32_t memory_apply(void *user_data, libraft_request *request,
                                   const libraft_entry *entries, size_t count,
                                   libraft_results *results) {
  memory *m = user_data;
  CHECK(request != NULL && count > 0);
  if (m->fail_with == LIBRAFT_OK) {
    memory_apply_entries(m, entries, count, results);
  } else {
    OK(libraft_request_set_message(request, "the test wants it", &failure));
  }
  for (size_t i = 0; i < count; i++) {
    gate_pass(&m->applied);
  }
  return m->fail_with;
}

static inline int32_t memory_save(void *user_data, libraft_request *request, void *snapshot,
                                  libraft_snapshot_writer *writer) {
  memory *m = user_data;
  (void)request;
  CHECK(snapshot == NULL);
  m->saves++;
  pthread_mutex_lock(&m->mutex);
  OK(libraft_snapshot_writer_write(writer, m->bytes, m->length, &failure));
  pthread_mutex_unlock(&m->mutex);
  return LIBRAFT_OK;
}

static inline int32_t memory_restore(void *user_data, libraft_request *request,
                                     libraft_snapshot_reader *reader) {
  memory *m = user_data;
  size_t got = 0;
  (void)request;
  pthread_mutex_lock(&m->mutex);
  m->length = 0;
  do {
    OK(libraft_snapshot_reader_read(reader, m->bytes + m->length, 7, &got, &failure));
    m->length += got;
  } while (got > 0);
  m->restores++;
  pthread_mutex_unlock(&m->mutex);
  return LIBRAFT_OK;
}

static inline void memory_destroy(void *user_data) { gate_pass(&((memory *)user_data)->destroyed); }

static inline void memory_free(memory *m) {
  CHECK_EQ(gate_passed(&m->destroyed), 1);
  pthread_mutex_destroy(&m->mutex);
  free(m);
}

static inline libraft_state_machine memory_machine(memory *m) {
  libraft_state_machine machine;
  OK(libraft_state_machine_init(&machine));
  machine.user_data = m;
  machine.destroy = memory_destroy;
  machine.apply = memory_apply;
  machine.save_snapshot = memory_save;
  machine.restore_snapshot = memory_restore;
  return machine;
}

/* Nodes and groups. Data directories are made below the working directory, which tests/c/run removes. */

static inline const char *fresh_directory(void) {
  static int count;
  static char names[64][32];
  CHECK(count < 64);
  snprintf(names[count], sizeof(names[count]), "data-%d", count);
  return names[count++];
}

/* An address that is free now, below the ports that the system gives to others. */
static inline const char *fresh_address(void) {
  static int port, count;
  static char names[64][32];
  CHECK(count < 64);
  port = port == 0 ? 10000 + (int)(getpid() % 15000) : port;
  for (;;) {
    struct sockaddr_in address;
    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)++port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && port < 30000);
    int free = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    CHECK(close(fd) == 0);
    if (free) {
      snprintf(names[count], sizeof(names[count]), "127.0.0.1:%d", port);
      return names[count++];
    }
  }
}

static inline libraft_node_options node_options(uint64_t node_id, const char *directory) {
  libraft_node_options options;
  OK(libraft_node_options_init(&options));
  options.cluster = "tests";
  options.node_id = node_id;
  options.directory = directory;
  options.tick_ms = 20;
  options.segment_bytes = 4 << 20;
  return options;
}

static inline libraft_node *open_node(uint64_t node_id, const char *directory) {
  libraft_node *node = NULL;
  libraft_node_options options = node_options(node_id, directory);
  OK(libraft_node_open(&options, &node, &failure));
  CHECK(node != NULL);
  return node;
}

/* The address that a node got. */
static inline void node_address(libraft_node *node, char *address, size_t capacity) {
  libraft_node_info info;
  OK(libraft_node_info_init(&info));
  OK(libraft_node_status(node, &info, &failure));
  CHECK(strlen(info.address) < capacity);
  strcpy(address, info.address);
}

/* Starts group 1 with this node as its only member, or goes on with it. */
static inline libraft_group *start_alone(libraft_node *node, uint64_t node_id,
                                         const libraft_state_machine *machine) {
  static char addresses[64][64];
  static int used;
  libraft_group *group = NULL;
  libraft_group_options options;
  OK(libraft_group_options_init(&options));
  options.group_id = 1;
  libraft_initial_member member = {node_id, NULL, {0, 0}};
  CHECK(used < 64);
  node_address(node, addresses[used], sizeof(addresses[used]));
  member.address = addresses[used++];
  options.initial_members = &member;
  options.initial_members_count = 1;
  OK(libraft_group_start(node, &options, machine, &group, &failure));
  OK(libraft_group_wait_ready(group, 60000, &failure));
  return group;
}

/* A node with a group of its own, and a machine that remembers. */
typedef struct {
  libraft_node *node;
  libraft_group *group;
  memory *memory;
} world;

static inline world open_world(void) {
  world w;
  w.memory = memory_new();
  libraft_state_machine machine = memory_machine(w.memory);
  w.node = open_node(1, fresh_directory());
  w.group = start_alone(w.node, 1, &machine);
  return w;
}

static inline void close_world(world *w) {
  OK(libraft_node_close(w->node, &failure));
  libraft_group_free(w->group);
  libraft_node_free(w->node);
  memory_free(w->memory);
}

/* A completion that was seen. */
typedef struct {
  gate done;
  libraft_completion last;
  char result[64];
  uint64_t completions;
} sight;

static inline void see(void *user_data, const libraft_completion *completions, size_t count) {
  sight *s = user_data;
  for (size_t i = 0; i < count; i++) {
    CHECK(completions[i].user_data == user_data);
    CHECK_EQ(completions[i].position, i);
    CHECK((completions[i].code == LIBRAFT_OK) ==
          (completions[i].outcome == LIBRAFT_OUTCOME_APPLIED));
    CHECK((completions[i].error != NULL) == (completions[i].code != LIBRAFT_OK));
    CHECK(completions[i].reserved[0] == 0);
    record_code(completions[i].code);
    if (completions[i].error != NULL) {
      CHECK_EQ(libraft_error_code(completions[i].error), completions[i].code);
      CHECK_EQ(libraft_error_outcome(completions[i].error), completions[i].outcome);
    }
  }
  s->last = completions[count - 1];
  s->completions += count;
  memset(s->result, 0, sizeof(s->result));
  if (s->last.result_len > 0 && s->last.result_len < sizeof(s->result)) {
    memcpy(s->result, s->last.result, s->last.result_len);
  }
  gate_pass(&s->done);
}

static inline libraft_completer seen_by_callback(int32_t quick) {
  libraft_completer completer;
  OK(libraft_completer_init(&completer));
  completer.callback = see;
  completer.quick = quick;
  return completer;
}

#define SIGHT {GATE, {0}, "", 0}

/* Holds a node's event loop up, inside a quick completion, until the gate `go_on` is passed. */
typedef struct {
  gate held, go_on;
} hold;

#define HOLD {GATE, GATE}

static inline void stay(void *user_data, const libraft_completion *completions, size_t count) {
  hold *h = user_data;
  CHECK(count == 1 && completions[0].code != LIBRAFT_OK);
  gate_pass(&h->held);
  gate_wait(&h->go_on, 1);
}

static inline void begin_to_hold_up(libraft_group *group, hold *h) {
  libraft_completer completer;
  OK(libraft_completer_init(&completer));
  completer.callback = stay;
  completer.quick = 1;
  /* Nobody has this id, so that it fails at once. */
  OK(libraft_group_transfer_leadership(group, 77777, &completer, h, &failure));
}

static inline void hold_up(libraft_group *group, hold *h) {
  begin_to_hold_up(group, h);
  gate_wait(&h->held, 1);
}

#endif
