/* Three nodes in one process: forming, following, leading, and changing who is a member. */
#include "harness.h"

enum { NODES = 3 };

typedef struct {
  libraft_node *node[NODES + 1];
  libraft_group *group[NODES + 1];
  memory *memory[NODES + 1];
  const char *directory[NODES + 1];
  char address[NODES + 1][64];
  libraft_initial_member members[NODES];
} cluster;

static void start_member(cluster *c, int i, size_t initial_members) {
  libraft_group_options options;
  libraft_state_machine machine;
  c->memory[i] = memory_new();
  machine = memory_machine(c->memory[i]);
  OK(libraft_group_options_init(&options));
  options.group_id = 1;
  options.proposal_timeout_ms = 5000;
  options.initial_members = initial_members > 0 ? c->members : NULL;
  options.initial_members_count = initial_members;
  OK(libraft_group_start(c->node[i], &options, &machine, &c->group[i], &failure));
}

static void open_member(cluster *c, int i) {
  c->directory[i] = fresh_directory();
  c->node[i] = open_node((uint64_t)i + 1, c->directory[i]);
  node_address(c->node[i], c->address[i], sizeof(c->address[i]));
}

static cluster *form(void) {
  cluster *c = calloc(1, sizeof(*c));
  CHECK(c != NULL);
  for (int i = 0; i < NODES; i++) {
    open_member(c, i);
    c->members[i].node_id = (uint64_t)i + 1;
    c->members[i].address = c->address[i];
  }
  for (int i = 0; i < NODES; i++) {
    start_member(c, i, NODES);
  }
  for (int i = 0; i < NODES; i++) {
    OK(libraft_group_wait_ready(c->group[i], 60000, &failure));
  }
  return c;
}

static void close_member(cluster *c, int i) {
  if (c->node[i] != NULL) {
    OK(libraft_node_close(c->node[i], &failure));
    libraft_group_free(c->group[i]);
    libraft_node_free(c->node[i]);
    memory_free(c->memory[i]);
    c->node[i] = NULL;
  }
}

static void close_cluster(cluster *c) {
  for (int i = 0; i <= NODES; i++) {
    close_member(c, i);
  }
  free(c);
}

/* The position of the leader, as it sees itself. */
static int leader_of(cluster *c) {
  for (;;) {
    for (int i = 0; i <= NODES; i++) {
      libraft_group_info info;
      if (c->node[i] == NULL) {
        continue;
      }
      OK(libraft_group_info_init(&info));
      OK(libraft_group_status(c->group[i], &info, &failure));
      if (info.role == LIBRAFT_ROLE_LEADER) {
        return i;
      }
    }
  }
}

static void propose_until_it_works(libraft_group *group, const char *text) {
  for (;;) {
    libraft_error *error = NULL;
    int32_t code = libraft_group_propose_wait(group, text, strlen(text), NULL, NULL, NULL, &error);
    record_code(code);
    int32_t retriable = libraft_error_retriable(error);
    if (code != LIBRAFT_OK && !retriable) {
      fprintf(stderr, "%s\n", libraft_error_message(error));
    }
    libraft_error_free(error);
    if (code == LIBRAFT_OK) {
      return;
    }
    CHECK(retriable);
  }
}

static void all_members_apply_the_same_whoever_proposes(void) {
  cluster *c = form();
  for (int i = 0; i < NODES; i++) {
    for (int j = 0; j < 10; j++) {
      propose_until_it_works(c->group[i], i == 0 ? "a" : i == 1 ? "b" : "c");
    }
  }
  for (int i = 0; i < NODES; i++) {
    OK(libraft_group_read_index_wait(c->group[i], NULL, &failure));
    CHECK_EQ(c->memory[i]->entries, 30);
    CHECK(memcmp(c->memory[i]->bytes, c->memory[0]->bytes, 30) == 0);
  }
  libraft_members *members = NULL;
  OK(libraft_group_members(c->group[1], &members, &failure));
  CHECK_EQ(libraft_members_count(members), NODES);
  libraft_members_free(members);
  close_cluster(c);
}

static void only_the_leader_changes_the_membership_and_the_error_names_it(void) {
  cluster *c = form();
  int leader = leader_of(c), follower = (leader + 1) % NODES;
  libraft_change change = {LIBRAFT_CHANGE_DEMOTE, 0, (uint64_t)follower + 1, NULL, {0, 0, 0}};
  libraft_error *error = NULL;
  uint64_t node_id = 0;
  const char *address = NULL;
  int32_t code = libraft_group_change_membership_wait(c->group[follower], &change, 1, &error);
  record_code(code);
  CHECK_EQ(code, LIBRAFT_ERR_NOT_LEADER);
  CHECK_EQ(libraft_error_leader(error, &node_id, &address), LIBRAFT_OK);
  CHECK_EQ(node_id, leader + 1);
  CHECK(strcmp(address, c->address[leader]) == 0);
  libraft_error_free(error);
  EXPECT(LIBRAFT_ERR_NOT_LEADER,
         libraft_group_transfer_leadership_wait(c->group[follower], node_id, &failure));
  close_cluster(c);
}

static void leadership_moves_to_where_it_is_asked_to(void) {
  cluster *c = form();
  sight s = SIGHT;
  libraft_completer completer = seen_by_callback(0);
  int leader = leader_of(c), next = (leader + 1) % NODES;
  propose_until_it_works(c->group[leader], "x");
  EXPECT(LIBRAFT_ERR_UNKNOWN_MEMBER,
         libraft_group_transfer_leadership_wait(c->group[leader], 77, &failure));
  OK(libraft_group_transfer_leadership_wait(c->group[leader], (uint64_t)next + 1, &failure));
  propose_until_it_works(c->group[next], "y");
  CHECK_EQ(leader_of(c), next);
  OK(libraft_group_transfer_leadership(c->group[next], (uint64_t)leader + 1, &completer, &s,
                                       &failure));
  gate_wait(&s.done, 1);
  CHECK_EQ(s.last.code, LIBRAFT_OK);
  close_cluster(c);
}

/* What was heard of snapshots between nodes. */
typedef struct {
  gate sending, receiving, installed;
  uint64_t peer;
} transfers;

static void hear_of_transfers(void *user_data, const libraft_event *event) {
  transfers *t = user_data;
  if (event->kind == LIBRAFT_EVENT_SNAPSHOT_SENDING ||
      event->kind == LIBRAFT_EVENT_SNAPSHOT_RECEIVING) {
    CHECK_EQ(event->node_id, t->peer);
    CHECK(event->index > 0);
    gate_pass(event->kind == LIBRAFT_EVENT_SNAPSHOT_SENDING ? &t->sending : &t->receiving);
  }
  if (event->kind == LIBRAFT_EVENT_SNAPSHOT_INSTALLED) {
    gate_pass(&t->installed);
  }
}

static void a_member_is_added_caught_up_promoted_and_removed(void) {
  static transfers at_leader = {GATE, GATE, GATE, NODES + 1}, at_joiner = {GATE, GATE, GATE, 0};
  cluster *c = form();
  sight s = SIGHT;
  libraft_completer completer = seen_by_callback(0);
  int leader = leader_of(c);
  libraft_group *group = c->group[leader];
  for (int i = 0; i < 20; i++) {
    propose_until_it_works(group, "before");
  }
  open_member(c, NODES);
  start_member(c, NODES, 0);
  EXPECT(LIBRAFT_ERR_TIMEOUT, libraft_group_wait_ready(c->group[NODES], 50, &failure));
  at_joiner.peer = (uint64_t)leader + 1;
  OK(libraft_group_set_event_callback(group, hear_of_transfers, &at_leader, NULL, &failure));
  OK(libraft_group_set_event_callback(c->group[NODES], hear_of_transfers, &at_joiner, NULL,
                                      &failure));

  libraft_change add = {LIBRAFT_CHANGE_ADD_LEARNER, 0, NODES + 1, c->address[NODES], {0, 0, 0}};
  OK(libraft_group_change_membership(group, &add, 1, &completer, &s, &failure));
  gate_wait(&s.done, 1);
  CHECK_EQ(s.last.code, LIBRAFT_OK);
  OK(libraft_group_wait_ready(c->group[NODES], 60000, &failure));
  gate_wait(&at_leader.sending, 1);
  gate_wait(&at_joiner.receiving, 1);
  gate_wait(&at_joiner.installed, 1);
  propose_until_it_works(group, "after");
  OK(libraft_group_read_index_wait(c->group[NODES], NULL, &failure));
  CHECK_EQ(c->memory[NODES]->length, c->memory[leader]->length);
  CHECK(memcmp(c->memory[NODES]->bytes, c->memory[leader]->bytes, c->memory[leader]->length) == 0);

  libraft_change change[2] = {{LIBRAFT_CHANGE_PROMOTE, 0, NODES + 1, NULL, {0, 0, 0}},
                              {LIBRAFT_CHANGE_REMOVE, 0, 0, NULL, {0, 0, 0}}};
  change[1].node_id = (uint64_t)((leader + 1) % NODES) + 1;
  OK(libraft_group_change_membership_wait(group, change, 2, &failure));
  libraft_members *members = NULL;
  OK(libraft_group_members(group, &members, &failure));
  CHECK_EQ(libraft_members_count(members), NODES);
  for (size_t i = 0; i < NODES; i++) {
    CHECK(libraft_members_at(members, i)->node_id != change[1].node_id);
    CHECK_EQ(libraft_members_at(members, i)->role, LIBRAFT_MEMBER_VOTER);
  }
  libraft_members_free(members);
  propose_until_it_works(group, "end");
  close_cluster(c);
}

static void impossible_changes_are_refused(void) {
  cluster *c = form();
  libraft_group *group = c->group[leader_of(c)];
  libraft_change change = {LIBRAFT_CHANGE_REMOVE, 0, 99, NULL, {0, 0, 0}};
  EXPECT(LIBRAFT_ERR_UNKNOWN_MEMBER,
         libraft_group_change_membership_wait(group, &change, 1, &failure));
  libraft_change none[NODES];
  for (int i = 0; i < NODES; i++) {
    libraft_change remove = {LIBRAFT_CHANGE_REMOVE, 0, (uint64_t)i + 1, NULL, {0, 0, 0}};
    none[i] = remove;
  }
  EXPECT(LIBRAFT_ERR_MEMBERSHIP_INVALID,
         libraft_group_change_membership_wait(group, none, NODES, &failure));
  libraft_change stranger = {LIBRAFT_CHANGE_ADD_VOTER, 0, 50, "127.0.0.1:1", {0, 0, 0}};
  EXPECT(LIBRAFT_ERR_UNREACHABLE,
         libraft_group_change_membership_wait(group, &stranger, 1, &failure));
  close_cluster(c);
}

static void a_node_that_is_not_the_one_to_be_added_is_refused(void) {
  cluster *c = form();
  libraft_group *group = c->group[leader_of(c)];
  libraft_change mistaken = {LIBRAFT_CHANGE_ADD_VOTER, 0, 50, c->address[0], {0, 0, 0}};
  EXPECT(LIBRAFT_ERR_HANDSHAKE_REFUSED,
         libraft_group_change_membership_wait(group, &mistaken, 1, &failure));

  libraft_node_options options = node_options(50, fresh_directory());
  libraft_node *foreign = NULL;
  char address[64];
  options.cluster = "another";
  OK(libraft_node_open(&options, &foreign, &failure));
  node_address(foreign, address, sizeof(address));
  libraft_change add = {LIBRAFT_CHANGE_ADD_VOTER, 0, 50, address, {0, 0, 0}};
  EXPECT(LIBRAFT_ERR_HANDSHAKE_REFUSED,
         libraft_group_change_membership_wait(group, &add, 1, &failure));
  OK(libraft_node_close(foreign, &failure));
  libraft_node_free(foreign);
  propose_until_it_works(group, "x");
  close_cluster(c);
}

static void a_second_change_is_refused_while_one_is_under_way(void) {
  cluster *c = form();
  sight first = SIGHT, second = SIGHT;
  hold until_both_are_asked_for = HOLD;
  libraft_completer completer = seen_by_callback(0);
  libraft_group *group = c->group[leader_of(c)];
  libraft_change change = {LIBRAFT_CHANGE_SET_ADDRESS, 0, 1, c->address[0], {0, 0, 0}};
  hold_up(group, &until_both_are_asked_for);
  OK(libraft_group_change_membership(group, &change, 1, &completer, &first, &failure));
  OK(libraft_group_change_membership(group, &change, 1, &completer, &second, &failure));
  gate_pass(&until_both_are_asked_for.go_on);
  gate_wait(&second.done, 1);
  CHECK_EQ(second.last.code, LIBRAFT_ERR_MEMBERSHIP_BUSY);
  CHECK_EQ(second.last.outcome, LIBRAFT_OUTCOME_REJECTED);
  gate_wait(&first.done, 1);
  CHECK_EQ(first.last.code, LIBRAFT_OK);
  OK(libraft_group_change_membership_wait(group, &change, 1, &failure));
  close_cluster(c);
}

static void hear_of_failure(void *user_data, const libraft_event *event) {
  if (event->kind == LIBRAFT_EVENT_FAILED) {
    gate_pass(user_data);
  }
}

static void a_member_that_was_removed_says_so(void) {
  static gate failed = GATE;
  cluster *c = form();
  int leader = leader_of(c), removed = (leader + 1) % NODES;
  libraft_change remove = {LIBRAFT_CHANGE_REMOVE, 0, (uint64_t)removed + 1, NULL, {0, 0, 0}};
  OK(libraft_group_set_event_callback(c->group[removed], hear_of_failure, &failed, NULL,
                                      &failure));
  OK(libraft_group_change_membership_wait(c->group[leader], &remove, 1, &failure));
  gate_wait(&failed, 1);
  EXPECT(LIBRAFT_ERR_REMOVED,
         libraft_group_propose_wait(c->group[removed], "x", 1, NULL, NULL, NULL, &failure));
  EXPECT(LIBRAFT_ERR_REMOVED, libraft_group_wait_ready(c->group[removed], 60000, &failure));
  propose_until_it_works(c->group[leader], "y");
  close_cluster(c);
}

static void contradicting_initial_members_are_refused(void) {
  cluster *c = form();
  libraft_group_options options;
  libraft_group *group = NULL;
  memory *m = memory_new();
  libraft_state_machine machine = memory_machine(m);
  libraft_initial_member other[2] = {{1, NULL, {0, 0}}, {9, "127.0.0.1:9", {0, 0}}};
  other[0].address = c->address[0];
  OK(libraft_group_stop(c->group[0], &failure));
  OK(libraft_group_options_init(&options));
  options.group_id = 1;
  options.initial_members = other;
  options.initial_members_count = 2;
  int32_t code = libraft_group_start(c->node[0], &options, &machine, &group, NULL);
  if (code == LIBRAFT_OK) {
    code = libraft_group_wait_ready(group, 60000, NULL);
  }
  record_code(code);
  CHECK_EQ(code, LIBRAFT_ERR_INITIAL_MEMBERS_CONFLICT);
  libraft_group_free(group);
  close_cluster(c);
  memory_free(m);
}

static void initial_members_without_this_node_are_refused(void) {
  libraft_node *node = open_node(1, fresh_directory());
  libraft_group_options options;
  libraft_group *group = NULL;
  memory *m = memory_new();
  libraft_state_machine machine = memory_machine(m);
  libraft_initial_member other = {2, "127.0.0.1:9", {0, 0}};
  OK(libraft_group_options_init(&options));
  options.group_id = 1;
  options.initial_members = &other;
  options.initial_members_count = 1;
  int32_t code = libraft_group_start(node, &options, &machine, &group, NULL);
  if (code == LIBRAFT_OK) {
    code = libraft_group_wait_ready(group, 60000, NULL);
  }
  record_code(code);
  CHECK_EQ(code, LIBRAFT_ERR_INITIAL_MEMBERS_CONFLICT);
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);
  memory_free(m);
}

static void a_group_that_forms_says_so(void) {
  libraft_node *node = open_node(1, fresh_directory());
  libraft_group_options options;
  libraft_group_info info;
  libraft_group *group = NULL;
  memory *m = memory_new();
  libraft_state_machine machine = memory_machine(m);
  char address[64];
  node_address(node, address, sizeof(address));
  libraft_initial_member members[2] = {{1, NULL, {0, 0}}, {2, "127.0.0.1:9", {0, 0}}};
  members[0].address = address;
  OK(libraft_group_options_init(&options));
  options.group_id = 1;
  options.initial_members = members;
  options.initial_members_count = 2;
  OK(libraft_group_start(node, &options, &machine, &group, &failure));
  EXPECT(LIBRAFT_ERR_TIMEOUT, libraft_group_wait_ready(group, 100, &failure));
  EXPECT(LIBRAFT_ERR_FORMING, libraft_group_take_snapshot_wait(group, NULL, &failure));
  OK(libraft_group_info_init(&info));
  OK(libraft_group_status(group, &info, &failure));
  CHECK_EQ(info.role, LIBRAFT_ROLE_FORMING);
  OK(libraft_node_close(node, &failure));
  libraft_group_free(group);
  libraft_node_free(node);
  memory_free(m);
}

static void without_a_majority_a_proposal_fails_in_time_and_its_outcome_is_told(void) {
  cluster *c = form();
  int leader = leader_of(c);
  libraft_error *error = NULL;
  propose_until_it_works(c->group[leader], "x");
  close_member(c, (leader + 1) % NODES);
  close_member(c, (leader + 2) % NODES);
  int32_t code = libraft_group_propose_wait(c->group[leader], "x", 1, NULL, NULL, NULL, &error);
  record_code(code);
  CHECK(code == LIBRAFT_ERR_TIMEOUT || code == LIBRAFT_ERR_OUTCOME_LOST ||
        code == LIBRAFT_ERR_NO_LEADER || code == LIBRAFT_ERR_NOT_LEADER);
  if (code == LIBRAFT_ERR_TIMEOUT || code == LIBRAFT_ERR_OUTCOME_LOST) {
    CHECK_EQ(libraft_error_outcome(error), LIBRAFT_OUTCOME_UNKNOWN);
    CHECK_EQ(libraft_error_retriable(error), 0);
  }
  libraft_error_free(error);
  /* By now it has seen that it does not lead any more. */
  code = libraft_group_propose_wait(c->group[leader], "x", 1, NULL, NULL, NULL, NULL);
  record_code(code);
  CHECK(code == LIBRAFT_ERR_NO_LEADER || code == LIBRAFT_ERR_TIMEOUT);
  close_cluster(c);
}

int main(void) {
  RUN(all_members_apply_the_same_whoever_proposes);
  RUN(only_the_leader_changes_the_membership_and_the_error_names_it);
  RUN(leadership_moves_to_where_it_is_asked_to);
  RUN(a_member_is_added_caught_up_promoted_and_removed);
  RUN(impossible_changes_are_refused);
  RUN(a_node_that_is_not_the_one_to_be_added_is_refused);
  RUN(a_second_change_is_refused_while_one_is_under_way);
  RUN(a_member_that_was_removed_says_so);
  RUN(contradicting_initial_members_are_refused);
  RUN(initial_members_without_this_node_are_refused);
  RUN(a_group_that_forms_says_so);
  RUN(without_a_majority_a_proposal_fails_in_time_and_its_outcome_is_told);
  return 0;
}
