/* The case `dlclose`: a host that has loaded the library, and unloads it under load. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"
#include "modes.h"

/* What the program calls, of the library that it loads. */
static __typeof__(&libraft_node_options_init_sized) node_options_init;
static __typeof__(&libraft_group_options_init_sized) group_options_init;
static __typeof__(&libraft_state_machine_init_sized) state_machine_init;
static __typeof__(&libraft_completer_init_sized) completer_init;
static __typeof__(&libraft_node_open) node_open;
static __typeof__(&libraft_group_start) group_start;
static __typeof__(&libraft_group_wait_ready) group_wait_ready;
static __typeof__(&libraft_group_propose) group_propose;
static __typeof__(&libraft_results_set) results_set;
static __typeof__(&libraft_snapshot_writer_write) snapshot_writer_write;

static libraft_group *group;
static struct ledger ledger;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint64_t acknowledged, next_value = 1;

static void *load_library(void) {
  char path[4096];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 16);
  path[length > 0 ? length : 0] = '\0';
  char *slash = strrchr(path, '/');
  strcpy(slash == NULL ? path : slash + 1, "libraft.so");
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  const struct {
    const char *name;
    void *place;
  } functions[] = {
      {"libraft_node_options_init_sized", &node_options_init},
      {"libraft_group_options_init_sized", &group_options_init},
      {"libraft_state_machine_init_sized", &state_machine_init},
      {"libraft_completer_init_sized", &completer_init},
      {"libraft_node_open", &node_open},
      {"libraft_group_start", &group_start},
      {"libraft_group_wait_ready", &group_wait_ready},
      {"libraft_group_propose", &group_propose},
      {"libraft_results_set", &results_set},
      {"libraft_snapshot_writer_write", &snapshot_writer_write},
  };
  for (size_t i = 0; library != NULL && i < sizeof functions / sizeof *functions; i++) {
    void *function = dlsym(library, functions[i].name);
    memcpy(functions[i].place, &function, sizeof function);
  }
  return library;
}

static int32_t apply(void *user_data, libraft_request *request, const libraft_entry *entries,
                     size_t count, libraft_results *results) {
  (void)user_data, (void)request;
  for (size_t i = 0; i < count; i++) {
    uint8_t result[8];
    ledger_apply(&ledger, &entries[i]);
    put_number(result, ledger.count, 8);
    results_set(results, i, result, sizeof result, NULL);
  }
  return LIBRAFT_OK;
}

static int32_t save(void *user_data, libraft_request *request, void *snapshot,
                    libraft_snapshot_writer *writer) {
  (void)user_data, (void)request, (void)snapshot;
  struct bytes state = ledger_to_bytes(&ledger);
  int32_t code = snapshot_writer_write(writer, state.data, state.length, NULL);
  free(state.data);
  return code;
}

static int32_t restore(void *user_data, libraft_request *request, libraft_snapshot_reader *reader) {
  (void)user_data, (void)request, (void)reader;
  return LIBRAFT_ERR_RESTORE_FAILED; /* the directory is a fresh one */
}

static void propose(void);

static void completed(void *user_data, const libraft_completion *done, size_t count) {
  (void)user_data, (void)count;
  if (done->code != LIBRAFT_OK) {
    return;
  }
  char line[48];
  pthread_mutex_lock(&mutex);
  snprintf(line, sizeof line, "acknowledged %" PRIu64, (uint64_t)done->result[0] |
                                                           (uint64_t)done->result[1] << 8 |
                                                           (uint64_t)done->result[2] << 16);
  say_text(line);
  acknowledged++;
  pthread_cond_signal(&changed);
  pthread_mutex_unlock(&mutex);
  propose();
}

static void propose(void) {
  char payload[32];
  libraft_completer completer;
  completer_init(&completer, sizeof completer);
  completer.callback = completed;
  pthread_mutex_lock(&mutex);
  size_t length = (size_t)snprintf(payload, sizeof payload, "s\1k%" PRIu64, next_value++);
  pthread_mutex_unlock(&mutex);
  group_propose(group, payload, length, &completer, NULL, NULL);
}

static void wait_for(uint64_t count) {
  pthread_mutex_lock(&mutex);
  while (acknowledged < count) {
    pthread_cond_wait(&changed, &mutex);
  }
  pthread_mutex_unlock(&mutex);
}

int run_exit_dlclose(const char *directory) {
  libraft_node *node = NULL;
  libraft_node_options options;
  libraft_group_options group_options;
  libraft_initial_member member = {1, "127.0.0.1:0", {0, 0}};
  libraft_state_machine table;
  void *library = load_library();
  if (library == NULL) {
    fprintf(stderr, "exit: %s\n", dlerror());
    return 70;
  }
  ledger = ledger_new();
  node_options_init(&options, sizeof options);
  options.cluster = "exit";
  options.node_id = 1;
  options.directory = directory;
  options.listen_address = "127.0.0.1:0";
  options.tick_ms = 20;
  group_options_init(&group_options, sizeof group_options);
  group_options.group_id = 1;
  group_options.initial_members = &member;
  group_options.initial_members_count = 1;
  state_machine_init(&table, sizeof table);
  table.apply = apply;
  table.save_snapshot = save;
  table.restore_snapshot = restore;
  if (node_open(&options, &node, NULL) != LIBRAFT_OK ||
      group_start(node, &group_options, &table, &group, NULL) != LIBRAFT_OK ||
      group_wait_ready(group, 60000, NULL) != LIBRAFT_OK) {
    return 70;
  }
  for (int i = 0; i < 64; i++) {
    propose();
  }
  wait_for(100);
  say_text("ending");
  return dlclose(library) == 0 ? 0 : 70;
}
