#define _GNU_SOURCE
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

static const char *const ROLES[] = {"forming", "follower", "pre_candidate", "candidate",
                                    "leader",  "learner",  "stopped"};
static const char *const MEMBER_ROLES[] = {"voter", "learner", "outgoing"};

static void print_failure(FILE *out, int32_t code, libraft_error *failure) {
  fprintf(out, " failure_code=%s", libraft_code_name(code));
  print_hex_text(out, "failure", libraft_error_message(failure));
  libraft_error_free(failure);
}

void answer_node_status(const char *id, libraft_node *node) {
  libraft_node_info info;
  libraft_error *error = NULL, *failure = NULL;
  libraft_node_info_init(&info);
  int32_t code = libraft_node_status(node, &info, &error);
  if (code != LIBRAFT_OK) {
    answer_code(id, code, error);
    return;
  }
  struct answer answer;
  answer_begin(&answer, id, "ok");
  fprintf(answer.out, " node_id=%" PRIu64 " incarnation=", info.node_id);
  print_hex(answer.out, info.incarnation, sizeof info.incarnation);
  fprintf(answer.out,
          " boot_counter=%" PRIu64 " groups=%" PRIu64 " connected_peers=%" PRIu64
          " refused_frames=%" PRIu64 " refused_connections=%" PRIu64 " journal_bytes=%" PRIu64
          " checkpoint_bytes=%" PRIu64 " segments=%" PRIu64 " full=%" PRId32 " cluster=%s",
          info.boot_counter, info.groups, info.connected_peers, info.refused_frames,
          info.refused_connections, info.journal_bytes, info.checkpoint_bytes, info.segments,
          info.full, info.cluster);
  print_hex_text(answer.out, "address", info.address);
  libraft_node_failure(node, &failure, NULL);
  print_failure(answer.out, info.failure_code, failure);
  answer_end(&answer);
}

void answer_group_status(const char *id, libraft_group *group) {
  libraft_group_info info;
  libraft_error *error = NULL, *failure = NULL;
  libraft_group_info_init(&info);
  int32_t code = libraft_group_status(group, &info, &error);
  if (code != LIBRAFT_OK) {
    answer_code(id, code, error);
    return;
  }
  struct answer answer;
  answer_begin(&answer, id, "ok");
  fprintf(answer.out,
          " group_id=%" PRIu64 " raft_id=%" PRIu64 " role=%s term=%" PRIu64 " first_index=%" PRIu64
          " last_index=%" PRIu64 " commit_index=%" PRIu64 " applied_index=%" PRIu64
          " snapshot_index=%" PRIu64 " pending_proposals=%" PRIu64 " pending_bytes=%" PRIu64
          " leader_node_id=%" PRIu64,
          info.group_id, info.raft_id, ROLES[info.role], info.term, info.first_index,
          info.last_index, info.commit_index, info.applied_index, info.snapshot_index,
          info.pending_proposals, info.pending_bytes, info.leader_node_id);
  print_hex_text(answer.out, "leader_address", info.leader_address);
  libraft_group_failure(group, &failure, NULL);
  print_failure(answer.out, info.failure_code, failure);
  answer_end(&answer);
}

void answer_members(const char *id, libraft_group *group) {
  libraft_members *members = NULL;
  libraft_error *error = NULL;
  int32_t code = libraft_group_members(group, &members, &error);
  if (code != LIBRAFT_OK) {
    answer_code(id, code, error);
    return;
  }
  struct answer answer;
  answer_begin(&answer, id, "ok");
  for (size_t i = 0; i < libraft_members_count(members); i++) {
    const libraft_member *member = libraft_members_at(members, i);
    fprintf(answer.out, " m=%" PRIu64 ":%" PRIu64 ":%s:", member->node_id, member->raft_id,
            MEMBER_ROLES[member->role]);
    print_hex(answer.out, member->address, strlen(member->address));
  }
  libraft_members_free(members);
  answer_end(&answer);
}

void answer_value(const char *id, struct machine *machine, const struct bytes *key,
                  uint64_t index) {
  struct answer answer;
  answer_begin(&answer, id, "ok");
  pthread_mutex_lock(&machine->mutex);
  const struct item *item = ledger_find(&machine->ledger, key->data, key->length);
  fprintf(answer.out, " index=%" PRIu64 " found=%d value=", index, item != NULL);
  print_hex(answer.out, item == NULL ? NULL : item->value.data,
            item == NULL ? 0 : item->value.length);
  pthread_mutex_unlock(&machine->mutex);
  answer_end(&answer);
}

void say_event(void *node_id, const libraft_event *event) {
  char line[256], rest[160];
  switch (event->kind) {
    case LIBRAFT_EVENT_ROLE:
      snprintf(rest, sizeof rest, "role role=%s term=%" PRIu64, ROLES[event->role], event->term);
      break;
    case LIBRAFT_EVENT_LEADER:
      snprintf(rest, sizeof rest, "leader node_id=%" PRIu64 " term=%" PRIu64, event->node_id,
               event->term);
      break;
    case LIBRAFT_EVENT_MEMBERSHIP:
      snprintf(rest, sizeof rest, "membership index=%" PRIu64, event->index);
      break;
    case LIBRAFT_EVENT_SNAPSHOT_TAKEN:
      snprintf(rest, sizeof rest, "snapshot_taken index=%" PRIu64 " bytes=%" PRIu64, event->index,
               event->bytes);
      break;
    case LIBRAFT_EVENT_SNAPSHOT_INSTALLED:
      snprintf(rest, sizeof rest, "snapshot_installed index=%" PRIu64, event->index);
      break;
    case LIBRAFT_EVENT_FAILED:
      snprintf(rest, sizeof rest, "failed");
      break;
    case LIBRAFT_EVENT_SNAPSHOT_SENDING:
    case LIBRAFT_EVENT_SNAPSHOT_RECEIVING:
      snprintf(rest, sizeof rest, "%s node_id=%" PRIu64 " index=%" PRIu64 " bytes=%" PRIu64,
               event->kind == LIBRAFT_EVENT_SNAPSHOT_SENDING ? "snapshot_sending"
                                                             : "snapshot_receiving",
               event->node_id, event->index, event->bytes);
      break;
    default:
      return;
  }
  snprintf(line, sizeof line, "! event node=%" PRIu64 " group=%" PRIu64 " kind=%s",
           *(const uint64_t *)node_id, event->group_id, rest);
  say_text(line);
}
