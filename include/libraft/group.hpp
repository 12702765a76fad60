// Groups: proposing, reading, and changing who belongs to one.
#ifndef LIBRAFT_GROUP_HPP
#define LIBRAFT_GROUP_HPP

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "batch.hpp"
#include "completion.hpp"
#include "membership.hpp"
#include "options.hpp"

LIBRAFT_NAMESPACE_BEGIN

namespace detail {

// What `promised` and `called_back` call.

inline auto proposing(libraft_group *group, bytes_view data) {
  return [group, data](const libraft_completer *completer, void *user_data, libraft_error **error) {
    return libraft_group_propose(group, data.data(), data.size(), completer, user_data, error);
  };
}

inline auto proposing(libraft_group *group, const Batch &batch) {
  return
      [group, &batch](const libraft_completer *completer, void *user_data, libraft_error **error) {
        return libraft_group_propose_batch(group, batch.data(), batch.offsets(), batch.size(),
                                           completer, user_data, error);
      };
}

inline auto reading(libraft_group *group) {
  return [group](const libraft_completer *completer, void *user_data, libraft_error **error) {
    return libraft_group_read_index(group, completer, user_data, error);
  };
}

inline auto changing(libraft_group *group, const std::vector<libraft_change> &steps) {
  return
      [group, &steps](const libraft_completer *completer, void *user_data, libraft_error **error) {
        return libraft_group_change_membership(group, steps.data(), steps.size(), completer,
                                               user_data, error);
      };
}

inline auto transferring(libraft_group *group, std::uint64_t to) {
  return [group, to](const libraft_completer *completer, void *user_data, libraft_error **error) {
    return libraft_group_transfer_leadership(group, to, completer, user_data, error);
  };
}

inline auto taking_snapshot(libraft_group *group) {
  return [group](const libraft_completer *completer, void *user_data, libraft_error **error) {
    return libraft_group_take_snapshot(group, completer, user_data, error);
  };
}

}  // namespace detail

/// As a timeout: without end.
inline constexpr std::chrono::milliseconds wait_forever = std::chrono::milliseconds::max();

/// A handle to one Raft group on a node. The group itself runs until it is stopped or its node is
/// closed; Node::group gives another handle.
///
/// Every call that takes time exists twice. With a callback, it returns whether it was accepted; if
/// so, the callback is called exactly once, maybe before the call returns. Without, it returns a
/// future, which also tells that the call was refused. Never wait for a future inside of a callback
/// or of a state machine: it may need the very thread that waits.
///
/// Threads: any may call anything at any time, also while another stops the group. Only assigning
/// and destroying the handle itself must not overlap with other uses.
class Group {
 public:
  /// A handle to no group: every call on it fails with Code::invalid_argument.
  Group() noexcept = default;
  /// Takes a handle of the C API over.
  explicit Group(libraft_group *handle) noexcept : handle_(handle) {}

  /// The handle, for the C API. It stays this object's.
  libraft_group *handle() const noexcept { return handle_.get(); }

  /// Waits until the group has a leader, and this replica has applied what was committed when it
  /// learnt of it. Blocks.
  ///
  /// Errors: Code::timeout; what stopped the group, such as Code::open_failed or
  /// Code::apply_failed; Code::would_deadlock in a callback.
  Result<void> wait_ready(std::chrono::milliseconds timeout) {
    const std::uint64_t timeout_ms =
        timeout == wait_forever ? LIBRAFT_WAIT_FOREVER : detail::milliseconds(timeout);
    return detail::checked([&](libraft_error **error) {
      return libraft_group_wait_ready(handle(), timeout_ms, error);
    });
  }

  /// Proposes one entry. It completes when this node's state machine has applied it. Any member may
  /// propose; followers forward to the leader. The bytes are copied.
  ///
  /// Errors: Code::empty_proposal, Code::too_large, Code::busy, Code::no_space, Code::stopped,
  /// Code::closed at once; later any of 2xx to 9xx. The outcome says whether it may yet be applied.
  std::future<Result<Applied>> propose(bytes_view data) {
    return detail::promised<detail::ToApplied>(detail::proposing(handle(), data));
  }
  /// As above; `callback` gets a Completion.
  template <typename Callback, typename = detail::if_completion_callback<Callback>>
  Result<void> propose(bytes_view data, Callback &&callback) {
    return detail::called_back(std::forward<Callback>(callback), false,
                               detail::proposing(handle(), data));
  }
  template <typename Callback, typename = detail::if_completion_callback<Callback>>
  Result<void> propose(bytes_view data, Callback &&callback, quick_t) {
    return detail::called_back(std::forward<Callback>(callback), true,
                               detail::proposing(handle(), data));
  }

  /// Proposes many entries at once: all are accepted or none; each is applied, or not, by itself.
  ///
  /// Errors: as `propose`; Code::invalid_argument if there are none.
  std::future<Result<std::vector<Result<Applied>>>> propose_batch(const Batch &batch) {
    return detail::promised<detail::ToBatch>(detail::proposing(handle(), batch));
  }
  /// As above; `callback` gets Completions, once, one for each entry in order.
  template <typename Callback, typename = detail::if_batch_callback<Callback>>
  Result<void> propose_batch(const Batch &batch, Callback &&callback) {
    return detail::called_back(std::forward<Callback>(callback), false,
                               detail::proposing(handle(), batch));
  }
  template <typename Callback, typename = detail::if_batch_callback<Callback>>
  Result<void> propose_batch(const Batch &batch, Callback &&callback, quick_t) {
    return detail::called_back(std::forward<Callback>(callback), true,
                               detail::proposing(handle(), batch));
  }

  /// Asks for a moment from which reading the program's own state is linearizable: completes once
  /// this node's state machine has applied everything that was committed, anywhere, before the
  /// call. The value is the index up to which it has applied at least.
  std::future<Result<std::uint64_t>> read_index() {
    return detail::promised<detail::ToIndex>(detail::reading(handle()));
  }
  /// As above; `callback` gets a Completion.
  template <typename Callback, typename = detail::if_completion_callback<Callback>>
  Result<void> read_index(Callback &&callback) {
    return detail::called_back(std::forward<Callback>(callback), false, detail::reading(handle()));
  }
  template <typename Callback, typename = detail::if_completion_callback<Callback>>
  Result<void> read_index(Callback &&callback, quick_t) {
    return detail::called_back(std::forward<Callback>(callback), true, detail::reading(handle()));
  }

  /// Changes the membership: all steps take effect together, or none. Completes when the new
  /// membership is in force. Only at the leader.
  ///
  /// Errors: Code::not_leader (the error names the leader, if it is known), Code::unknown_member,
  /// Code::membership_invalid, Code::membership_busy, Code::unreachable...
  std::future<Result<void>> change_membership(const std::vector<Change> &changes) {
    const std::vector<libraft_change> steps = detail::to_c(changes);
    return detail::promised<detail::ToNothing>(detail::changing(handle(), steps));
  }
  /// As above; `callback` gets a Completion.
  template <typename Callback, typename = detail::if_completion_callback<Callback>>
  Result<void> change_membership(const std::vector<Change> &changes, Callback &&callback) {
    const std::vector<libraft_change> steps = detail::to_c(changes);
    return detail::called_back(std::forward<Callback>(callback), false,
                               detail::changing(handle(), steps));
  }

  /// Lets another member lead. Completes when another leader is known. Only at the leader.
  ///
  /// Errors: Code::not_leader, Code::unknown_member, Code::busy; Code::timeout after an election
  /// timeout.
  std::future<Result<void>> transfer_leadership(std::uint64_t to_node_id) {
    return detail::promised<detail::ToNothing>(detail::transferring(handle(), to_node_id));
  }
  /// As above; `callback` gets a Completion.
  template <typename Callback, typename = detail::if_completion_callback<Callback>>
  Result<void> transfer_leadership(std::uint64_t to_node_id, Callback &&callback) {
    return detail::called_back(std::forward<Callback>(callback), false,
                               detail::transferring(handle(), to_node_id));
  }

  /// Takes a snapshot of this node's state machine now; completes with the snapshot's index when it
  /// is durable.
  ///
  /// Errors: Code::busy, Code::save_failed, or any of 4xx to 9xx.
  std::future<Result<std::uint64_t>> take_snapshot() {
    return detail::promised<detail::ToIndex>(detail::taking_snapshot(handle()));
  }
  /// As above; `callback` gets a Completion.
  template <typename Callback, typename = detail::if_completion_callback<Callback>>
  Result<void> take_snapshot(Callback &&callback) {
    return detail::called_back(std::forward<Callback>(callback), false,
                               detail::taking_snapshot(handle()));
  }

  /// What the group says of its replica on this node, as of now.
  ///
  /// Errors: Code::stopped, Code::closed.
  Result<GroupStatus> status() const {
    libraft_group_info info;
    libraft_group_info_init(&info);
    const Result<void> asked = detail::checked(
        [&](libraft_error **error) { return libraft_group_status(handle(), &info, error); });
    return asked ? Result<GroupStatus>(detail::group_status(info)) : asked.error();
  }

  /// The error that stopped the group on this node, if there is one.
  ///
  /// Errors: Code::closed.
  Result<std::optional<Error>> failure() const {
    libraft_error *failure = nullptr;
    const Result<void> asked = detail::checked(
        [&](libraft_error **error) { return libraft_group_failure(handle(), &failure, error); });
    return detail::failure(asked, failure);
  }

  /// The members of the group, as this node knows them now.
  ///
  /// Errors: Code::stopped, Code::closed.
  Result<std::vector<Member>> members() const {
    detail::Handle<libraft_members, libraft_members_free> members;
    const Result<void> asked = detail::checked([&](libraft_error **error) {
      return libraft_group_members(handle(), members.out(), error);
    });
    return asked ? Result<std::vector<Member>>(detail::members(members.get())) : asked.error();
  }

  /// Sets who hears of the group's events, in place of whoever did before; an empty function ends
  /// it. Events come on the completion thread, in order, one at a time. Up to 1,024 wait for a
  /// callback that blocks; it misses what comes then.
  ///
  /// Errors: Code::stopped, Code::closed.
  Result<void> set_event_callback(std::function<void(const Event &)> callback) {
    using Callback = std::function<void(const Event &)>;
    const bool is_set = static_cast<bool>(callback);
    auto *user_data = is_set ? new Callback(std::move(callback)) : nullptr;
    return detail::checked([&](libraft_error **error) {
      return libraft_group_set_event_callback(
          handle(), is_set ? on_event : nullptr, user_data,
          [](void *data) { delete static_cast<Callback *>(data); }, error);
    });
  }

  /// Stops the group on this node, completes what is pending (Code::stopped), and returns when the
  /// library has let go of the state machine. Its data stays: it can be started again. Stopping a
  /// stopped group is no error. Blocks, also for callbacks that run, but not for requests that are
  /// pending: these may still be answered, and keep the state machine until then.
  ///
  /// Errors: Code::would_deadlock in a callback: it is stopped all the same, but later.
  Result<void> stop() {
    return detail::checked(
        [&](libraft_error **error) { return libraft_group_stop(handle(), error); });
  }

  /// Begins what `stop` does; `callback` gets a `const Result<void> &` when it is done.
  ///
  /// Errors: then `callback` is not called. Code::stopped if it is stopped already.
  template <typename Callback>
  Result<void> stop_async(Callback &&callback) {
    return detail::begin(std::forward<Callback>(callback), [&](auto done, void *data, auto error) {
      return libraft_group_stop_async(handle(), done, data, error);
    });
  }

 private:
  static void on_event(void *user_data, const libraft_event *event) noexcept {
    detail::call_back([&] {
      (*static_cast<std::function<void(const Event &)> *>(user_data))(detail::event(*event));
    });
  }

  detail::Handle<libraft_group, libraft_group_free> handle_;
};

LIBRAFT_NAMESPACE_END

#endif
