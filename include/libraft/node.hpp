// Nodes: a process's membership in a cluster.
#ifndef LIBRAFT_NODE_HPP
#define LIBRAFT_NODE_HPP

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "group.hpp"

LIBRAFT_NAMESPACE_BEGIN

namespace detail {

/// The groups that were started on a node, for what its close tells.
class WatchedGroups {
 public:
  void watch(std::uint64_t group_id, Group group) {
    const std::lock_guard<std::mutex> lock(mutex_);
    groups_.insert_or_assign(group_id, std::move(group));
  }
  /// How the state machine of one of them failed; once.
  Result<void> failure() {
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::map<std::uint64_t, Group> groups = std::exchange(groups_, {});
    for (const auto &[group_id, group] : groups) {
      const Result<std::optional<Error>> failure = group.failure();
      if (failure && *failure && is_failure((*failure)->code())) {
        return **failure;
      }
    }
    return {};
  }

 private:
  static bool is_failure(Code code) {
    return code == Code::open_failed || code == Code::apply_failed || code == Code::sync_failed ||
           code == Code::restore_failed;
  }

  std::mutex mutex_;
  std::map<std::uint64_t, Group> groups_;
};

}  // namespace detail

/// An identity, an address and a data directory. Destroying it closes it: when a scope has been
/// left, its callbacks are over and the directory can be opened again.
///
/// Threads: any may call anything at any time, also while another closes it. Only assigning and
/// destroying the object itself must not overlap with other uses.
class Node {
 public:
  /// No node: every call on it fails with Code::invalid_argument.
  Node() = default;
  /// Takes a handle of the C API over.
  explicit Node(libraft_node *handle) : handle_(handle) {}

  /// Opens a node: reads or makes its identity, recovers its log, listens. No group runs yet.
  /// Blocks while the log is recovered.
  ///
  /// Errors: Code::invalid_argument, Code::invalid_utf8, Code::would_deadlock, Code::forked; of the
  /// directory Code::directory_in_use, Code::wrong_identity, Code::corrupted and others of 4xx; of
  /// the address Code::address_in_use, Code::address_invalid, Code::insecure_address.
  static Result<Node> open(const NodeOptions &options) {
    const libraft_node_options given = options.to_c();
    libraft_node *node = nullptr;
    const Result<void> opened = detail::checked(
        [&](libraft_error **error) { return libraft_node_open(&given, &node, error); });
    return opened ? Result<Node>(Node(node)) : opened.error();
  }

  Node(Node &&) noexcept = default;
  /// Closes the node that was here.
  Node &operator=(Node &&other) noexcept {
    Node old(std::move(*this));
    handle_ = std::move(other.handle_);
    groups_ = std::move(other.groups_);
    return *this;
  }
  /// Closes the node and waits for that; in a callback it only begins.
  ~Node() {
    if (handle() != nullptr) {
      libraft_node_close(handle(), nullptr);
    }
  }

  /// The handle, for the C API. It stays this object's.
  libraft_node *handle() const noexcept { return handle_.get(); }

  /// Starts a group on this node, or goes on with the one in the data directory. Returns at once:
  /// see Group::wait_ready, which tells what goes wrong later. The library shares the state machine
  /// until the group has stopped; a std::unique_ptr may be given as well.
  ///
  /// Errors: Code::group_exists, Code::initial_members_conflict, Code::closed,
  /// Code::invalid_argument, or one of 4xx.
  Result<Group> start_group(const GroupOptions &options, std::shared_ptr<AnyStateMachine> machine) {
    if (!machine) {
      return Error(Code::invalid_argument, "the state machine is null: a group needs one");
    }
    std::vector<libraft_initial_member> members;
    const libraft_group_options given = options.to_c(members);
    const libraft_state_machine table = detail::Trampoline::table(std::move(machine));
    libraft_group *group = nullptr;
    const Result<void> started = detail::checked([&](libraft_error **error) {
      return libraft_group_start(handle(), &given, &table, &group, error);
    });
    if (!started) {
      return started.error();
    }
    Result<Group> watched = this->group(options.group_id);
    if (watched) {
      groups_->watch(options.group_id, *std::move(watched));
    }
    return Group(group);
  }

  /// A new handle to a group that was started on this node.
  ///
  /// Errors: Code::group_not_found.
  Result<Group> group(std::uint64_t group_id) {
    libraft_group *group = nullptr;
    const Result<void> found = detail::checked([&](libraft_error **error) {
      return libraft_node_group(handle(), group_id, &group, error);
    });
    return found ? Result<Group>(Group(group)) : found.error();
  }

  /// What the node says of itself, as of now.
  ///
  /// Errors: Code::closed.
  Result<NodeStatus> status() const {
    libraft_node_info info;
    libraft_node_info_init(&info);
    const Result<void> asked = detail::checked(
        [&](libraft_error **error) { return libraft_node_status(handle(), &info, error); });
    return asked ? Result<NodeStatus>(detail::node_status(info)) : asked.error();
  }

  /// The error that put the node out of service, if there is one.
  ///
  /// Errors: Code::closed.
  Result<std::optional<Error>> failure() const {
    libraft_error *failure = nullptr;
    const Result<void> asked = detail::checked(
        [&](libraft_error **error) { return libraft_node_failure(handle(), &failure, error); });
    return detail::failure(asked, failure);
  }

  /// Stops all groups, completes what is pending (Code::closed), and releases the data directory,
  /// which can be opened again when this returns. Closing a closed node is no error. Blocks, also
  /// for callbacks that run and for a prepared snapshot that is being saved, but not for other
  /// requests that are pending: these may still be answered, and keep the state machine until then.
  ///
  /// Errors: Code::would_deadlock in a callback: it is closed all the same, but later. The node is
  /// closed, and this tells what nobody may have heard of: the first close tells how a
  /// state machine failed whose group was started here (Code::apply_failed and others);
  /// Code::storage_failed or Code::io say that the last words could not be written.
  Result<void> close() {
    const Result<void> closed =
        detail::checked([&](libraft_error **error) { return libraft_node_close(handle(), error); });
    return closed ? groups_->failure() : closed;
  }

  /// Begins what `close` does; `callback` gets a `const Result<void> &` when the directory can be
  /// opened again.
  ///
  /// Errors: then `callback` is not called. Code::closed if it is closed already.
  template <typename Callback>
  Result<void> close_async(Callback &&callback) {
    return detail::begin(std::forward<Callback>(callback), [&](auto done, void *data, auto error) {
      return libraft_node_close_async(handle(), done, data, error);
    });
  }

  /// Lets go of the node without waiting: if it is not closed, this begins to close it.
  void free() noexcept { handle_ = {}; }

 private:
  detail::Handle<libraft_node, libraft_node_free> handle_;
  std::unique_ptr<detail::WatchedGroups> groups_ = std::make_unique<detail::WatchedGroups>();
};

LIBRAFT_NAMESPACE_END

#endif
