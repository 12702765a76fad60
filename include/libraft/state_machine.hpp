// State machines: what the program supplies, one class for each kind.
#ifndef LIBRAFT_STATE_MACHINE_HPP
#define LIBRAFT_STATE_MACHINE_HPP

#include <memory>
#include <utility>

#include "request.hpp"

LIBRAFT_NAMESPACE_BEGIN

/// What the three kinds have in common. Derive from StateMachine, ConcurrentStateMachine or
/// OnDiskStateMachine.
///
/// Every function of a state machine returns `{}` when it is done, or an Error; in a program with
/// exceptions it may throw instead. A failure stops the group on this node, since going on would
/// make the replicas differ (a failed save only fails the snapshot). Its text, for an exception
/// with its type and those nested in it, is part of the error that pending calls, wait_ready and
/// Group::failure show.
///
/// Threads: the functions of one machine never overlap, but for save_snapshot of a prepared
/// snapshot, which runs beside the others. They run on threads of the library, and may block for as
/// long as they like, unless the machine is quick. Inside of one, calls of the library that block
/// fail with Code::would_deadlock; and waiting for a future of the library may last for ever.
class AnyStateMachine {
 public:
  AnyStateMachine() = default;
  AnyStateMachine(const AnyStateMachine &) = delete;
  AnyStateMachine &operator=(const AnyStateMachine &) = delete;
  virtual ~AnyStateMachine() = default;

  /// True if apply takes microseconds and never blocks: it is then called on the event loop, which
  /// saves two wake-ups. Asked once, when the group is started.
  virtual bool quick() const noexcept { return false; }

  /// Opens the machine, before anything else. An on-disk machine says how far it had applied, with
  /// OpenRequest::set_opened.
  virtual Result<void> open(OpenRequest &request) = 0;

  /// Applies entries, in order, and sets a result for each.
  virtual Result<void> apply(ApplyRequest &request) = 0;

  /// Makes everything that was applied durable.
  virtual Result<void> sync(SyncRequest &request) = 0;

  /// Replaces the state by what the reader yields. After a crash it may be called again with the
  /// same snapshot. An on-disk machine makes the new state durable before it answers: the library
  /// deletes its copy then.
  virtual Result<void> restore_snapshot(SnapshotReader &reader) = 0;

 private:
  friend struct detail::Trampoline;

  virtual std::int32_t kind() const noexcept = 0;
  // A prepared snapshot, as the C API carries it.
  virtual Result<void *> prepare_any() = 0;
  virtual Result<void> save_any(void *snapshot, SnapshotWriter &writer) = 0;
  virtual void release_any(void *snapshot) noexcept = 0;
};

/// The state is in memory, and rebuilt from a snapshot and the log at every start. Nothing is
/// applied while it is saved.
class StateMachine : public AnyStateMachine {
 public:
  Result<void> open(OpenRequest &) override { return {}; }

  /// Writes the whole state.
  virtual Result<void> save_snapshot(SnapshotWriter &writer) = 0;

 private:
  Result<void> sync(SyncRequest &) final { return {}; }
  std::int32_t kind() const noexcept final { return LIBRAFT_MACHINE_IN_MEMORY; }
  Result<void *> prepare_any() final { return nullptr; }
  Result<void> save_any(void *, SnapshotWriter &writer) final { return save_snapshot(writer); }
  void release_any(void *) noexcept final {}
};

namespace detail {

/// What machines have in common whose snapshots are prepared, and then saved beside apply.
template <typename Snapshot>
class PreparingStateMachine : public AnyStateMachine {
 public:
  /// Takes a view of the state that stays as it is. Must be quick: nothing is applied meanwhile.
  virtual Result<Snapshot> prepare_snapshot() = 0;

  /// Writes the view. It is destroyed afterwards, whether it was saved or not.
  virtual Result<void> save_snapshot(Snapshot &snapshot, SnapshotWriter &writer) = 0;

 private:
  Result<void *> prepare_any() final {
    Result<Snapshot> prepared = prepare_snapshot();
    if (!prepared) {
      return prepared.error();
    }
    return static_cast<void *>(std::make_unique<Snapshot>(*std::move(prepared)).release());
  }
  Result<void> save_any(void *snapshot, SnapshotWriter &writer) final {
    return save_snapshot(*static_cast<Snapshot *>(snapshot), writer);
  }
  void release_any(void *snapshot) noexcept final { delete static_cast<Snapshot *>(snapshot); }
};

}  // namespace detail

/// As StateMachine, but a snapshot is prepared quickly, as a value of type `Snapshot`, and then
/// saved while entries go on being applied.
template <typename Snapshot>
class ConcurrentStateMachine : public detail::PreparingStateMachine<Snapshot> {
 public:
  Result<void> open(OpenRequest &) override { return {}; }

 private:
  Result<void> sync(SyncRequest &) final { return {}; }
  std::int32_t kind() const noexcept final { return LIBRAFT_MACHINE_CONCURRENT; }
};

/// The machine keeps its own state on disk, and says at `open` how far it had applied. Whoever
/// stores entries stores their index with them.
template <typename Snapshot>
class OnDiskStateMachine : public detail::PreparingStateMachine<Snapshot> {
 private:
  std::int32_t kind() const noexcept final { return LIBRAFT_MACHINE_ON_DISK; }
};

LIBRAFT_NAMESPACE_END

#endif
