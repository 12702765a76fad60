#include "host.hpp"

namespace driver {

namespace {

const char *role_name(libraft::Role role) {
  static const char *const names[] = {"forming", "follower", "pre_candidate", "candidate",
                                      "leader",  "learner",  "stopped"};
  return names[static_cast<std::size_t>(role)];
}

const char *role_name(libraft::MemberRole role) {
  static const char *const names[] = {"voter", "learner", "outgoing"};
  return names[static_cast<std::size_t>(role)];
}

void add_failure(Words &words, libraft::Code code,
                 const libraft::Result<std::optional<libraft::Error>> &failure) {
  words.add("failure_code", code_name(code));
  words.add("failure", hex(failure && *failure ? (*failure)->message() : std::string()));
}

}  // namespace

libraft::Result<Words> describe(const libraft::Node &node) {
  const libraft::Result<libraft::NodeStatus> asked = node.status();
  if (!asked) {
    return asked.error();
  }
  const libraft::NodeStatus &status = *asked;
  Words words;
  words.add("node_id", status.node_id)
      .add("incarnation", hex(status.incarnation))
      .add("boot_counter", status.boot_counter)
      .add("groups", status.groups)
      .add("connected_peers", status.connected_peers)
      .add("refused_frames", status.refused_frames)
      .add("refused_connections", status.refused_connections)
      .add("journal_bytes", status.journal_bytes)
      .add("checkpoint_bytes", status.checkpoint_bytes)
      .add("segments", status.segments)
      .add("full", status.full ? 1 : 0)
      .add("cluster", status.cluster)
      .add("address", hex(status.address));
  add_failure(words, status.failure_code, node.failure());
  return words;
}

libraft::Result<Words> describe(const libraft::Group &group) {
  const libraft::Result<libraft::GroupStatus> asked = group.status();
  if (!asked) {
    return asked.error();
  }
  const libraft::GroupStatus &status = *asked;
  Words words;
  words.add("group_id", status.group_id)
      .add("raft_id", status.raft_id)
      .add("role", role_name(status.role))
      .add("term", status.term)
      .add("first_index", status.first_index)
      .add("last_index", status.last_index)
      .add("commit_index", status.commit_index)
      .add("applied_index", status.applied_index)
      .add("snapshot_index", status.snapshot_index)
      .add("pending_proposals", status.pending_proposals)
      .add("pending_bytes", status.pending_bytes)
      .add("leader_node_id", status.leader_node_id)
      .add("leader_address", hex(status.leader_address));
  add_failure(words, status.failure_code, group.failure());
  return words;
}

libraft::Result<Words> describe_members(const libraft::Group &group) {
  const libraft::Result<std::vector<libraft::Member>> members = group.members();
  if (!members) {
    return members.error();
  }
  Words words;
  for (const libraft::Member &member : *members) {
    words.add("m", std::to_string(member.node_id) + ":" + std::to_string(member.raft_id) + ":" +
                       role_name(member.role) + ":" + hex(member.address));
  }
  return words;
}

std::string describe(std::uint64_t node_id, const libraft::Event &event) {
  Words words;
  words.add("node", node_id).add("group", event.group_id);
  switch (event.kind) {
    case libraft::EventKind::role:
      words.add("kind", "role").add("role", role_name(event.role)).add("term", event.term);
      break;
    case libraft::EventKind::leader:
      words.add("kind", "leader").add("node_id", event.node_id).add("term", event.term);
      break;
    case libraft::EventKind::membership:
      words.add("kind", "membership").add("index", event.index);
      break;
    case libraft::EventKind::snapshot_taken:
      words.add("kind", "snapshot_taken").add("index", event.index).add("bytes", event.bytes);
      break;
    case libraft::EventKind::snapshot_installed:
      words.add("kind", "snapshot_installed").add("index", event.index);
      break;
    case libraft::EventKind::failed:
      words.add("kind", "failed");
      break;
    case libraft::EventKind::snapshot_sending:
    case libraft::EventKind::snapshot_receiving:
      words
          .add("kind", event.kind == libraft::EventKind::snapshot_sending ? "snapshot_sending"
                                                                          : "snapshot_receiving")
          .add("node_id", event.node_id)
          .add("index", event.index)
          .add("bytes", event.bytes);
      break;
    default:
      return {};
  }
  return "! event" + words.line();
}

}  // namespace driver
