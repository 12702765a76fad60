/* The exit matrix: how a program may end, and what it then leaves behind. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"
#include "modes.h"

enum { IN_FLIGHT = 64, BEFORE_ENDING = 300, PATIENCE_MS = 60000 };

static libraft_node *node;
static libraft_group *group;
static struct machine *machine;
static atomic_uint_fast64_t next_value = 1;

static void must(const char *what, int32_t code, libraft_error *const *error) {
  if (code != LIBRAFT_OK) {
    fprintf(stderr, "exit: %s: %s: %s\n", what, libraft_code_name(code),
            libraft_error_message(*error));
    _Exit(70);
  }
}

static libraft_node_options node_options(const char *directory) {
  libraft_node_options options;
  libraft_node_options_init(&options);
  options.cluster = "exit";
  options.node_id = 1;
  options.directory = directory;
  options.listen_address = "127.0.0.1:0";
  options.tick_ms = 20;
  return options;
}

static void begin(const char *directory, int is_async, const char *fail) {
  libraft_error *error = NULL;
  libraft_node_options options = node_options(directory);
  libraft_group_options group_options;
  libraft_initial_member member = {1, "127.0.0.1:0", {0, 0}};
  machine = machine_new(LIBRAFT_MACHINE_IN_MEMORY, is_async, 0, "");
  machine_set_fail(machine, fail);
  libraft_state_machine table = machine_table(machine);
  libraft_group_options_init(&group_options);
  group_options.group_id = 1;
  group_options.initial_members = &member;
  group_options.initial_members_count = 1;
  must("open", libraft_node_open(&options, &node, &error), &error);
  must("start", libraft_group_start(node, &group_options, &table, &group, &error), &error);
}

static size_t next_payload(char *payload, size_t capacity) {
  uint64_t value = atomic_fetch_add(&next_value, 1);
  return (size_t)snprintf(payload, capacity, "s\1k%" PRIu64, value);
}

static void acknowledge(const uint8_t *result) {
  char line[48];
  uint64_t count = 0;
  for (size_t i = 8; i > 0; i--) {
    count = count << 8 | result[i - 1];
  }
  snprintf(line, sizeof line, "acknowledged %" PRIu64, count);
  say_text(line);
}

static void propose_one(void) {
  char payload[32];
  libraft_error *error = NULL;
  libraft_bytes *result = NULL;
  size_t length = next_payload(payload, sizeof payload);
  must("propose",
       libraft_group_propose_wait(group, payload, length, NULL, NULL, &result, &error), &error);
  acknowledge(libraft_bytes_data(result));
  libraft_bytes_free(result);
}

static void propose_a_hundred(void) {
  libraft_error *error = NULL;
  must("wait_ready", libraft_group_wait_ready(group, PATIENCE_MS, &error), &error);
  for (int i = 0; i < 100; i++) {
    propose_one();
  }
}

/* Keeps proposals in flight, each made by the completion of an earlier one. */
static pthread_mutex_t load_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t load_changed = PTHREAD_COND_INITIALIZER;
static uint64_t load_acknowledged;

/* One after the other, whichever thread it is: so the numbers are in the order of the log, wherever it ends. */
static void propose_with(libraft_completion_callback callback) {
  static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
  char payload[32];
  libraft_completer completer;
  libraft_completer_init(&completer);
  completer.callback = callback;
  pthread_mutex_lock(&order);
  libraft_group_propose(group, payload, next_payload(payload, sizeof payload), &completer, NULL,
                        NULL);
  pthread_mutex_unlock(&order);
}

static void nobody_asks(void *user_data, const libraft_completion *done, size_t count) {
  (void)user_data, (void)done, (void)count;
}

static void load_completed(void *user_data, const libraft_completion *done, size_t count) {
  (void)user_data, (void)count;
  if (done->code != LIBRAFT_OK) {
    return; /* the program ends */
  }
  acknowledge(done->result);
  propose_with(load_completed);
  pthread_mutex_lock(&load_mutex);
  load_acknowledged++;
  pthread_cond_signal(&load_changed);
  pthread_mutex_unlock(&load_mutex);
}

static void load(uint64_t until) {
  for (int i = 0; i < IN_FLIGHT; i++) {
    propose_with(load_completed);
  }
  pthread_mutex_lock(&load_mutex);
  while (load_acknowledged < until) {
    pthread_cond_wait(&load_changed, &load_mutex);
  }
  pthread_mutex_unlock(&load_mutex);
}

static void say_failed(int32_t code, libraft_error *error) {
  struct answer line;
  answer_begin(&line, "failed", libraft_code_name(code));
  putc(' ', line.out);
  print_hex(line.out, libraft_error_message(error), strlen(libraft_error_message(error)));
  answer_end(&line);
  libraft_error_free(error);
}

static int end_closed(void) {
  struct answer line;
  answer_begin(&line, "closed", libraft_code_name(libraft_node_close(node, NULL)));
  answer_end(&line);
  return 0;
}

static int apply_error(void) {
  const char payload[] = "xplanned failure of apply";
  libraft_error *error = NULL;
  say_text("ending");
  int32_t code = libraft_group_propose_wait(group, payload, sizeof payload - 1, NULL, NULL, NULL,
                                            &error);
  say_failed(code, error);
  return end_closed();
}

static int save_error(void) {
  libraft_error *error = NULL;
  say_text("ending");
  machine_set_fail(machine, "save");
  int32_t code = libraft_group_take_snapshot_wait(group, NULL, &error);
  say_failed(code, error);
  return end_closed();
}

static int restore_error(const char *directory) {
  libraft_error *error = NULL;
  must("take_snapshot", libraft_group_take_snapshot_wait(group, NULL, &error), &error);
  for (int i = 0; i < 10; i++) {
    propose_one();
  }
  must("close", libraft_node_close(node, &error), &error);
  libraft_group_free(group);
  libraft_node_free(node);
  begin(directory, 0, "restore");
  say_text("ending");
  int32_t code = libraft_group_wait_ready(group, PATIENCE_MS, &error);
  say_failed(code, error);
  return end_closed();
}

/* What the next apply does, and whether it is there. */
static pthread_mutex_t inside_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t inside_changed = PTHREAD_COND_INITIALIZER;
static int is_inside;
static int32_t closed_with;

static void enter(void *action) {
  if (strcmp(action, "close") == 0) {
    closed_with = libraft_node_close(node, NULL);
  }
  pthread_mutex_lock(&inside_mutex);
  is_inside = 1;
  pthread_cond_signal(&inside_changed);
  pthread_mutex_unlock(&inside_mutex);
  if (strcmp(action, "stay") == 0) {
    sleep(1);
  }
}

/* Proposes one more, and returns when its apply is inside of the program's code. */
static void propose_inside(const char *action) {
  machine_before_next_apply(machine, enter, (void *)(uintptr_t)action);
  propose_with(load_completed);
  pthread_mutex_lock(&inside_mutex);
  while (!is_inside) {
    pthread_cond_wait(&inside_changed, &inside_mutex);
  }
  pthread_mutex_unlock(&inside_mutex);
}

static int close_in_callback(void) {
  struct answer line;
  say_text("ending");
  propose_inside("close");
  answer_begin(&line, "failed", libraft_code_name(closed_with));
  fputs(" -", line.out);
  answer_end(&line);
  libraft_node_close(node, NULL);
  return 0;
}

static int fork_case(const char *directory) {
  libraft_error *error = NULL;
  libraft_node_options options = node_options(directory);
  say_text("ending");
  pid_t child = fork();
  if (child == 0) {
    char line[128];
    libraft_node *other = NULL;
    int32_t proposed = libraft_group_propose_wait(group, "x", 1, NULL, NULL, NULL, NULL);
    int32_t closed = libraft_node_close(node, NULL);
    int32_t opened = libraft_node_open(&options, &other, NULL);
    snprintf(line, sizeof line, "child %s %s %s", libraft_code_name(proposed),
             libraft_code_name(closed), libraft_code_name(opened));
    say_text(line);
    return 0;
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
    return 70;
  }
  propose_one();
  must("close", libraft_node_close(node, &error), &error);
  return 0;
}

static void *exit_from_here(void *context) {
  (void)context;
  exit(3);
}

static int exit_under_load(int in_thread) {
  load(BEFORE_ENDING);
  say_text("ending");
  if (in_thread) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, exit_from_here, NULL) == 0) {
      pthread_join(thread, NULL);
    }
  }
  exit(3);
}

/* The cases in which nobody closes the node before the program ends. */
static int leave_open(const char *name) {
  if (strcmp(name, "shutdown_in_callback") == 0) {
    propose_inside("stay");
  } else if (strcmp(name, "shutdown_pending") == 0) {
    machine_set_pend(machine, "apply");
    propose_inside("pend");
  } else if (strcmp(name, "shutdown_completions") == 0) {
    for (int i = 0; i < 1000; i++) {
      propose_with(nobody_asks);
    }
  } else if (strcmp(name, "kill") == 0) {
    say_text("ending");
    load(UINT64_MAX);
  }
  say_text("ending");
  return strcmp(name, "exception") == 0 ? 1 : 0;
}

int run_exit(const char *name, const char *directory) {
  libraft_error *error = NULL;
  if (strcmp(name, "dlclose") == 0) {
    return run_exit_dlclose(directory);
  }
  begin(directory, strcmp(name, "shutdown_pending") == 0, "");
  propose_a_hundred();
  if (strcmp(name, "close") == 0) {
    say_text("ending");
    must("close", libraft_node_close(node, &error), &error);
    return 0;
  }
  if (strcmp(name, "exit_under_load") == 0 || strcmp(name, "exit_in_thread") == 0) {
    return exit_under_load(strcmp(name, "exit_in_thread") == 0);
  }
  return strcmp(name, "apply_error") == 0         ? apply_error()
         : strcmp(name, "save_error") == 0        ? save_error()
         : strcmp(name, "restore_error") == 0     ? restore_error(directory)
         : strcmp(name, "close_in_callback") == 0 ? close_in_callback()
         : strcmp(name, "fork") == 0              ? fork_case(directory)
                                                  : leave_open(name);
}
