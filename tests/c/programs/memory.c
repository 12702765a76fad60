/* Memory stays where it is, however many proposals, batches, completions, errors and snapshots there are. The variable
 * LIBRAFT_MEMORY_PROPOSALS says how many proposals; a million is the default. Run by tests/c/run --memory. */
#include "../harness.h"

#define BATCH 64
#define VALUE "0123456789abcdef0123456789abcdef"

static gate called = GATE;

static void on_completions(void *user_data, const libraft_completion *completions, size_t count) {
  (void)user_data;
  for (size_t i = 0; i < count; i++) {
    CHECK_EQ(completions[i].code, LIBRAFT_OK);
    gate_pass(&called);
  }
}

static void on_event(void *user_data, const libraft_event *event) {
  (void)user_data, (void)event;
}

static uint64_t resident_bytes(void) {
  unsigned long long total = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  CHECK(file != NULL && fscanf(file, "%llu %llu", &total, &resident) == 2);
  CHECK(fclose(file) == 0);
  return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void drain(libraft_queue *queue, size_t wanted) {
  libraft_queue_event events[16];
  while (wanted > 0) {
    size_t count = 0;
    OK(libraft_queue_poll(queue, events, 16, 60000, &count, &failure));
    CHECK(count > 0);
    for (size_t i = 0; i < count; i++) {
      CHECK(events[i].completions_count <= wanted);
      wanted -= events[i].completions_count;
    }
  }
}

/* A batch of single proposals by callback, one through the queue, one as a batch each way, and mistakes. */
static uint64_t round_of_proposals(libraft_group *group, libraft_queue *queue, const char *data,
                                   const size_t *offsets) {
  libraft_completer by_callback, by_queue;
  uint64_t before = gate_passed(&called);
  OK(libraft_completer_init(&by_callback));
  by_callback.callback = on_completions;
  OK(libraft_completer_init(&by_queue));
  by_queue.queue = queue;
  for (size_t i = 0; i < BATCH; i++) {
    OK(libraft_group_propose(group, VALUE, strlen(VALUE), &by_callback, NULL, &failure));
    OK(libraft_group_propose(group, VALUE, strlen(VALUE), &by_queue, NULL, &failure));
  }
  OK(libraft_group_propose_batch(group, data, offsets, BATCH, &by_callback, NULL, &failure));
  OK(libraft_group_propose_batch(group, data, offsets, BATCH, &by_queue, NULL, &failure));
  EXPECT(LIBRAFT_ERR_EMPTY_PROPOSAL,
         libraft_group_propose(group, "", 0, &by_callback, NULL, &failure));
  drain(queue, 2 * BATCH);
  gate_wait(&called, before + 2 * BATCH);
  return 4 * BATCH;
}

static libraft_group *start(libraft_node *node, const libraft_state_machine *machine) {
  libraft_group *group = NULL;
  libraft_group_options options;
  libraft_initial_member member = {1, "127.0.0.1:0", {0, 0}};
  OK(libraft_group_options_init(&options));
  options.group_id = 1;
  options.initial_members = &member;
  options.initial_members_count = 1;
  options.snapshot_entries = 20000;
  options.retained_entries = 1000;
  options.entry_cache_bytes = 1 << 20;
  OK(libraft_group_start(node, &options, machine, &group, &failure));
  OK(libraft_group_wait_ready(group, 60000, &failure));
  OK(libraft_group_set_event_callback(group, on_event, NULL, NULL, &failure));
  return group;
}

int main(void) {
  const char *given = getenv("LIBRAFT_MEMORY_PROPOSALS");
  uint64_t proposals = given == NULL ? 1000000 : strtoull(given, NULL, 10), done = 0, early = 0;
  char data[BATCH * (sizeof(VALUE) - 1) + 1] = "";
  size_t offsets[BATCH + 1] = {0};
  libraft_queue *queue = NULL;
  memory *m = memory_new();
  libraft_state_machine machine = memory_machine(m);
  libraft_node *node = open_node(1, fresh_directory());
  libraft_group *group = start(node, &machine);
  for (size_t i = 0; i < BATCH; i++) {
    strcpy(data + offsets[i], VALUE);
    offsets[i + 1] = offsets[i] + strlen(VALUE);
  }
  OK(libraft_queue_open(NULL, &queue, &failure));
  while (done < proposals * 9 / 10) {
    done += round_of_proposals(group, queue, data, offsets);
    if (early == 0 && done >= proposals * 3 / 10) {
      early = resident_bytes();
    }
  }
  uint64_t late = resident_bytes(), allowed = early + early / 20 + (2 << 20);
  printf("%s memory: %" PRIu64 " KiB after 30%% of %" PRIu64 " proposals, %" PRIu64 " KiB after 90%%\n",
         late <= allowed ? "ok" : "FAILED", early >> 10, proposals, late >> 10);
  OK(libraft_node_close(node, &failure));
  libraft_queue_free(queue);
  libraft_group_free(group);
  libraft_node_free(node);
  memory_free(m);
  return late <= allowed ? 0 : 1;
}
