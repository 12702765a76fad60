// The log: what the library says.
#ifndef LIBRAFT_LOG_HPP
#define LIBRAFT_LOG_HPP

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

#include "trampoline.hpp"

LIBRAFT_NAMESPACE_BEGIN

enum class LogLevel : std::int32_t {
  off = LIBRAFT_LOG_OFF,
  /// Something is out of service.
  error = LIBRAFT_LOG_ERROR,
  /// Something went wrong, and was coped with.
  warn = LIBRAFT_LOG_WARN,
  /// What an operator wants to know.
  info = LIBRAFT_LOG_INFO,
  /// What a developer wants to know.
  debug = LIBRAFT_LOG_DEBUG,
  trace = LIBRAFT_LOG_TRACE,
};

/// Something the library says. The texts are borrowed for the call.
struct LogRecord {
  LogLevel level;
  /// The part of the library, and the line in its source; 0 if it is not known.
  std::string_view target;
  std::uint32_t line;
  /// What happened, and to what, as "message key=value ...".
  std::string_view message;
};

/// Sets who hears what the library says, in the whole process, in place of whoever did before:
/// records of `level` and graver ones. An empty function ends it. Without, the library says
/// nothing.
///
/// Threads: any. The callback is called from any thread, maybe from several at once, maybe inside
/// of a call to the library. It must not block for long, and must not call the library. Errors:
/// Code::invalid_argument if there is no such level; Code::unsupported if the program is linked
/// statically and has a subscriber of its own.
inline Result<void> set_log_callback(LogLevel level,
                                     std::function<void(const LogRecord &)> callback) {
  using Callback = std::function<void(const LogRecord &)>;
  const libraft_log_callback on_record = [](void *user_data, const libraft_log_record *record) {
    detail::call_back([&] {
      (*static_cast<Callback *>(user_data))(
          {static_cast<LogLevel>(record->level), record->target, record->line, record->message});
    });
  };
  const bool is_set = static_cast<bool>(callback);
  auto *user_data = is_set ? new Callback(std::move(callback)) : nullptr;
  return detail::checked([&](libraft_error **error) {
    return libraft_set_log_callback(
        static_cast<std::int32_t>(level), is_set ? on_record : nullptr, user_data,
        [](void *data) { delete static_cast<Callback *>(data); }, error);
  });
}

LIBRAFT_NAMESPACE_END

#endif
