// Errors: why a call failed, and what became of it.
#ifndef LIBRAFT_ERROR_HPP
#define LIBRAFT_ERROR_HPP

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "config.hpp"

// Every code, with the name of the class that is thrown for it.
#define LIBRAFT_EACH_CODE(X)                                                         \
  X(invalid_argument, INVALID_ARGUMENT, InvalidArgumentError)                        \
  X(invalid_handle, INVALID_HANDLE, InvalidHandleError)                              \
  X(invalid_size, INVALID_SIZE, InvalidSizeError)                                    \
  X(invalid_utf8, INVALID_UTF8, InvalidUtf8Error)                                    \
  X(empty_proposal, EMPTY_PROPOSAL, EmptyProposalError)                              \
  X(too_large, TOO_LARGE, TooLargeError)                                             \
  X(would_deadlock, WOULD_DEADLOCK, WouldDeadlockError)                              \
  X(forked, FORKED, ForkedError)                                                     \
  X(insecure_address, INSECURE_ADDRESS, InsecureAddressError)                        \
  X(unsupported, UNSUPPORTED, UnsupportedError)                                      \
  X(not_leader, NOT_LEADER, NotLeaderError)                                          \
  X(no_leader, NO_LEADER, NoLeaderError)                                             \
  X(busy, BUSY, BusyError)                                                           \
  X(timeout, TIMEOUT, TimeoutError)                                                  \
  X(overwritten, OVERWRITTEN, OverwrittenError)                                      \
  X(outcome_lost, OUTCOME_LOST, OutcomeLostError)                                    \
  X(forming, FORMING, FormingError)                                                  \
  X(group_not_found, GROUP_NOT_FOUND, GroupNotFoundError)                            \
  X(group_exists, GROUP_EXISTS, GroupExistsError)                                    \
  X(membership_invalid, MEMBERSHIP_INVALID, MembershipInvalidError)                  \
  X(membership_busy, MEMBERSHIP_BUSY, MembershipBusyError)                           \
  X(unknown_member, UNKNOWN_MEMBER, UnknownMemberError)                              \
  X(initial_members_conflict, INITIAL_MEMBERS_CONFLICT, InitialMembersConflictError) \
  X(removed, REMOVED, RemovedError)                                                  \
  X(io, IO, IoError)                                                                 \
  X(no_space, NO_SPACE, NoSpaceError)                                                \
  X(corrupted, CORRUPTED, CorruptedError)                                            \
  X(directory_in_use, DIRECTORY_IN_USE, DirectoryInUseError)                         \
  X(wrong_identity, WRONG_IDENTITY, WrongIdentityError)                              \
  X(newer_format, NEWER_FORMAT, NewerFormatError)                                    \
  X(permission_denied, PERMISSION_DENIED, PermissionDeniedError)                     \
  X(storage_failed, STORAGE_FAILED, StorageFailedError)                              \
  X(apply_failed, APPLY_FAILED, ApplyFailedError)                                    \
  X(open_failed, OPEN_FAILED, OpenFailedError)                                       \
  X(machine_ahead, MACHINE_AHEAD, MachineAheadError)                                 \
  X(save_failed, SAVE_FAILED, SaveFailedError)                                       \
  X(restore_failed, RESTORE_FAILED, RestoreFailedError)                              \
  X(sync_failed, SYNC_FAILED, SyncFailedError)                                       \
  X(address_in_use, ADDRESS_IN_USE, AddressInUseError)                               \
  X(address_invalid, ADDRESS_INVALID, AddressInvalidError)                           \
  X(unreachable, UNREACHABLE, UnreachableError)                                      \
  X(handshake_refused, HANDSHAKE_REFUSED, HandshakeRefusedError)                     \
  X(closed, CLOSED, ClosedError)                                                     \
  X(stopped, STOPPED, StoppedError)                                                  \
  X(panicked, PANICKED, PanickedError)                                               \
  X(internal, INTERNAL, InternalError)

LIBRAFT_NAMESPACE_BEGIN

/// The cause of an error; libraft.h describes each. A newer library may answer with others.
enum class Code : std::int32_t {
  ok = LIBRAFT_OK,
#define LIBRAFT_CODE(name, c_name, class_name) name = LIBRAFT_ERR_##c_name,
  LIBRAFT_EACH_CODE(LIBRAFT_CODE)
#undef LIBRAFT_CODE
};

/// What became of a call.
enum class Outcome : std::int32_t {
  applied = LIBRAFT_OUTCOME_APPLIED,
  /// It had no effect and never will have one.
  rejected = LIBRAFT_OUTCOME_REJECTED,
  /// It may or may not take effect, now or later: ask the state machine before making it again.
  unknown = LIBRAFT_OUTCOME_UNKNOWN,
};

/// The leader that an error names.
struct Leader {
  std::uint64_t node_id = 0;
  /// Where it is for its peers; empty if that is not known.
  std::string address;
};

/// Why a call failed. It is returned in a Result; and Result::value throws it, as the class that
/// is named after its code: NotLeaderError, TimeoutError... Copying it never throws.
class Error : public std::exception {
 public:
  /// An error of the program's own, such as a state machine returns: Outcome::rejected.
  Error(Code code, std::string message)
      : content_(std::make_shared<Content>(
            Content{code, Outcome::rejected, std::move(message), false, std::nullopt})) {}

  Code code() const noexcept { return content_->code; }
  /// The code's name, such as "NOT_LEADER".
  const char *name() const noexcept {
    return libraft_code_name(static_cast<std::int32_t>(content_->code));
  }
  Outcome outcome() const noexcept { return content_->outcome; }
  /// What happened, to what, and what to do about it: for people.
  const std::string &message() const noexcept { return content_->message; }
  const char *what() const noexcept override { return content_->message.c_str(); }
  /// Whether making the same call again can succeed, and cannot apply anything twice.
  bool retriable() const noexcept { return content_->retriable; }
  const std::optional<Leader> &leader() const noexcept { return content_->leader; }

  /// Copies an error object of the C API, which may be NULL if only the code is known.
  static Error copy(const libraft_error *error, std::int32_t code) {
    Content content{static_cast<Code>(code), Outcome::unknown, {}, false, std::nullopt};
    if (error == nullptr) {
      content.message = std::string("libraft answered ") + libraft_code_name(code);
    } else {
      content.outcome = static_cast<Outcome>(libraft_error_outcome(error));
      content.message = libraft_error_message(error);
      content.retriable = libraft_error_retriable(error) == 1;
      std::uint64_t node_id = 0;
      const char *address = nullptr;
      if (libraft_error_leader(error, &node_id, &address) == LIBRAFT_OK) {
        content.leader = Leader{node_id, address == nullptr ? "" : address};
      }
    }
    return Error(std::move(content));
  }

  /// As `copy`, and frees it.
  static Error take(libraft_error *error, std::int32_t code) {
    const std::unique_ptr<libraft_error, void (*)(libraft_error *)> owned(error,
                                                                          libraft_error_free);
    return copy(error, code);
  }

#if LIBRAFT_EXCEPTIONS
  /// Throws it, as the class that is named after its code.
  [[noreturn]] void raise() const;
#endif

 private:
  struct Content {
    Code code;
    Outcome outcome;
    std::string message;
    bool retriable;
    std::optional<Leader> leader;
  };

  explicit Error(Content content) : content_(std::make_shared<Content>(std::move(content))) {}

  std::shared_ptr<const Content> content_;
};

#define LIBRAFT_CLASS(name, c_name, class_name)                   \
  class class_name final : public Error {                         \
   public:                                                        \
    explicit class_name(Error error) : Error(std::move(error)) {} \
  };
LIBRAFT_EACH_CODE(LIBRAFT_CLASS)
#undef LIBRAFT_CLASS

#if LIBRAFT_EXCEPTIONS
[[noreturn]] inline void Error::raise() const {
  switch (code()) {
#define LIBRAFT_THROW(name, c_name, class_name) \
  case Code::name:                              \
    throw class_name(*this);
    LIBRAFT_EACH_CODE(LIBRAFT_THROW)
#undef LIBRAFT_THROW
    case Code::ok:
      break;
  }
  throw *this;
}
#endif

LIBRAFT_NAMESPACE_END

#undef LIBRAFT_EACH_CODE

#endif
