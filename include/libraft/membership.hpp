// Membership: who belongs to a group, and how that changes.
#ifndef LIBRAFT_MEMBERSHIP_HPP
#define LIBRAFT_MEMBERSHIP_HPP

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "status.hpp"

LIBRAFT_NAMESPACE_BEGIN

enum class MemberRole : std::int32_t {
  voter = LIBRAFT_MEMBER_VOTER,
  /// Gets all entries but does not vote.
  learner = LIBRAFT_MEMBER_LEARNER,
  /// Votes only until the change in progress, which removes or demotes it, is complete.
  outgoing = LIBRAFT_MEMBER_OUTGOING,
};

/// A member of a group.
struct Member {
  /// The replica's number within the group; never used again.
  std::uint64_t raft_id = 0;
  std::uint64_t node_id = 0;
  /// Names the node's data directory: a wiped node has another.
  Uuid incarnation{};
  /// The address that the node advertises.
  std::string address;
  MemberRole role = MemberRole::voter;
};

enum class ChangeKind : std::int32_t {
  add_learner = LIBRAFT_CHANGE_ADD_LEARNER,
  add_voter = LIBRAFT_CHANGE_ADD_VOTER,
  promote = LIBRAFT_CHANGE_PROMOTE,
  demote = LIBRAFT_CHANGE_DEMOTE,
  remove = LIBRAFT_CHANGE_REMOVE,
  set_address = LIBRAFT_CHANGE_SET_ADDRESS,
};

/// One step of a membership change, for Group::change_membership.
struct Change {
  ChangeKind kind = ChangeKind::add_learner;
  std::uint64_t node_id = 0;
  /// To add, and to set the address: the address that the node advertises.
  std::string address;

  /// Adds a node as a learner.
  static Change add_learner(std::uint64_t node_id, std::string address) {
    return {ChangeKind::add_learner, node_id, std::move(address)};
  }
  /// Adds a node as a voter.
  static Change add_voter(std::uint64_t node_id, std::string address) {
    return {ChangeKind::add_voter, node_id, std::move(address)};
  }
  /// Makes a learner a voter.
  static Change promote(std::uint64_t node_id) { return {ChangeKind::promote, node_id, {}}; }
  /// Makes a voter a learner.
  static Change demote(std::uint64_t node_id) { return {ChangeKind::demote, node_id, {}}; }
  /// Removes a member.
  static Change remove(std::uint64_t node_id) { return {ChangeKind::remove, node_id, {}}; }
  /// Changes a member's address.
  static Change set_address(std::uint64_t node_id, std::string address) {
    return {ChangeKind::set_address, node_id, std::move(address)};
  }
};

namespace detail {

inline std::vector<Member> members(const libraft_members *list) {
  std::vector<Member> members;
  const std::size_t count = libraft_members_count(list);
  members.reserve(count);
  for (std::size_t position = 0; position < count; ++position) {
    const libraft_member *member = libraft_members_at(list, position);
    members.push_back({member->raft_id, member->node_id, uuid(member->incarnation), member->address,
                       static_cast<MemberRole>(member->role)});
  }
  return members;
}

/// The same for the C API; it points into `changes`.
inline std::vector<libraft_change> to_c(const std::vector<Change> &changes) {
  std::vector<libraft_change> steps;
  steps.reserve(changes.size());
  for (const Change &change : changes) {
    libraft_change step{};
    step.kind = static_cast<std::int32_t>(change.kind);
    step.node_id = change.node_id;
    step.address = change.address.empty() ? nullptr : change.address.c_str();
    steps.push_back(step);
  }
  return steps;
}

}  // namespace detail
LIBRAFT_NAMESPACE_END

#endif
