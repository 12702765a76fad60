// Trampolines: where the library's calls become C++ calls, and where every exception ends.
#ifndef LIBRAFT_TRAMPOLINE_HPP
#define LIBRAFT_TRAMPOLINE_HPP

#include <atomic>
#include <memory>
#include <utility>

#include "state_machine.hpp"

LIBRAFT_NAMESPACE_BEGIN

#if LIBRAFT_EXCEPTIONS
/// Is called inside of a handler: std::current_exception() is what was thrown.
using StrayExceptionHandler = void (*)() noexcept;

namespace detail {
inline std::atomic<StrayExceptionHandler> stray_exception_handler{nullptr};
}

/// Sets who hears of an exception that a completion's, an event's or a log callback threw: nobody
/// waits for its outcome, so it has nowhere to go. Without a handler it is dropped. Returns the
/// handler before. Threads: any.
inline StrayExceptionHandler set_stray_exception_handler(StrayExceptionHandler handler) noexcept {
  return detail::stray_exception_handler.exchange(handler);
}
#endif

namespace detail {

/// Calls a callback whose outcome nobody waits for.
template <typename Body>
void call_back(Body &&body) noexcept {
#if LIBRAFT_EXCEPTIONS
  try {
    body();
  } catch (...) {
    if (const StrayExceptionHandler handler = stray_exception_handler.load()) {
      handler();
    }
  }
#else
  body();
#endif
}

/// The callbacks of a state machine. `user_data` is a shared_ptr, which destroy deletes.
struct Trampoline {
  using Machine = std::shared_ptr<AnyStateMachine>;

  static AnyStateMachine &machine(void *user_data) noexcept {
    return **static_cast<Machine *>(user_data);
  }

  /// Answers a request by what `body` returns or throws.
  template <typename Kind, typename Body>
  static std::int32_t answer(Code otherwise, Kind request, Body &&body) noexcept {
#if LIBRAFT_EXCEPTIONS
    try {
      return settle(otherwise, request, caught(otherwise, [&] { return body(request); }));
    } catch (...) {  // such as no memory for the text
      return static_cast<std::int32_t>(otherwise);
    }
#else
    return settle(otherwise, request, body(request));
#endif
  }

  static std::int32_t settle(Code otherwise, const Request &request, const Result<void> &result) {
    if (!result) {
      return refuse(request, result.error(), otherwise);
    }
    if (request.is_deferred_) {
      return LIBRAFT_PENDING;
    }
    return request.failure_ ? LIBRAFT_OK : refuse(request, request.failure_.error(), otherwise);
  }

  static std::int32_t refuse(const Request &request, const Error &error, Code otherwise) {
    set_message(request.handle(), error.message());
    return failed(error, otherwise);
  }

  static void destroy(void *user_data) noexcept {
    call_back([&] { delete static_cast<Machine *>(user_data); });
  }

  static std::int32_t open(void *user_data, libraft_request *request) noexcept {
    return answer(Code::open_failed, OpenRequest(request),
                  [&](OpenRequest &open) { return machine(user_data).open(open); });
  }

  static std::int32_t apply(void *user_data, libraft_request *request, const libraft_entry *entries,
                            std::size_t count, libraft_results *results) noexcept {
    return answer(Code::apply_failed, ApplyRequest(request, Entries(entries, count), results),
                  [&](ApplyRequest &apply) { return machine(user_data).apply(apply); });
  }

  static std::int32_t sync(void *user_data, libraft_request *request) noexcept {
    return answer(Code::sync_failed, SyncRequest(request),
                  [&](SyncRequest &sync) { return machine(user_data).sync(sync); });
  }

  static std::int32_t prepare(void *user_data, libraft_request *request) noexcept {
    return answer(Code::save_failed, Request(request), [&](Request &) -> Result<void> {
      Result<void *> prepared = machine(user_data).prepare_any();
      if (!prepared) {
        return prepared.error();
      }
      Result<void> set = checked([&](libraft_error **error) {
        return libraft_request_set_snapshot(request, *prepared, error);
      });
      if (!set) {
        machine(user_data).release_any(*prepared);
      }
      return set;
    });
  }

  static std::int32_t save(void *user_data, libraft_request *request, void *snapshot,
                           libraft_snapshot_writer *writer) noexcept {
    return answer(Code::save_failed, SnapshotWriter(request, writer), [&](SnapshotWriter &save) {
      return machine(user_data).save_any(snapshot, save);
    });
  }

  static std::int32_t restore(void *user_data, libraft_request *request,
                              libraft_snapshot_reader *reader) noexcept {
    return answer(
        Code::restore_failed, SnapshotReader(request, reader),
        [&](SnapshotReader &restore) { return machine(user_data).restore_snapshot(restore); });
  }

  static void release(void *user_data, void *snapshot) noexcept {
    machine(user_data).release_any(snapshot);
  }

  /// The table of callbacks for a machine, which must not be null.
  static libraft_state_machine table(Machine machine) {
    libraft_state_machine table;
    libraft_state_machine_init(&table);
    table.kind = machine->kind();
    table.quick = machine->quick() ? 1 : 0;
    table.destroy = destroy;
    table.open = open;
    table.apply = apply;
    table.sync = table.kind == LIBRAFT_MACHINE_ON_DISK ? sync : nullptr;
    if (table.kind != LIBRAFT_MACHINE_IN_MEMORY) {
      table.prepare_snapshot = prepare;
      table.release_snapshot = release;
    }
    table.save_snapshot = save;
    table.restore_snapshot = restore;
    table.user_data = new Machine(std::move(machine));
    return table;
  }
};

}  // namespace detail
LIBRAFT_NAMESPACE_END

#endif
