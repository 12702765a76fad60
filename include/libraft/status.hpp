// Status and events: what nodes and groups say of themselves.
#ifndef LIBRAFT_STATUS_HPP
#define LIBRAFT_STATUS_HPP

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "error.hpp"

LIBRAFT_NAMESPACE_BEGIN

/// The 16 bytes that name a data directory, or the formation of a group.
using Uuid = std::array<std::uint8_t, 16>;

namespace detail {

inline Uuid uuid(const std::uint8_t (&bytes)[16]) noexcept {
  Uuid uuid{};
  std::copy(std::begin(bytes), std::end(bytes), uuid.begin());
  return uuid;
}

}  // namespace detail

/// What a node says of itself.
struct NodeStatus {
  std::string cluster;
  std::uint64_t node_id = 0;
  /// The address that peers connect to, with the actual port.
  std::string address;
  /// Names this data directory: a wiped node has another.
  Uuid incarnation{};
  /// How often the data directory was opened.
  std::uint64_t boot_counter = 0;
  /// Groups on this node.
  std::uint64_t groups = 0;
  /// Peers that are connected now.
  std::uint64_t connected_peers = 0;
  /// Frames that were refused since the node was opened.
  std::uint64_t refused_frames = 0;
  /// Connections that were refused since the node was opened.
  std::uint64_t refused_connections = 0;
  /// The journal's bytes on the disk.
  std::uint64_t journal_bytes = 0;
  /// The checkpoint's bytes on the disk.
  std::uint64_t checkpoint_bytes = 0;
  /// Journal segments in use.
  std::uint64_t segments = 0;
  /// Whether new entries are refused for want of space.
  bool full = false;
  /// Code::ok, or of the error that put the node out of service; see Node::failure.
  Code failure_code = Code::ok;
};

/// What a replica is at the moment.
enum class Role : std::int32_t {
  /// An initial member that has not met all others, or an empty replica that waits to be added.
  forming = LIBRAFT_ROLE_FORMING,
  follower = LIBRAFT_ROLE_FOLLOWER,
  pre_candidate = LIBRAFT_ROLE_PRE_CANDIDATE,
  candidate = LIBRAFT_ROLE_CANDIDATE,
  leader = LIBRAFT_ROLE_LEADER,
  /// Gets all entries but does not vote.
  learner = LIBRAFT_ROLE_LEARNER,
  /// Stopped by a failure, or removed from the group.
  stopped = LIBRAFT_ROLE_STOPPED,
};

/// What a group says of its replica on this node.
struct GroupStatus {
  std::uint64_t group_id = 0;
  /// This replica's number within the group; 0 while it waits to be added.
  std::uint64_t raft_id = 0;
  /// Names this formation of the group; zero while it forms.
  Uuid formation{};
  std::uint64_t term = 0;
  /// The first index that the log holds.
  std::uint64_t first_index = 0;
  /// The last index that the log holds.
  std::uint64_t last_index = 0;
  /// Up to here entries are committed.
  std::uint64_t commit_index = 0;
  /// Up to here the state machine has applied.
  std::uint64_t applied_index = 0;
  /// The index of the latest snapshot; 0 if there is none.
  std::uint64_t snapshot_index = 0;
  /// Proposals and reads of this node that are pending.
  std::uint64_t pending_proposals = 0;
  /// Bytes of them.
  std::uint64_t pending_bytes = 0;
  /// The leader's node id; 0 if it is not known.
  std::uint64_t leader_node_id = 0;
  /// The address that the leader advertises; empty if it is not known.
  std::string leader_address;
  Role role = Role::forming;
  /// Code::ok, or of the error that stopped the group on this node; see Group::failure.
  Code failure_code = Code::ok;
};

/// What an event is about. A newer library may send others: ignore them.
enum class EventKind : std::int32_t {
  /// This replica's role changed: see `role` and `term`.
  role = LIBRAFT_EVENT_ROLE,
  /// Another leader is known, or none: see `node_id` and `term`.
  leader = LIBRAFT_EVENT_LEADER,
  /// Another membership is in force since `index`.
  membership = LIBRAFT_EVENT_MEMBERSHIP,
  /// A snapshot of this node's state was taken: see `index` and `bytes`.
  snapshot_taken = LIBRAFT_EVENT_SNAPSHOT_TAKEN,
  /// A snapshot from the leader was installed: see `index`.
  snapshot_installed = LIBRAFT_EVENT_SNAPSHOT_INSTALLED,
  /// The group is out of service on this node: see Group::failure.
  failed = LIBRAFT_EVENT_FAILED,
  /// A snapshot is being sent to a peer: see `node_id`, `index`, and `bytes` for how much so far.
  snapshot_sending = LIBRAFT_EVENT_SNAPSHOT_SENDING,
  /// A snapshot arrives from a peer: see `node_id`, `index`, and `bytes` for how much so far.
  snapshot_receiving = LIBRAFT_EVENT_SNAPSHOT_RECEIVING,
};

/// Something that happened to a group on this node. What a kind of event does not use is zero.
struct Event {
  EventKind kind = EventKind::role;
  Role role = Role::forming;
  std::uint64_t group_id = 0;
  std::uint64_t term = 0;
  std::uint64_t index = 0;
  /// The leader's node id, 0 if there is none; or the peer's.
  std::uint64_t node_id = 0;
  /// The bytes of a snapshot.
  std::uint64_t bytes = 0;
};

namespace detail {

inline NodeStatus node_status(const libraft_node_info &info) {
  NodeStatus status;
  status.cluster = info.cluster;
  status.node_id = info.node_id;
  status.address = info.address;
  status.incarnation = uuid(info.incarnation);
  status.boot_counter = info.boot_counter;
  status.groups = info.groups;
  status.connected_peers = info.connected_peers;
  status.refused_frames = info.refused_frames;
  status.refused_connections = info.refused_connections;
  status.journal_bytes = info.journal_bytes;
  status.checkpoint_bytes = info.checkpoint_bytes;
  status.segments = info.segments;
  status.full = info.full != 0;
  status.failure_code = static_cast<Code>(info.failure_code);
  return status;
}

inline GroupStatus group_status(const libraft_group_info &info) {
  GroupStatus status;
  status.group_id = info.group_id;
  status.raft_id = info.raft_id;
  status.formation = uuid(info.formation);
  status.term = info.term;
  status.first_index = info.first_index;
  status.last_index = info.last_index;
  status.commit_index = info.commit_index;
  status.applied_index = info.applied_index;
  status.snapshot_index = info.snapshot_index;
  status.pending_proposals = info.pending_proposals;
  status.pending_bytes = info.pending_bytes;
  status.leader_node_id = info.leader_node_id;
  status.leader_address = info.leader_address;
  status.role = static_cast<Role>(info.role);
  status.failure_code = static_cast<Code>(info.failure_code);
  return status;
}

inline Event event(const libraft_event &event) noexcept {
  return {static_cast<EventKind>(event.kind),
          static_cast<Role>(event.role),
          event.group_id,
          event.term,
          event.index,
          event.node_id,
          event.bytes};
}

}  // namespace detail
LIBRAFT_NAMESPACE_END

#endif
