/* A member of the benchmark's cluster, told by lines what to do. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "crc32.h"
#include "line.h"
#include "machine.h"
#include "modes.h"

/* ---------------------------------------------------------------- the machine */

/* Counts entries, and reads every byte of them. */
static pthread_mutex_t counter_mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t count;
static uint32_t crc;

static int32_t apply(void *user_data, libraft_request *request, const libraft_entry *entries,
                     size_t entries_count, libraft_results *results) {
  (void)user_data, (void)request;
  int32_t code = LIBRAFT_OK;
  pthread_mutex_lock(&counter_mutex);
  for (size_t i = 0; i < entries_count && code == LIBRAFT_OK; i++) {
    count++;
    crc = crc32_add(crc, entries[i].data, entries[i].data_len);
    const uint32_t result[] = {(uint32_t)count, crc};
    code = libraft_results_set(results, i, result, sizeof result, NULL);
  }
  pthread_mutex_unlock(&counter_mutex);
  return code;
}

static int32_t save(void *user_data, libraft_request *request, void *snapshot,
                    libraft_snapshot_writer *writer) {
  (void)user_data, (void)request, (void)snapshot;
  pthread_mutex_lock(&counter_mutex);
  int32_t code = libraft_snapshot_writer_write(writer, &count, sizeof count, NULL);
  if (code == LIBRAFT_OK) {
    code = libraft_snapshot_writer_write(writer, &crc, sizeof crc, NULL);
  }
  pthread_mutex_unlock(&counter_mutex);
  return code;
}

static int32_t restore(void *user_data, libraft_request *request, libraft_snapshot_reader *reader) {
  (void)user_data, (void)request;
  uint8_t state[sizeof count + sizeof crc];
  size_t length = 0, got = 1;
  while (length < sizeof state && got > 0) {
    int32_t code =
        libraft_snapshot_reader_read(reader, state + length, sizeof state - length, &got, NULL);
    if (code != LIBRAFT_OK) {
      return code;
    }
    length += got;
  }
  if (length < sizeof state) {
    return LIBRAFT_ERR_RESTORE_FAILED;
  }
  pthread_mutex_lock(&counter_mutex);
  memcpy(&count, state, sizeof count);
  memcpy(&crc, state + sizeof count, sizeof crc);
  pthread_mutex_unlock(&counter_mutex);
  return LIBRAFT_OK;
}

/* ---------------------------------------------------------------- the load */

enum { BUCKETS = 64 * 32 };

/* What was asked for, and what was measured: all under `mutex`, but for what does not change. */
static struct {
  pthread_mutex_t mutex;
  pthread_cond_t idle;
  libraft_group *group;
  uint8_t *payload;
  size_t *offsets;
  size_t batch; /* 0 for single proposals */
  size_t bytes;
  uint64_t started, warm_up, end; /* nanoseconds; the latter two since the start */
  size_t open;
  uint64_t buckets[BUCKETS]; /* 32 for each doubling of nanoseconds */
  uint64_t total;
  int32_t failure;
} load = {.mutex = PTHREAD_MUTEX_INITIALIZER, .idle = PTHREAD_COND_INITIALIZER};

/* A call under way. */
struct call {
  uint64_t begun;
};

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static size_t bucket(uint64_t nanoseconds) {
  size_t doublings = 0;
  while (nanoseconds >= 64) {
    nanoseconds >>= 1;
    doublings++;
  }
  return doublings * 32 + (nanoseconds < 32 ? 0 : (size_t)nanoseconds - 32);
}

static double quantile_us(double share) {
  uint64_t wanted = (uint64_t)(share * (double)load.total), seen = 0;
  for (size_t at = 0; at < BUCKETS; at++) {
    seen += load.buckets[at];
    if (seen > wanted) {
      return (double)((uint64_t)(32 + at % 32) << (at / 32)) / 1000;
    }
  }
  return 0;
}

static void propose(struct call *call);

static void completed(void *user_data, const libraft_completion *completions, size_t done) {
  struct call *call = user_data;
  uint64_t time = now();
  pthread_mutex_lock(&load.mutex);
  for (size_t i = 0; i < done; i++) {
    load.failure = completions[i].code == LIBRAFT_OK ? load.failure : completions[i].code;
  }
  int over = load.failure != LIBRAFT_OK || time - load.started >= load.end;
  if (!over && time - load.started >= load.warm_up) {
    load.buckets[bucket(time - call->begun)] += done;
    load.total += done;
  }
  if (over && --load.open == 0) {
    pthread_cond_signal(&load.idle);
  }
  pthread_mutex_unlock(&load.mutex);
  if (over) {
    free(call);
  } else {
    propose(call);
  }
}

static void propose(struct call *call) {
  libraft_completer completer;
  libraft_completer_init(&completer);
  completer.callback = completed;
  completer.quick = 1;
  call->begun = now();
  int32_t code =
      load.batch == 0
          ? libraft_group_propose(load.group, load.payload, load.bytes, &completer, call, NULL)
          : libraft_group_propose_batch(load.group, load.payload, load.offsets, load.batch,
                                        &completer, call, NULL);
  if (code != LIBRAFT_OK) {
    const libraft_completion refused = {.code = code};
    completed(call, &refused, 1);
  }
}

static void measure(libraft_group *group, size_t bytes, size_t in_flight, const char *mode,
                    double seconds) {
  load.group = group;
  load.bytes = bytes;
  load.batch = strncmp(mode, "batch-", 6) == 0 ? strtoul(mode + 6, NULL, 10) : 0;
  size_t entries = load.batch == 0 ? 1 : load.batch;
  load.payload = present(malloc(bytes * entries + 1));
  memset(load.payload, 0x5a, bytes * entries);
  load.offsets = present(calloc(entries + 1, sizeof *load.offsets));
  for (size_t i = 0; i <= entries; i++) {
    load.offsets[i] = i * bytes;
  }
  memset(load.buckets, 0, sizeof load.buckets);
  load.total = 0;
  load.warm_up = (uint64_t)(seconds / 4 * 1e9);
  load.end = load.warm_up + (uint64_t)(seconds * 1e9);
  load.open = in_flight / entries;
  load.started = now();
  for (size_t i = in_flight / entries; i > 0; i--) {
    propose(present(malloc(sizeof(struct call))));
  }
  pthread_mutex_lock(&load.mutex);
  while (load.open > 0) {
    pthread_cond_wait(&load.idle, &load.mutex);
  }
  pthread_mutex_unlock(&load.mutex);
  free(load.payload);
  free(load.offsets);
}

/* ---------------------------------------------------------------- the lines */

static void must(const char *what, int32_t code, libraft_error *const *error) {
  if (code != LIBRAFT_OK) {
    fprintf(stderr, "bench-member: %s: %s: %s\n", what, libraft_code_name(code),
            libraft_error_message(*error));
    exit(1);
  }
}

static libraft_group *start(libraft_node *node, char *members) {
  libraft_initial_member initial[16] = {{0, NULL, {0, 0}}};
  libraft_group_options options;
  libraft_state_machine table;
  libraft_group *group = NULL;
  libraft_error *error = NULL;
  libraft_group_options_init(&options);
  options.group_id = 1;
  options.initial_members = initial;
  for (char *part; options.initial_members_count < 16 && (part = strsep(&members, " "));) {
    char *equals = strchr(part, '=');
    libraft_initial_member *member = &initial[options.initial_members_count++];
    member->node_id = strtoull(part, NULL, 10);
    member->address = equals == NULL ? "" : equals + 1;
  }
  libraft_state_machine_init(&table);
  table.quick = 1;
  table.apply = apply;
  table.save_snapshot = save;
  table.restore_snapshot = restore;
  must("start", libraft_group_start(node, &options, &table, &group, &error), &error);
  must("wait_ready", libraft_group_wait_ready(group, 60000, &error), &error);
  return group;
}

static double cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void serve_line(libraft_node *node, libraft_group **group, char *line) {
  char answer[160] = "", mode[32];
  size_t bytes = 0, in_flight = 0;
  double seconds = 0;
  libraft_error *error = NULL;
  if (strncmp(line, "start ", 6) == 0) {
    *group = start(node, line + 6);
    strcpy(answer, "started");
  } else if (strcmp(line, "role") == 0) {
    libraft_group_info info;
    libraft_group_info_init(&info);
    must("role", libraft_group_status(*group, &info, &error), &error);
    strcpy(answer, info.role == LIBRAFT_ROLE_LEADER ? "Leader" : "Other");
  } else if (sscanf(line, "run %zu %zu %31s %lf", &bytes, &in_flight, mode, &seconds) == 4) {
    measure(*group, bytes, in_flight, mode, seconds);
    snprintf(answer, sizeof answer, "%" PRIu64 " %.3f %.3f %.3f", load.total,
             (double)(load.end - load.warm_up) / 1e9, quantile_us(0.5), quantile_us(0.99));
    must("run", load.failure, &error);
  } else if (strcmp(line, "state") == 0) {
    pthread_mutex_lock(&counter_mutex);
    snprintf(answer, sizeof answer, "%" PRIu64 " %" PRIu32, count, crc);
    pthread_mutex_unlock(&counter_mutex);
  } else if (strcmp(line, "cpu") == 0) {
    snprintf(answer, sizeof answer, "%.6f", cpu_seconds());
  } else {
    fprintf(stderr, "bench-member: '%s' is not understood\n", line);
    exit(1);
  }
  say_text(answer);
}

int run_bench_member(uint64_t node_id, const char *directory) {
  libraft_error *error = NULL;
  libraft_node *node = NULL;
  libraft_group *group = NULL;
  libraft_node_options options;
  libraft_node_info info;
  crc32_prepare();
  libraft_node_options_init(&options);
  options.cluster = "bench";
  options.node_id = node_id;
  options.directory = directory;
  options.listen_address = "127.0.0.1:0";
  must("open", libraft_node_open(&options, &node, &error), &error);
  libraft_node_info_init(&info);
  must("status", libraft_node_status(node, &info, &error), &error);
  say_text(info.address);
  char *line = NULL;
  size_t capacity = 0;
  while (getline(&line, &capacity, stdin) > 0) {
    line[strcspn(line, "\n")] = '\0';
    serve_line(node, &group, line);
  }
  must("close", libraft_node_close(node, &error), &error);
  return 0;
}
