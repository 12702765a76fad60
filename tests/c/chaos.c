/* Threads that do anything, at any time, to the same nodes, groups and queues: nothing hangs or
   crashes, and all that was promised once happens once. */
#include "harness.h"

enum { NODES = 2, THREADS = 4, STEPS = 2500 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static libraft_node *nodes[NODES];
static libraft_group *groups[NODES];
static libraft_queue *queues[NODES];
static const char *addresses[NODES], *directories[NODES];
static uint64_t started, accepted;
static gate destroyed = GATE, completed = GATE;

/* Handles are read and replaced while others use them: much is called too late. */
#define PEEK(slot) \
  (pthread_mutex_lock(&lock), peeked = (void *)(slot), pthread_mutex_unlock(&lock), peeked)

static void *put(void **slot, void *handle) {
  pthread_mutex_lock(&lock);
  void *old = *slot;
  *slot = handle;
  pthread_mutex_unlock(&lock);
  return old;
}

static void count(uint64_t *counter) {
  pthread_mutex_lock(&lock);
  (*counter)++;
  pthread_mutex_unlock(&lock);
}

static void completion_seen(void *user_data, const libraft_completion *completions, size_t seen) {
  void *peeked = NULL;
  uint64_t index = completions[0].index;
  CHECK(seen == 1);
  (void)user_data;
  if (index % 97 == 1) {
    (void)libraft_group_stop(PEEK(groups[index % NODES]), NULL); /* would deadlock, but begins */
  }
  gate_pass(&completed);
}

static int32_t apply_anything(void *user_data, libraft_request *request,
                              const libraft_entry *entries, size_t entries_count,
                              libraft_results *results) {
  (void)user_data, (void)request;
  return libraft_results_set(results, entries_count - 1, entries->data, entries->data_len, NULL);
}

static int32_t save_nothing(void *user_data, libraft_request *request, void *snapshot,
                            libraft_snapshot_writer *writer) {
  (void)user_data, (void)request, (void)snapshot;
  return libraft_snapshot_writer_write(writer, "nothing", 7, NULL);
}

static int32_t restore_nothing(void *user_data, libraft_request *request,
                               libraft_snapshot_reader *reader) {
  char bytes[8];
  size_t length = 0;
  (void)user_data, (void)request;
  return libraft_snapshot_reader_read(reader, bytes, sizeof(bytes), &length, NULL);
}

static void count_destroyed(void *user_data) {
  free(user_data);
  gate_pass(&destroyed);
}

static void open_some(int i) {
  libraft_node *node = NULL;
  libraft_node_options options = node_options((uint64_t)i + 1, directories[i]);
  options.listen_address = addresses[i];
  if (libraft_node_open(&options, &node, NULL) == LIBRAFT_OK) {
    libraft_node_free(put((void **)&nodes[i], node));
  }
}

static void start_some(int i) {
  void *peeked = NULL;
  libraft_group *group = NULL;
  libraft_initial_member members[NODES];
  libraft_group_options options;
  libraft_state_machine machine;
  OK(libraft_group_options_init(&options));
  OK(libraft_state_machine_init(&machine));
  memset(members, 0, sizeof(members));
  for (int k = 0; k < NODES; k++) {
    members[k].node_id = (uint64_t)k + 1;
    members[k].address = addresses[k];
  }
  options.group_id = 1;
  options.initial_members = members;
  options.initial_members_count = NODES;
  options.proposal_timeout_ms = 500;
  options.snapshot_entries = 50;
  machine.user_data = malloc(1);
  machine.destroy = count_destroyed;
  machine.apply = apply_anything;
  machine.save_snapshot = save_nothing;
  machine.restore_snapshot = restore_nothing;
  machine.quick = i % 2;
  count(&started);
  if (libraft_group_start(PEEK(nodes[i]), &options, &machine, &group, NULL) == LIBRAFT_OK) {
    libraft_group_free(put((void **)&groups[i], group));
  }
}

static void call_some(int i, int what) {
  void *peeked = NULL;
  libraft_group *group = PEEK(groups[i]);
  libraft_completer completer;
  OK(libraft_completer_init(&completer));
  completer.callback = completion_seen;
  completer.quick = what % 2;
  int32_t code = what < 10   ? libraft_group_propose(group, "anything", 8, &completer, NULL, NULL)
                 : what < 12 ? libraft_group_read_index(group, &completer, NULL, NULL)
                 : what < 13 ? libraft_group_take_snapshot(group, &completer, NULL, NULL)
                             : libraft_group_transfer_leadership(group, (uint64_t)what % 4,
                                                                 &completer, NULL, NULL);
  if (code == LIBRAFT_OK) {
    count(&accepted);
  }
}

static void queue_some(int i) {
  void *peeked = NULL;
  size_t taken = 0;
  libraft_queue *queue = NULL;
  libraft_queue_event events[4];
  libraft_completer completer;
  OK(libraft_completer_init(&completer));
  completer.queue = PEEK(queues[i]);
  (void)libraft_group_propose(PEEK(groups[i]), "queued", 6, &completer, NULL, NULL);
  (void)libraft_queue_poll(PEEK(queues[i]), events, 4, 1, &taken, NULL);
  if (taken == 0) {
    OK(libraft_queue_open(NULL, &queue, &failure));
    libraft_queue_free(put((void **)&queues[i], queue));
  }
}

/* Returns whether `what` was something that ends something. */
static int end_some(int i, int what) {
  void *peeked = NULL;
  switch (what) {
    case 0: (void)libraft_node_close(PEEK(nodes[i]), NULL); return 1;
    case 1: (void)libraft_node_close_async(PEEK(nodes[i]), NULL, NULL, NULL); return 1;
    case 2: libraft_node_free(PEEK(nodes[i])); return 1;
    case 3: (void)libraft_group_stop(PEEK(groups[i]), NULL); return 1;
    case 4: (void)libraft_group_stop_async(PEEK(groups[i]), NULL, NULL, NULL); return 1;
    case 5: libraft_group_free(PEEK(groups[i])); return 1;
    default: return 0;
  }
}

static void *do_anything(void *argument) {
  unsigned chance = (unsigned)(size_t)argument;
  void *peeked = NULL;
  for (int step = 0; step < STEPS; step++) {
    int i = rand_r(&chance) % NODES, what = rand_r(&chance) % 40;
    libraft_group *group = NULL;
    if (end_some(i, rand_r(&chance) % 400)) {
      continue;
    }
    switch (what) {
      case 36: open_some(i); break;
      case 37: start_some(i); break;
      case 38: queue_some(i); break;
      case 39:
        if (libraft_node_group(PEEK(nodes[i]), 1, &group, NULL) == LIBRAFT_OK) {
          libraft_group_free(put((void **)&groups[i], group));
        }
        break;
      default: call_some(i, what % 16);
    }
  }
  return NULL;
}

static void anything_may_happen_at_any_time(void) {
  pthread_t threads[THREADS];
  for (int i = 0; i < NODES; i++) {
    addresses[i] = fresh_address();
    directories[i] = fresh_directory();
    open_some(i);
    start_some(i);
  }
  for (size_t i = 0; i < THREADS; i++) {
    CHECK(pthread_create(&threads[i], NULL, do_anything, (void *)(i + 1)) == 0);
  }
  for (int i = 0; i < THREADS; i++) {
    CHECK(pthread_join(threads[i], NULL) == 0);
  }
  for (int i = 0; i < NODES; i++) {
    (void)libraft_node_close(nodes[i], NULL);
    libraft_node_free(nodes[i]);
    libraft_group_free(groups[i]);
    libraft_queue_free(queues[i]);
  }
  gate_wait(&destroyed, started);
  gate_wait(&completed, accepted);
  CHECK_EQ(gate_passed(&destroyed), started);
  CHECK_EQ(gate_passed(&completed), accepted);
  CHECK(accepted > 0 && started > 2);
}

int main(void) {
  RUN(anything_may_happen_at_any_time);
  return 0;
}
