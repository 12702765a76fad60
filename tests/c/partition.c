/* Three nodes, of which one is cut off for a while: what its callers are told when it is back. */
#include "harness.h"

#include <poll.h>

enum { NODES = 3 };

/* Stands before a member, takes connections to it, and can cut them. */
typedef struct {
  pthread_t thread;
  int listener, wake[2];
  struct sockaddr_in target;
  pthread_mutex_t mutex;
  int is_cut, is_over;
  gate turned;
} relay;

enum { PAIRS = 64 };

static struct sockaddr_in parsed(const char *address) {
  struct sockaddr_in parsed;
  memset(&parsed, 0, sizeof(parsed));
  parsed.sin_family = AF_INET;
  parsed.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  parsed.sin_port = htons((uint16_t)atoi(strchr(address, ':') + 1));
  return parsed;
}

static int pass_on(int from, int to) {
  char bytes[16 << 10];
  ssize_t count = read(from, bytes, sizeof(bytes));
  for (ssize_t done = 0; done < count;) {
    ssize_t written = send(to, bytes + done, (size_t)(count - done), MSG_NOSIGNAL);
    if (written <= 0) {
      return 0;
    }
    done += written;
  }
  return count > 0;
}

/* The connection at `at` and the next one are the two sides of one. */
static void drop_pair(struct pollfd *polled, nfds_t *count, nfds_t at) {
  CHECK(close(polled[at].fd) == 0 && close(polled[at + 1].fd) == 0);
  polled[at] = polled[*count - 2];
  polled[at + 1] = polled[*count - 1];
  *count -= 2;
}

static void take_connection(relay *r, struct pollfd *polled, nfds_t *count, int is_cut) {
  int fd = accept(r->listener, NULL, NULL), to = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(fd >= 0 && to >= 0);
  if (is_cut || *count + 2 > 2 + 2 * PAIRS ||
      connect(to, (struct sockaddr *)&r->target, sizeof(r->target)) != 0) {
    CHECK(close(fd) == 0 && close(to) == 0);
    return;
  }
  polled[*count].fd = fd;
  polled[*count + 1].fd = to;
  polled[*count].events = polled[*count + 1].events = POLLIN;
  polled[*count].revents = polled[*count + 1].revents = 0;
  *count += 2;
}

static void *run_relay(void *user_data) {
  relay *r = user_data;
  struct pollfd polled[2 + 2 * PAIRS] = {{0, POLLIN, 0}, {0, POLLIN, 0}};
  nfds_t count = 2;
  int is_cut = 0, is_over = 0;
  polled[0].fd = r->wake[0];
  polled[1].fd = r->listener;
  while (!is_over) {
    char byte;
    CHECK(poll(polled, count, -1) > 0);
    int was_woken = polled[0].revents != 0, is_asked = polled[1].revents != 0;
    if (was_woken) {
      CHECK(read(r->wake[0], &byte, 1) == 1);
      pthread_mutex_lock(&r->mutex);
      is_cut = r->is_cut;
      is_over = r->is_over;
      pthread_mutex_unlock(&r->mutex);
    }
    for (nfds_t at = count; at > 2;) {
      at -= 2;
      int fine = !is_cut && !is_over;
      for (nfds_t side = 0; side < 2 && fine; side++) {
        if (polled[at + side].revents != 0) {
          fine = pass_on(polled[at + side].fd, polled[at + 1 - side].fd);
        }
      }
      if (!fine) {
        drop_pair(polled, &count, at);
      }
    }
    if (is_asked) {
      take_connection(r, polled, &count, is_cut || is_over);
    }
    if (was_woken) {
      gate_pass(&r->turned);
    }
  }
  return NULL;
}

/* Returns when it is so. */
static void turn_relay(relay *r, int is_cut, int is_over) {
  uint64_t turned = gate_passed(&r->turned);
  pthread_mutex_lock(&r->mutex);
  r->is_cut = is_cut;
  r->is_over = is_over;
  pthread_mutex_unlock(&r->mutex);
  CHECK(write(r->wake[1], "!", 1) == 1);
  gate_wait(&r->turned, turned + 1);
}

static void start_relay(relay *r, const char *address, const char *target) {
  struct sockaddr_in own = parsed(address);
  int yes = 1;
  memset(r, 0, sizeof(*r));
  pthread_mutex_init(&r->mutex, NULL);
  pthread_mutex_init(&r->turned.mutex, NULL);
  pthread_cond_init(&r->turned.changed, NULL);
  r->listener = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(r->listener >= 0 && pipe(r->wake) == 0);
  CHECK(setsockopt(r->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0);
  CHECK(bind(r->listener, (struct sockaddr *)&own, sizeof(own)) == 0);
  CHECK(listen(r->listener, 64) == 0);
  r->target = parsed(target);
  CHECK(pthread_create(&r->thread, NULL, run_relay, r) == 0);
}

static void end_relay(relay *r) {
  turn_relay(r, 1, 1);
  CHECK(pthread_join(r->thread, NULL) == 0);
  CHECK(close(r->listener) == 0 && close(r->wake[0]) == 0 && close(r->wake[1]) == 0);
}

/* A member, at an address that stays the same when it is opened again. */
typedef struct {
  libraft_node *node;
  libraft_group *group;
  memory *memory;
  const char *directory, *listen_address, *address;
} member;

static libraft_initial_member initial[NODES];

static void open_again(member *m, uint64_t node_id) {
  libraft_node_options options = node_options(node_id, m->directory);
  libraft_group_options group_options;
  m->memory = memory_new();
  libraft_state_machine machine = memory_machine(m->memory);
  options.listen_address = m->listen_address;
  options.advertised_address = m->address;
  options.tick_ms = 100; /* nothing here may cost an election on a busy machine */
  OK(libraft_node_open(&options, &m->node, &failure));
  OK(libraft_group_options_init(&group_options));
  group_options.group_id = 1;
  group_options.initial_members = initial;
  group_options.initial_members_count = NODES;
  group_options.retained_entries = 0;
  group_options.proposal_timeout_ms = 60000;
  OK(libraft_group_start(m->node, &group_options, &machine, &m->group, &failure));
}

/* The others find the last member behind the relay, if there is one. */
static void form(member *members, relay *r) {
  for (int i = 0; i < NODES; i++) {
    members[i].directory = fresh_directory();
    members[i].listen_address = fresh_address();
    members[i].address = members[i].listen_address;
    if (i == NODES - 1 && r != NULL) {
      members[i].address = fresh_address();
      start_relay(r, members[i].address, members[i].listen_address);
    }
    initial[i].node_id = (uint64_t)i + 1;
    initial[i].address = members[i].address;
  }
  for (int i = 0; i < NODES; i++) {
    open_again(&members[i], (uint64_t)i + 1);
  }
  for (int i = 0; i < NODES; i++) {
    OK(libraft_group_wait_ready(members[i].group, 60000, &failure));
  }
}

static void close_member(member *m) {
  OK(libraft_node_close(m->node, &failure));
  libraft_group_free(m->group);
  libraft_node_free(m->node);
  memory_free(m->memory);
}

static libraft_group_info info_of(member *m) {
  libraft_group_info info;
  OK(libraft_group_info_init(&info));
  OK(libraft_group_status(m->group, &info, &failure));
  return info;
}

static void lead(member *m, uint64_t node_id) {
  time_t patience = time(NULL) + 60;
  while (info_of(m).role != LIBRAFT_ROLE_LEADER) {
    CHECK(time(NULL) < patience);
    for (int i = 0; i < NODES; i++) {
      member *other = m - (node_id - 1) + i;
      int32_t code = libraft_group_transfer_leadership_wait(other->group, node_id, NULL);
      record_code(code);
    }
  }
}

static void propose_until_it_works(member *m, const char *text) {
  int32_t retriable = 1, code = LIBRAFT_ERR_BUSY;
  while (code != LIBRAFT_OK) {
    libraft_error *error = NULL;
    CHECK(retriable);
    code = libraft_group_propose_wait(m->group, text, strlen(text), NULL, NULL, NULL, &error);
    record_code(code);
    retriable = libraft_error_retriable(error);
    libraft_error_free(error);
  }
}

static void a_proposal_that_a_new_leader_overwrote_is_rejected(void) {
  member members[NODES];
  sight s = SIGHT;
  hold until_others_are_gone = HOLD, until_others_decided = HOLD;
  libraft_completer completer = seen_by_callback(0);
  form(members, NULL);
  lead(&members[0], 1);
  propose_until_it_works(&members[0], "both have it;");
  hold_up(members[0].group, &until_others_are_gone);
  close_member(&members[1]);
  close_member(&members[2]);
  OK(libraft_group_propose(members[0].group, "lost;", 5, &completer, &s, &failure));
  /* It takes the proposal into its log, which nobody else has, and is held up again. */
  begin_to_hold_up(members[0].group, &until_others_decided);
  gate_pass(&until_others_are_gone.go_on);
  gate_wait(&until_others_decided.held, 1);
  open_again(&members[1], 2);
  open_again(&members[2], 3);
  propose_until_it_works(&members[1], "decided;");
  CHECK_EQ(gate_passed(&s.done), 0);
  gate_pass(&until_others_decided.go_on);
  gate_wait(&s.done, 1);
  CHECK_EQ(s.last.code, LIBRAFT_ERR_OVERWRITTEN);
  CHECK_EQ(s.last.outcome, LIBRAFT_OUTCOME_REJECTED);
  CHECK_EQ(s.completions, 1);
  OK(libraft_group_read_index_wait(members[0].group, NULL, &failure));
  CHECK(memcmp(members[0].memory->bytes, "both have it;decided;", 21) == 0);
  CHECK_EQ(members[0].memory->length, 21);
  for (int i = 0; i < NODES; i++) {
    close_member(&members[i]);
  }
}

static void what_became_of_a_proposal_that_a_snapshot_jumped_over_is_unknown(void) {
  member members[NODES];
  sight s = SIGHT;
  relay r;
  libraft_completer completer = seen_by_callback(0);
  form(members, &r);
  lead(&members[0], 1);
  propose_until_it_works(&members[2], "before;");
  OK(libraft_group_read_index_wait(members[2].group, NULL, &failure));
  uint64_t applied = gate_passed(&members[0].memory->applied);
  /* It is heard, and hears nothing. */
  turn_relay(&r, 1, 0);
  OK(libraft_group_propose(members[2].group, "jumped over;", 12, &completer, &s, &failure));
  gate_wait(&members[0].memory->applied, applied + 1);
  OK(libraft_group_take_snapshot_wait(members[0].group, NULL, &failure));
  CHECK_EQ(gate_passed(&s.done), 0);
  turn_relay(&r, 0, 0);
  gate_wait(&s.done, 1);
  CHECK_EQ(s.last.code, LIBRAFT_ERR_OUTCOME_LOST);
  CHECK_EQ(s.last.outcome, LIBRAFT_OUTCOME_UNKNOWN);
  CHECK_EQ(s.completions, 1);
  /* It did take effect. */
  OK(libraft_group_read_index_wait(members[2].group, NULL, &failure));
  CHECK_EQ(members[2].memory->restores, 1);
  CHECK_EQ(members[2].memory->length, 19);
  CHECK(memcmp(members[2].memory->bytes, "before;jumped over;", 19) == 0);
  for (int i = 0; i < NODES; i++) {
    close_member(&members[i]);
  }
  end_relay(&r);
}

int main(void) {
  RUN(a_proposal_that_a_new_leader_overwrote_is_rejected);
  RUN(what_became_of_a_proposal_that_a_snapshot_jumped_over_is_unknown);
  return 0;
}
