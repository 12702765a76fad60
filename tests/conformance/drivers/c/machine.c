#define _GNU_SOURCE
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

atomic_uint_fast64_t destroyed;

struct machine *machine_new(int32_t kind, int is_async, int is_quick, const char *folder) {
  struct machine *machine = present(calloc(1, sizeof *machine));
  machine->kind = kind;
  machine->is_async = is_async;
  machine->is_quick = is_quick;
  machine->folder = present(strdup(folder));
  machine->ledger = ledger_new();
  pthread_mutex_init(&machine->mutex, NULL);
  pthread_cond_init(&machine->released, NULL);
  return machine;
}

void machine_set_fail(struct machine *machine, const char *callback) {
  pthread_mutex_lock(&machine->mutex);
  snprintf(machine->fail, sizeof machine->fail, "%s", callback);
  pthread_mutex_unlock(&machine->mutex);
}

void machine_set_pend(struct machine *machine, const char *callback) {
  pthread_mutex_lock(&machine->mutex);
  snprintf(machine->pend, sizeof machine->pend, "%s", callback);
  pthread_mutex_unlock(&machine->mutex);
}

void machine_set_block(struct machine *machine, uint64_t block_ms) {
  pthread_mutex_lock(&machine->mutex);
  machine->block_ms = block_ms;
  pthread_mutex_unlock(&machine->mutex);
}

void machine_release(struct machine *machine) {
  pthread_mutex_lock(&machine->mutex);
  machine->pend[0] = '\0';
  machine->releases++;
  pthread_cond_broadcast(&machine->released);
  pthread_mutex_unlock(&machine->mutex);
}

void machine_before_next_apply(struct machine *machine, void (*action)(void *), void *context) {
  pthread_mutex_lock(&machine->mutex);
  machine->before_apply = action;
  machine->before_context = context;
  pthread_mutex_unlock(&machine->mutex);
}

/* A call of a callback, which may outlive the callback. */
struct task {
  struct machine *machine;
  libraft_request *request;
  int32_t (*run)(struct task *task);
  const libraft_entry *entries;
  size_t entries_count;
  libraft_results *results;
  struct bytes state; /* what is to be saved */
  libraft_snapshot_writer *writer;
  libraft_snapshot_reader *reader;
};

/* Fails a request with words. */
static int32_t fail(libraft_request *request, int32_t code, const char *message) {
  libraft_request_set_message(request, message, NULL);
  return code;
}

static int32_t fail_errno(libraft_request *request, int32_t code, const char *what) {
  char message[4096 + 256]; /* a path and a reason */
  snprintf(message, sizeof message, "%s: %s", what, strerror(errno));
  return fail(request, code, message);
}

/* What every callback does before its work: it waits while it is told to, and fails if it is told
 * to. */
static int32_t behave(struct machine *machine, libraft_request *request, const char *callback,
                      int32_t code) {
  pthread_mutex_lock(&machine->mutex);
  uint64_t releases = machine->releases;
  if (strcmp(machine->pend, callback) == 0) {
    while (machine->releases == releases) {
      pthread_cond_wait(&machine->released, &machine->mutex);
    }
  }
  int fails = strcmp(machine->fail, callback) == 0;
  pthread_mutex_unlock(&machine->mutex);
  if (!fails) {
    return LIBRAFT_OK;
  }
  char message[64];
  snprintf(message, sizeof message, "planned failure of %s", callback);
  return fail(request, code, message);
}

static void *run_later(void *context) {
  struct task *task = context;
  libraft_request *request = task->request;
  int32_t code = task->run(task);
  free(task->state.data);
  free(task);
  libraft_request_complete(request, code, NULL);
  return NULL;
}

/* Answers here, or from a thread of its own. Takes over task.state. */
static int32_t respond(struct task task) {
  if (!task.machine->is_async) {
    int32_t code = task.run(&task);
    free(task.state.data);
    return code;
  }
  struct task *later = present(malloc(sizeof *later));
  *later = task;
  detach(run_later, later);
  return LIBRAFT_PENDING;
}

/* Applies the entries up to the first that fails. */
static int32_t apply_entries(struct task *task) {
  struct machine *machine = task->machine;
  for (size_t i = 0; i < task->entries_count; i++) {
    const libraft_entry *entry = &task->entries[i];
    if (entry->data_len > 0 && entry->data[0] == 'x') {
      char *message = present(strndup((const char *)entry->data + 1, entry->data_len - 1));
      int32_t code = fail(task->request, LIBRAFT_ERR_APPLY_FAILED, message);
      free(message);
      return code;
    }
    uint8_t result[8];
    ledger_apply(&machine->ledger, entry);
    put_number(result, machine->ledger.count, 8);
    int32_t code = libraft_results_set(task->results, i, result, sizeof result, NULL);
    if (code != LIBRAFT_OK) {
      return code;
    }
  }
  return LIBRAFT_OK;
}

static int32_t run_apply(struct task *task) {
  struct machine *machine = task->machine;
  pthread_mutex_lock(&machine->mutex);
  void (*before)(void *) = machine->before_apply;
  machine->before_apply = NULL;
  void *context = machine->before_context;
  uint64_t block_ms = machine->block_ms;
  pthread_mutex_unlock(&machine->mutex);
  struct timespec block = {(time_t)(block_ms / 1000), (long)(block_ms % 1000) * 1000000};
  if (block_ms > 0) {
    nanosleep(&block, NULL);
  }
  if (before != NULL) {
    before(context);
  }
  int32_t code = behave(machine, task->request, "apply", LIBRAFT_ERR_APPLY_FAILED);
  if (code != LIBRAFT_OK) {
    return code;
  }
  pthread_mutex_lock(&machine->mutex);
  code = apply_entries(task);
  pthread_mutex_unlock(&machine->mutex);
  return code;
}

static int32_t apply(void *user_data, libraft_request *request, const libraft_entry *entries,
                     size_t count, libraft_results *results) {
  return respond((struct task){.machine = user_data,
                               .request = request,
                               .run = run_apply,
                               .entries = entries,
                               .entries_count = count,
                               .results = results});
}

static struct bytes state_of(struct machine *machine) {
  pthread_mutex_lock(&machine->mutex);
  struct bytes state = ledger_to_bytes(&machine->ledger);
  pthread_mutex_unlock(&machine->mutex);
  return state;
}

/* Syncs a file or a folder. */
static int sync_path(const char *path) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  int synced = file >= 0 && fsync(file) == 0;
  if (file >= 0) {
    close(file);
  }
  return synced;
}

/* Writes the state into its file, whole or not at all. */
static int32_t write_file(struct machine *machine, libraft_request *request, int32_t code) {
  char path[4096], fresh[4096];
  struct bytes state = state_of(machine);
  snprintf(path, sizeof path, "%s/state", machine->folder);
  snprintf(fresh, sizeof fresh, "%s/state.new", machine->folder);
  FILE *file = fopen(fresh, "wb");
  int whole = file != NULL && fwrite(state.data, 1, state.length, file) == state.length;
  if (file != NULL && fclose(file) != 0) {
    whole = 0;
  }
  free(state.data);
  if (!whole || !sync_path(fresh) || rename(fresh, path) != 0 || !sync_path(machine->folder)) {
    return fail_errno(request, code, path);
  }
  return LIBRAFT_OK;
}

static int32_t sync_machine(void *user_data, libraft_request *request) {
  int32_t code = behave(user_data, request, "sync", LIBRAFT_ERR_SYNC_FAILED);
  return code == LIBRAFT_OK ? write_file(user_data, request, LIBRAFT_ERR_SYNC_FAILED) : code;
}

static int32_t open_machine(void *user_data, libraft_request *request) {
  struct machine *machine = user_data;
  int32_t code = behave(machine, request, "open", LIBRAFT_ERR_OPEN_FAILED);
  if (code != LIBRAFT_OK || machine->kind != LIBRAFT_MACHINE_ON_DISK) {
    return code;
  }
  char path[4096];
  snprintf(path, sizeof path, "%s/state", machine->folder);
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    return errno == ENOENT ? LIBRAFT_OK : fail_errno(request, LIBRAFT_ERR_OPEN_FAILED, path);
  }
  struct bytes state = {NULL, 0};
  size_t got = 0;
  do {
    state.data = present(realloc(state.data, state.length + 4096));
    got = fread(state.data + state.length, 1, 4096, file);
    state.length += got;
  } while (got > 0);
  fclose(file);
  pthread_mutex_lock(&machine->mutex);
  int read = ledger_from_bytes(&machine->ledger, state.data, state.length);
  uint64_t applied = machine->ledger.applied;
  pthread_mutex_unlock(&machine->mutex);
  free(state.data);
  return read ? libraft_request_set_opened(request, applied, NULL, 0, NULL)
              : fail(request, LIBRAFT_ERR_OPEN_FAILED, "the file state is no ledger");
}

static int32_t prepare(void *user_data, libraft_request *request) {
  int32_t code = behave(user_data, request, "prepare", LIBRAFT_ERR_SAVE_FAILED);
  if (code == LIBRAFT_OK) {
    struct bytes *state = present(malloc(sizeof *state));
    *state = state_of(user_data);
    code = libraft_request_set_snapshot(request, state, NULL);
  }
  return code;
}

static void release(void *user_data, void *snapshot) {
  struct bytes *state = snapshot;
  (void)user_data;
  if (state != NULL) {
    free(state->data);
    free(state);
  }
}

static int32_t run_save(struct task *task) {
  int32_t code = behave(task->machine, task->request, "save", LIBRAFT_ERR_SAVE_FAILED);
  return code == LIBRAFT_OK ? libraft_snapshot_writer_write(task->writer, task->state.data,
                                                            task->state.length, NULL)
                            : code;
}

static int32_t save(void *user_data, libraft_request *request, void *snapshot,
                    libraft_snapshot_writer *writer) {
  const struct bytes *prepared = snapshot;
  struct bytes state = {NULL, 0};
  if (prepared == NULL) {
    state = state_of(user_data);
  } else {
    state = (struct bytes){present(malloc(prepared->length)), prepared->length};
    memcpy(state.data, prepared->data, prepared->length);
  }
  return respond((struct task){.machine = user_data,
                               .request = request,
                               .run = run_save,
                               .state = state,
                               .writer = writer});
}

static int32_t run_restore(struct task *task) {
  struct machine *machine = task->machine;
  int32_t code = behave(machine, task->request, "restore", LIBRAFT_ERR_RESTORE_FAILED);
  struct bytes state = {NULL, 0};
  size_t got = 1;
  while (code == LIBRAFT_OK && got > 0) {
    state.data = present(realloc(state.data, state.length + 65536));
    code = libraft_snapshot_reader_read(task->reader, state.data + state.length, 65536, &got, NULL);
    state.length += code == LIBRAFT_OK ? got : 0;
  }
  if (code == LIBRAFT_OK) {
    pthread_mutex_lock(&machine->mutex);
    int read = ledger_from_bytes(&machine->ledger, state.data, state.length);
    pthread_mutex_unlock(&machine->mutex);
    if (!read) {
      code = fail(task->request, LIBRAFT_ERR_RESTORE_FAILED, "the snapshot is no ledger");
    } else if (machine->kind == LIBRAFT_MACHINE_ON_DISK) {
      code = write_file(machine, task->request, LIBRAFT_ERR_RESTORE_FAILED);
    }
  }
  free(state.data);
  return code;
}

static int32_t restore(void *user_data, libraft_request *request, libraft_snapshot_reader *reader) {
  return respond((struct task){
      .machine = user_data, .request = request, .run = run_restore, .reader = reader});
}

static void destroy(void *user_data) {
  (void)user_data;
  atomic_fetch_add(&destroyed, 1);
}

libraft_state_machine machine_table(struct machine *machine) {
  libraft_state_machine table;
  libraft_state_machine_init(&table);
  table.user_data = machine;
  table.destroy = destroy;
  table.kind = machine->kind;
  table.quick = machine->is_quick;
  table.open = open_machine;
  table.apply = apply;
  table.save_snapshot = save;
  table.restore_snapshot = restore;
  if (machine->kind != LIBRAFT_MACHINE_IN_MEMORY) {
    table.prepare_snapshot = prepare;
    table.release_snapshot = release;
  }
  if (machine->kind == LIBRAFT_MACHINE_ON_DISK) {
    table.sync = sync_machine;
  }
  return table;
}
