#define _GNU_SOURCE
#include "call.h"
#include "host.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NODES_MAX = 64, GROUPS_MAX = 256 };

struct hosted_node {
  uint64_t node_id;
  libraft_node *node;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of the tables */
static struct hosted_node nodes[NODES_MAX];
static struct hosted_group groups[GROUPS_MAX];
static size_t nodes_count, groups_count;
static atomic_uint_fast64_t logged;

static libraft_node *find_node(const struct request *request) {
  libraft_node *found = NULL;
  pthread_mutex_lock(&mutex);
  for (size_t i = 0; i < nodes_count; i++) {
    if (nodes[i].node_id == request_number(request, "node")) {
      found = nodes[i].node;
    }
  }
  pthread_mutex_unlock(&mutex);
  return found;
}

static struct hosted_group find_group(const struct request *request) {
  struct hosted_group found = {0, 0, NULL, NULL};
  pthread_mutex_lock(&mutex);
  for (size_t i = 0; i < groups_count; i++) {
    if (groups[i].node_id == request_number(request, "node") &&
        groups[i].group_id == request_number(request, "group")) {
      found = groups[i];
    }
  }
  pthread_mutex_unlock(&mutex);
  return found;
}

/* Forgets a node and its groups, and frees their handles. */
static void forget_node(uint64_t node_id) {
  pthread_mutex_lock(&mutex);
  for (size_t i = 0; i < nodes_count; i++) {
    if (nodes[i].node_id == node_id) {
      libraft_node_free(nodes[i].node);
      nodes[i--] = nodes[--nodes_count];
    }
  }
  for (size_t i = 0; i < groups_count; i++) {
    if (groups[i].node_id == node_id) {
      libraft_group_free(groups[i].group);
      groups[i--] = groups[--groups_count];
    }
  }
  pthread_mutex_unlock(&mutex);
}

static char *hex_text(const struct request *request, const char *name) {
  return request_find(request, name) == NULL ? NULL : (char *)request_bytes(request, name).data;
}

static void *open_node(void *context) {
  struct request *request = context;
  libraft_node_options options;
  libraft_error *error = NULL;
  libraft_node *node = NULL;
  libraft_node_info info;
  char *directory = hex_text(request, "directory"), *listen = hex_text(request, "listen"),
       *advertise = hex_text(request, "advertise");
  libraft_node_options_init(&options);
  options.cluster = request_text(request, "cluster");
  options.node_id = request_number(request, "node");
  options.directory = directory;
  options.listen_address = listen;
  options.advertised_address = advertise;
  request_set(request, "tick_ms", &options.tick_ms);
  request_set(request, "election_ticks", &options.election_ticks);
  request_set(request, "heartbeat_ticks", &options.heartbeat_ticks);
  request_set(request, "segment_bytes", &options.segment_bytes);
  options.insecure_transport = request_is(request, "insecure", "1");
  int32_t code = libraft_node_open(&options, &node, &error);
  libraft_node_info_init(&info);
  if (code == LIBRAFT_OK && (code = libraft_node_status(node, &info, &error)) == LIBRAFT_OK) {
    forget_node(options.node_id);
    pthread_mutex_lock(&mutex);
    if (nodes_count < NODES_MAX) {
      nodes[nodes_count++] = (struct hosted_node){options.node_id, node};
    }
    pthread_mutex_unlock(&mutex);
    struct answer answer;
    answer_begin(&answer, request->id, "ok");
    print_hex_text(answer.out, "address", info.address);
    answer_end(&answer);
  } else {
    answer_code(request->id, code, error);
  }
  free(directory);
  free(listen);
  free(advertise);
  request_free(request);
  return NULL;
}

static int32_t kind_of(const struct request *request) {
  return request_is(request, "machine", "disk")         ? LIBRAFT_MACHINE_ON_DISK
         : request_is(request, "machine", "concurrent") ? LIBRAFT_MACHINE_CONCURRENT
                                                        : LIBRAFT_MACHINE_IN_MEMORY;
}

static void start_group(const struct request *request, libraft_node *node) {
  libraft_group_options options;
  libraft_initial_member members[STEPS_MAX] = {{0, NULL, {0, 0}}};
  libraft_error *error = NULL;
  libraft_group *group = NULL;
  char *list = present(strdup(request_text(request, "members"))), *rest = list, *part;
  libraft_group_options_init(&options);
  options.group_id = request_number(request, "group");
  options.initial_members = members;
  while ((part = next_part(&rest)) != NULL && options.initial_members_count < STEPS_MAX) {
    libraft_initial_member *member = &members[options.initial_members_count++];
    split_address(part, &member->node_id, &member->address);
  }
  request_set(request, "proposal_bytes_max", &options.proposal_bytes_max);
  request_set(request, "pending_bytes_max", &options.pending_bytes_max);
  request_set(request, "pending_count_max", &options.pending_count_max);
  request_set(request, "snapshot_entries", &options.snapshot_entries);
  request_set(request, "snapshot_log_bytes", &options.snapshot_log_bytes);
  request_set(request, "retained_entries", &options.retained_entries);
  request_set(request, "proposal_timeout_ms", &options.proposal_timeout_ms);
  request_set(request, "snapshot_transfer_timeout_ms", &options.snapshot_transfer_timeout_ms);
  request_set(request, "snapshot_restore_timeout_ms", &options.snapshot_restore_timeout_ms);
  char *folder = hex_text(request, "state");
  struct machine *machine =
      machine_new(kind_of(request), request_is(request, "style", "async"),
                  request_is(request, "quick", "1"), folder == NULL ? "" : folder);
  machine_set_fail(machine, request_text(request, "fail"));
  libraft_state_machine table = machine_table(machine);
  int32_t code = libraft_group_start(node, &options, &table, &group, &error);
  if (code == LIBRAFT_OK) {
    struct hosted_group hosted = {request_number(request, "node"), options.group_id, group,
                                  machine};
    pthread_mutex_lock(&mutex);
    size_t at = 0;
    while (at < groups_count &&
           (groups[at].node_id != hosted.node_id || groups[at].group_id != hosted.group_id)) {
      at++;
    }
    if (at < groups_count) {
      libraft_group_free(groups[at].group);
    }
    if (at < GROUPS_MAX) {
      groups[at] = hosted;
      groups_count += at == groups_count;
    }
    pthread_mutex_unlock(&mutex);
  }
  answer_code(request->id, code, error);
  free(folder);
  free(list);
}

/* ---------------------------------------------------------------- closing */

static void *wait_for(void *context) {
  struct call *call = context;
  struct request *request = call->request;
  libraft_error *error = NULL;
  int32_t code;
  if (is_command(request, "wait_ready")) {
    code = libraft_group_wait_ready(call->hosted.group, request_number(request, "timeout_ms"),
                                    &error);
  } else if (is_command(request, "stop")) {
    code = libraft_group_stop(call->hosted.group, &error);
  } else {
    code = libraft_node_close(call->node, &error);
  }
  answer_code(request->id, code, error);
  request_free(request);
  free(call);
  return NULL;
}

static void wait_in_thread(struct request *request, const struct hosted_group *hosted,
                           libraft_node *node) {
  struct call *call = present(malloc(sizeof *call));
  *call = (struct call){request, *hosted, node};
  detach(wait_for, call);
}

static void closed(void *context, int32_t code, const libraft_error *error) {
  struct request *request = context;
  if (code == LIBRAFT_OK) {
    answer_ok(request->id);
  } else {
    answer_error(request->id, code, error);
  }
  request_free(request);
}

static void close_node(struct request *request, libraft_node *node) {
  libraft_error *error = NULL;
  if (request_is(request, "how", "async")) {
    int32_t code = libraft_node_close_async(node, closed, request, &error);
    if (code == LIBRAFT_ERR_CLOSED) { /* already: there is nothing to wait for */
      libraft_error_free(error);
      closed(request, LIBRAFT_OK, NULL);
    } else if (code != LIBRAFT_OK) {
      closed(request, code, error);
      libraft_error_free(error);
    }
  } else if (request_is(request, "how", "forget")) {
    forget_node(request_number(request, "node"));
    answer_ok(request->id);
    request_free(request);
  } else {
    struct hosted_group none = {0, 0, NULL, NULL};
    wait_in_thread(request, &none, node);
  }
}

static void close_inside(void *context) {
  struct request *request = context;
  struct answer answer;
  answer_begin(&answer, request->id, "ok");
  fprintf(answer.out, " code=%s", libraft_code_name(libraft_node_close(find_node(request), NULL)));
  answer_end(&answer);
  request_free(request);
}

/* ---------------------------------------------------------------- the rest */

static void count_record(void *user_data, const libraft_log_record *record) {
  (void)user_data, (void)record;
  atomic_fetch_add(&logged, 1);
}

static void set_log(const struct request *request) {
  static const char *const levels[] = {"off", "error", "warn", "info", "debug", "trace"};
  libraft_error *error = NULL;
  int32_t level = 0;
  while (level < LIBRAFT_LOG_TRACE && !request_is(request, "level", levels[level])) {
    level++;
  }
  answer_code(request->id, libraft_set_log_callback(level, count_record, NULL, NULL, &error),
              error);
}

static void set_events(const struct request *request, const struct hosted_group *hosted) {
  libraft_error *error = NULL;
  uint64_t *node_id = present(malloc(sizeof *node_id));
  *node_id = hosted->node_id;
  int on = request_is(request, "on", "1");
  int32_t code = libraft_group_set_event_callback(hosted->group, on ? say_event : NULL, node_id,
                                                  free, &error);
  answer_code(request->id, code, error);
}

static void set_machine(const struct request *request, struct machine *machine) {
  if (request_find(request, "block_ms") != NULL) {
    machine_set_block(machine, request_number(request, "block_ms"));
  }
  if (request_find(request, "fail") != NULL) {
    machine_set_fail(machine, request_text(request, "fail"));
  }
  if (request_find(request, "pend") != NULL) {
    machine_set_pend(machine, request_text(request, "pend"));
  }
  if (request_is(request, "release", "1")) {
    machine_release(machine);
  }
  answer_ok(request->id);
}

static void dump(const char *id, struct machine *machine) {
  struct answer answer;
  answer_begin(&answer, id, "ok");
  pthread_mutex_lock(&machine->mutex);
  const struct ledger *ledger = &machine->ledger;
  fprintf(answer.out, " applied=%" PRIu64 " count=%" PRIu64 " hash=%" PRIu64 " keys=%zu",
          ledger->applied, ledger->count, ledger->hash, ledger->items_count);
  pthread_mutex_unlock(&machine->mutex);
  answer_end(&answer);
}

static void misuse(const struct request *request, const struct hosted_group *hosted) {
  const char *id = request->id, *what = request_text(request, "what");
  libraft_error *error = NULL;
  libraft_node *node = find_node(request);
  libraft_node_options options;
  libraft_node_options_init(&options);
  options.node_id = 99;
  options.directory = "never-made";
  int32_t code = LIBRAFT_OK;
  if (strcmp(what, "null") == 0) {
    code = libraft_group_propose_wait(hosted->group, NULL, 8, NULL, NULL, NULL, &error);
  } else if (strcmp(what, "null_in_batch") == 0) {
    const size_t offsets[] = {0, 4, 8};
    code = libraft_group_propose_batch(hosted->group, NULL, offsets, 2, NULL, NULL, &error);
  } else if (strcmp(what, "forged_handle") == 0) {
    code = libraft_group_propose_wait((libraft_group *)(uintptr_t)0x7777777777777777, "x", 1, NULL,
                                      NULL, NULL, &error);
  } else if (strcmp(what, "null_option") == 0 || strcmp(what, "not_utf8") == 0 ||
             strcmp(what, "wrong_size") == 0) {
    options.cluster = strcmp(what, "not_utf8") == 0 ? "\xff" : NULL;
    options.size = strcmp(what, "wrong_size") == 0 ? 3 : options.size;
    code = libraft_node_open(&options, &node, &error);
  } else if (strcmp(what, "no_machine") == 0 || strcmp(what, "wrong_machine") == 0) {
    libraft_group_options group_options;
    libraft_state_machine table = machine_table(hosted->machine);
    libraft_group *group = NULL;
    libraft_group_options_init(&group_options);
    group_options.group_id = 99;
    table.apply = NULL;
    table.destroy = NULL;
    code = libraft_group_start(node, &group_options, what[0] == 'n' ? NULL : &table, &group,
                               &error);
  } else if (strcmp(what, "wrong_step") == 0) {
    libraft_change step;
    memset(&step, 0, sizeof step);
    step.kind = 77;
    step.node_id = 1;
    code = libraft_group_change_membership_wait(hosted->group, &step, 1, &error);
  } else {
    answer_nonsense(id, "there is no such misuse in C");
    return;
  }
  answer_code(id, code, error);
}

static void answer_count(const char *id, uint64_t count) {
  struct answer answer;
  answer_begin(&answer, id, "ok");
  fprintf(answer.out, " count=%" PRIu64, count);
  answer_end(&answer);
}

/* Commands that have their answer at once. */
static void serve_at_once(const struct request *request, libraft_node *node,
                          const struct hosted_group *hosted) {
  const char *id = request->id;
  if (is_command(request, "version")) {
    struct answer answer;
    answer_begin(&answer, id, "ok");
    fprintf(answer.out, " version=%s", libraft_version());
    answer_end(&answer);
  } else if (is_command(request, "destroyed")) {
    answer_count(id, atomic_load(&destroyed));
  } else if (is_command(request, "log")) {
    set_log(request);
  } else if (is_command(request, "logged")) {
    answer_count(id, atomic_load(&logged));
  } else if (node == NULL) {
    answer_nonsense(id, "there is no such node here, or no such command");
  } else if (is_command(request, "node_status")) {
    answer_node_status(id, node);
  } else if (is_command(request, "start_group")) {
    start_group(request, node);
  } else if (hosted->group == NULL) {
    answer_nonsense(id, "there is no such group here, or no such command");
  } else if (is_command(request, "group_status")) {
    answer_group_status(id, hosted->group);
  } else if (is_command(request, "members")) {
    answer_members(id, hosted->group);
  } else if (is_command(request, "dump")) {
    dump(id, hosted->machine);
  } else if (is_command(request, "events")) {
    set_events(request, hosted);
  } else if (is_command(request, "machine")) {
    set_machine(request, hosted->machine);
  } else if (is_command(request, "misuse")) {
    misuse(request, hosted);
  } else {
    answer_nonsense(id, "there is no such command");
  }
}

void serve(struct request *request) {
  static const char *const calls[] = {"propose",       "propose_batch",     "read_index", "read",
                                      "take_snapshot", "change_membership", "transfer_leadership"};
  libraft_node *node = find_node(request);
  struct hosted_group hosted = find_group(request);
  if (is_command(request, "open")) {
    detach(open_node, request);
    return;
  }
  if (is_command(request, "close") && node != NULL) {
    close_node(request, node);
    return;
  }
  if (hosted.group != NULL) {
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
      if (is_command(request, calls[i])) {
        make_call(request, &hosted);
        return;
      }
    }
    if (is_command(request, "wait_ready") || is_command(request, "stop")) {
      wait_in_thread(request, &hosted, node);
      return;
    }
    if (is_command(request, "close_in_callback")) {
      machine_before_next_apply(hosted.machine, close_inside, request);
      return;
    }
  }
  serve_at_once(request, node, &hosted);
  request_free(request);
}
