// Options: what a node is opened with, and a group started.
#ifndef LIBRAFT_OPTIONS_HPP
#define LIBRAFT_OPTIONS_HPP

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "config.hpp"

LIBRAFT_NAMESPACE_BEGIN
namespace detail {

/// Milliseconds as the C API counts them; less than none is none.
inline std::uint64_t milliseconds(std::chrono::milliseconds time) noexcept {
  return time.count() > 0 ? static_cast<std::uint64_t>(time.count()) : 0;
}

inline std::chrono::milliseconds from_milliseconds(std::uint64_t count) noexcept {
  return std::chrono::milliseconds(static_cast<std::chrono::milliseconds::rep>(count));
}

/// Where an empty text says "none".
inline const char *or_null(const std::string &text) noexcept {
  return text.empty() ? nullptr : text.c_str();
}

inline const libraft_node_options &default_node_options() noexcept {
  static const libraft_node_options defaults = [] {
    libraft_node_options options;
    libraft_node_options_init(&options);
    return options;
  }();
  return defaults;
}

inline const libraft_group_options &default_group_options() noexcept {
  static const libraft_group_options defaults = [] {
    libraft_group_options options;
    libraft_group_options_init(&options);
    return options;
  }();
  return defaults;
}

}  // namespace detail

/// What a node is opened with. Set cluster, node_id and directory; the rest has defaults, which the
/// library gives.
struct NodeOptions {
  /// The cluster's name, 1 to 128 bytes of UTF-8. Nodes of different clusters refuse each other.
  std::string cluster;
  /// This node's id within the cluster, not 0.
  std::uint64_t node_id = 0;
  /// The data directory; created if missing. Each node has its own.
  std::string directory;
  /// Where snapshots are kept, if not below `directory`.
  std::string snapshot_directory;
  /// Address to listen on, "host:port" or "[ipv6]:port"; port 0 takes a free one.
  /// "127.0.0.1:0" if empty.
  std::string listen_address;
  /// The address that peers connect to; the one listened on if empty.
  std::string advertised_address;
  /// The length of a tick.
  std::chrono::milliseconds tick =
      detail::from_milliseconds(detail::default_node_options().tick_ms);
  /// Ticks without a heartbeat before a follower campaigns; up to twice this, drawn at random.
  std::uint64_t election_ticks = detail::default_node_options().election_ticks;
  /// Ticks between heartbeats.
  std::uint64_t heartbeat_ticks = detail::default_node_options().heartbeat_ticks;
  /// Threads that run state machines which are not quick.
  std::uint64_t apply_threads = detail::default_node_options().apply_threads;
  /// The size of a journal segment in bytes.
  std::uint64_t segment_bytes = detail::default_node_options().segment_bytes;
  /// Journal segments in use before the oldest is checkpointed.
  std::uint64_t segments_max = detail::default_node_options().segments_max;
  /// Bytes that must stay free on the disk.
  std::uint64_t free_bytes_min = detail::default_node_options().free_bytes_min;
  /// Allows listening beyond loopback although the transport is not encrypted.
  bool insecure_transport = false;

  /// The same for the C API; it points into this object.
  libraft_node_options to_c() const noexcept {
    libraft_node_options options = detail::default_node_options();
    options.cluster = detail::or_null(cluster);
    options.node_id = node_id;
    options.directory = detail::or_null(directory);
    options.snapshot_directory = detail::or_null(snapshot_directory);
    options.listen_address = detail::or_null(listen_address);
    options.advertised_address = detail::or_null(advertised_address);
    options.tick_ms = detail::milliseconds(tick);
    options.election_ticks = election_ticks;
    options.heartbeat_ticks = heartbeat_ticks;
    options.apply_threads = apply_threads;
    options.segment_bytes = segment_bytes;
    options.segments_max = segments_max;
    options.free_bytes_min = free_bytes_min;
    options.insecure_transport = insecure_transport ? 1 : 0;
    return options;
  }
};

/// One of the initial members of a group.
struct InitialMember {
  std::uint64_t node_id = 0;
  /// The address that the node advertises.
  std::string address;
};

/// How a group is started on a node. Set group_id, and initial_members if the group is to be
/// formed; the rest has defaults, which the library gives.
struct GroupOptions {
  /// The group's id within the cluster, not 0.
  std::uint64_t group_id = 0;
  /// The members that form the group, the same on all of them, in any order. Empty: go on with what
  /// the data directory holds, or wait to be added.
  std::vector<InitialMember> initial_members;
  /// The largest proposal in bytes.
  std::uint64_t proposal_bytes_max = detail::default_group_options().proposal_bytes_max;
  /// Bytes of proposals of this node that may be pending.
  std::uint64_t pending_bytes_max = detail::default_group_options().pending_bytes_max;
  /// Proposals and reads of this node that may be pending.
  std::uint64_t pending_count_max = detail::default_group_options().pending_count_max;
  /// Bytes committed but not applied above which proposals are answered busy.
  std::uint64_t unapplied_bytes_max = detail::default_group_options().unapplied_bytes_max;
  /// Bytes of entries in flight to one peer.
  std::uint64_t inflight_bytes_max = detail::default_group_options().inflight_bytes_max;
  /// Bytes of entries kept in memory.
  std::uint64_t entry_cache_bytes = detail::default_group_options().entry_cache_bytes;
  /// Entries between automatic snapshots; 0 for none by count.
  std::uint64_t snapshot_entries = detail::default_group_options().snapshot_entries;
  /// Bytes of log between automatic snapshots; 0 for none by size.
  std::uint64_t snapshot_log_bytes = detail::default_group_options().snapshot_log_bytes;
  /// Entries kept behind a snapshot for followers that lag a little, but not more than
  /// `snapshot_log_bytes` of them.
  std::uint64_t retained_entries = detail::default_group_options().retained_entries;
  /// After this long a pending proposal or read completes with Code::timeout.
  std::chrono::milliseconds proposal_timeout =
      detail::from_milliseconds(detail::default_group_options().proposal_timeout_ms);
  /// How long sending a snapshot may take.
  std::chrono::milliseconds snapshot_transfer_timeout =
      detail::from_milliseconds(detail::default_group_options().snapshot_transfer_timeout_ms);
  /// How long restore_snapshot may take.
  std::chrono::milliseconds snapshot_restore_timeout =
      detail::from_milliseconds(detail::default_group_options().snapshot_restore_timeout_ms);
  /// Members with a higher priority campaign first.
  std::int64_t priority = detail::default_group_options().priority;

  /// The same for the C API; it points into this object and into `members`, which it fills.
  libraft_group_options to_c(std::vector<libraft_initial_member> &members) const {
    members.clear();
    for (const InitialMember &member : initial_members) {
      members.push_back({member.node_id, member.address.c_str(), {0, 0}});
    }
    libraft_group_options options = detail::default_group_options();
    options.group_id = group_id;
    options.initial_members = members.data();
    options.initial_members_count = members.size();
    options.proposal_bytes_max = proposal_bytes_max;
    options.pending_bytes_max = pending_bytes_max;
    options.pending_count_max = pending_count_max;
    options.unapplied_bytes_max = unapplied_bytes_max;
    options.inflight_bytes_max = inflight_bytes_max;
    options.entry_cache_bytes = entry_cache_bytes;
    options.snapshot_entries = snapshot_entries;
    options.snapshot_log_bytes = snapshot_log_bytes;
    options.retained_entries = retained_entries;
    options.proposal_timeout_ms = detail::milliseconds(proposal_timeout);
    options.snapshot_transfer_timeout_ms = detail::milliseconds(snapshot_transfer_timeout);
    options.snapshot_restore_timeout_ms = detail::milliseconds(snapshot_restore_timeout);
    options.priority = priority;
    return options;
  }
};

LIBRAFT_NAMESPACE_END

#endif
