// Requests: what a state machine is asked to do, and how it answers.
#ifndef LIBRAFT_REQUEST_HPP
#define LIBRAFT_REQUEST_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "bytes.hpp"
#include "exception.hpp"

LIBRAFT_NAMESPACE_BEGIN

namespace detail {
struct Trampoline;
}

template <typename Kind>
class Later;

/// What every request has. A callback gets it by reference, and answers by what it returns. Or it
/// takes later(), returns `{}`, and answers some time from some thread.
class Request {
 public:
  Request &operator=(const Request &) = delete;

  /// The handle, for the C API. It is valid until the request is answered.
  libraft_request *handle() const noexcept { return handle_; }

 protected:
  explicit Request(libraft_request *handle) noexcept : handle_(handle) {}
  Request(const Request &) = default;
  ~Request() = default;

  /// Remembers the first thing that went wrong: the request will fail with it.
  void remember(const Result<void> &result) {
    if (!result && failure_) {
      failure_ = result;
    }
  }

  void defer() noexcept { is_deferred_ = true; }

 private:
  template <typename>
  friend class Later;
  friend struct detail::Trampoline;

  libraft_request *handle_;
  bool is_deferred_ = false;
  Result<void> failure_;
};

namespace detail {

/// Says why a request is about to fail. A text that is not UTF-8 is made ASCII.
inline void set_message(libraft_request *request, std::string message) {
  if (libraft_request_set_message(request, message.c_str(), nullptr) == LIBRAFT_ERR_INVALID_UTF8) {
    for (char &byte : message) {
      byte = static_cast<unsigned char>(byte) < 0x80 ? byte : '?';
    }
    libraft_request_set_message(request, message.c_str(), nullptr);
  }
}

/// The number that a failed request is answered with: `otherwise`, if the error's says that it
/// did not fail.
inline std::int32_t failed(const Error &error, Code otherwise) noexcept {
  const auto code = static_cast<std::int32_t>(error.code());
  return code == LIBRAFT_OK || code == LIBRAFT_PENDING ? static_cast<std::int32_t>(otherwise)
                                                       : code;
}

}  // namespace detail

/// A request that is answered later: by complete() or fail(), once, from any thread. All that it
/// lends (entries, writer, reader) lives until then. One that is dropped without an answer fails.
///
/// It may outlive its group and its node: until it is answered, it keeps the state machine.
template <typename Kind>
class Later final : public Kind {
 public:
  Later(Later &&other) noexcept : Kind(other), is_open_(std::exchange(other.is_open_, false)) {}
  Later &operator=(Later &&) = delete;
  ~Later() {
    if (is_open_) {
      (void)fail(Error(Kind::failure_code, "the program dropped the request without an answer"));
    }
  }

  /// Answers that it is done; or that it failed, if a call on the request failed before.
  ///
  /// Errors: Code::invalid_handle if it was answered before.
  Result<void> complete() {
    return this->failure_ ? answer(LIBRAFT_OK) : fail(this->failure_.error());
  }

  /// Answers by what `body` returns, a Result<void>, or throws.
  template <typename Body>
  Result<void> complete_with(Body &&body) {
    const Result<void> done = detail::caught(Kind::failure_code, std::forward<Body>(body));
    return done ? complete() : fail(done.error());
  }

  /// Answers that it failed, which stops the group on this node (a failed save only fails the
  /// snapshot).
  Result<void> fail(const Error &error) {
    detail::set_message(this->handle(), error.message());
    return answer(detail::failed(error, Kind::failure_code));
  }

 private:
  friend Kind;
  explicit Later(const Kind &borrowed) noexcept : Kind(borrowed) {}

  Result<void> answer(std::int32_t code) {
    is_open_ = false;
    return detail::checked([&](libraft_error **error) {
      return libraft_request_complete(this->handle(), code, error);
    });
  }

  bool is_open_ = true;
};

/// A committed entry. `data` is borrowed until the request is answered.
struct Entry {
  /// Its position in the group's log. Indexes ascend, with gaps where the library's own entries
  /// are.
  std::uint64_t index;
  /// The term in which it was proposed.
  std::uint64_t term;
  /// What was proposed.
  bytes_view data;
  /// Its position in the request, from 0: for ApplyRequest::set_result.
  std::size_t position;
};

/// The entries of one request, in order.
class Entries {
 public:
  class iterator {
   public:
    iterator(const libraft_entry *entries, std::size_t position) noexcept
        : entries_(entries), position_(position) {}
    Entry operator*() const noexcept {
      const libraft_entry &entry = entries_[position_];
      return {entry.index, entry.term, {entry.data, entry.data_len}, position_};
    }
    iterator &operator++() noexcept {
      ++position_;
      return *this;
    }
    bool operator!=(const iterator &other) const noexcept { return position_ != other.position_; }

   private:
    const libraft_entry *entries_;
    std::size_t position_;
  };

  Entries(const libraft_entry *entries, std::size_t count) noexcept
      : entries_(entries), count_(count) {}

  std::size_t size() const noexcept { return count_; }
  iterator begin() const noexcept { return {entries_, 0}; }
  iterator end() const noexcept { return {entries_, count_}; }
  /// The entry at `position`, which must be less than size().
  Entry operator[](std::size_t position) const noexcept { return *iterator(entries_, position); }

 private:
  const libraft_entry *entries_;
  std::size_t count_;
};

/// Entries are to be applied, in order.
class ApplyRequest : public Request {
 public:
  const Entries &entries() const noexcept { return entries_; }

  /// Sets the result of the entry at `position`: whoever proposed it gets it. The bytes are copied.
  /// An entry whose result is not set has an empty one. If it fails (there is no such position;
  /// more than 256 MiB for one request), so will the request.
  void set_result(std::size_t position, bytes_view result) {
    libraft_error *error = nullptr;
    const std::int32_t code =
        libraft_results_set(results_, position, result.data(), result.size(), &error);
    if (code != LIBRAFT_OK) {
      remember(Error::take(error, code));
    }
  }

  /// For an on-disk machine: a few opaque bytes of the library's, to be stored together with the
  /// entries and given back by the next open. Borrowed until the request is answered.
  bytes_view blob() const noexcept {
    const std::uint8_t *data = nullptr;
    std::size_t length = 0;
    libraft_request_blob(handle(), &data, &length, nullptr);
    return {data, length};
  }

  /// To answer later: see Later.
  Later<ApplyRequest> later() {
    defer();
    return Later<ApplyRequest>(*this);
  }

 protected:
  ApplyRequest(const ApplyRequest &) = default;
  ~ApplyRequest() = default;

  /// How it fails, if nothing says otherwise.
  static constexpr Code failure_code = Code::apply_failed;

 private:
  friend struct detail::Trampoline;
  ApplyRequest(libraft_request *handle, Entries entries, libraft_results *results) noexcept
      : Request(handle), entries_(entries), results_(results) {}

  Entries entries_;
  libraft_results *results_;
};

/// The machine opens, before anything else.
class OpenRequest : public Request {
 public:
  /// For an on-disk machine: the index of the last entry whose effect is in its durable state (0
  /// for a fresh one), and the blob that was stored with it. If it fails, so will the request.
  void set_opened(std::uint64_t applied_index, bytes_view blob = {}) {
    remember(detail::checked([&](libraft_error **error) {
      return libraft_request_set_opened(handle(), applied_index, blob.data(), blob.size(), error);
    }));
  }

  /// To answer later: see Later.
  Later<OpenRequest> later() {
    defer();
    return Later<OpenRequest>(*this);
  }

 protected:
  OpenRequest(const OpenRequest &) = default;
  ~OpenRequest() = default;

  /// How it fails, if nothing says otherwise.
  static constexpr Code failure_code = Code::open_failed;

 private:
  friend struct detail::Trampoline;
  explicit OpenRequest(libraft_request *handle) noexcept : Request(handle) {}
};

/// What was applied is to be made durable.
class SyncRequest : public Request {
 public:
  /// To answer later: see Later.
  Later<SyncRequest> later() {
    defer();
    return Later<SyncRequest>(*this);
  }

 protected:
  SyncRequest(const SyncRequest &) = default;
  ~SyncRequest() = default;

  /// How it fails, if nothing says otherwise.
  static constexpr Code failure_code = Code::sync_failed;

 private:
  friend struct detail::Trampoline;
  explicit SyncRequest(libraft_request *handle) noexcept : Request(handle) {}
};

/// Where save_snapshot writes the state.
class SnapshotWriter : public Request {
 public:
  /// Writes the next bytes of the state: all are taken, or it fails, and so will the snapshot.
  /// Blocks on the disk or the network. The bytes are copied.
  ///
  /// Errors: Code::no_space, Code::io; Code::invalid_handle once the request is answered.
  Result<void> write(bytes_view data) {
    Result<void> written = detail::checked([&](libraft_error **error) {
      return libraft_snapshot_writer_write(writer_, data.data(), data.size(), error);
    });
    remember(written);
    return written;
  }

  /// To answer later: see Later.
  Later<SnapshotWriter> later() {
    defer();
    return Later<SnapshotWriter>(*this);
  }

 protected:
  SnapshotWriter(const SnapshotWriter &) = default;
  ~SnapshotWriter() = default;

  /// How it fails, if nothing says otherwise.
  static constexpr Code failure_code = Code::save_failed;

 private:
  friend struct detail::Trampoline;
  SnapshotWriter(libraft_request *handle, libraft_snapshot_writer *writer) noexcept
      : Request(handle), writer_(writer) {}

  libraft_snapshot_writer *writer_;
};

/// Whence restore_snapshot reads the state.
class SnapshotReader : public Request {
 public:
  /// Reads up to `capacity` bytes, and returns how many; 0 is the end. Blocks on the disk.
  ///
  /// Errors: Code::io, Code::corrupted; Code::invalid_argument for no capacity;
  /// Code::invalid_handle once the request is answered.
  Result<std::size_t> read(void *buffer, std::size_t capacity) {
    std::size_t length = 0;
    Result<void> read = detail::checked([&](libraft_error **error) {
      return libraft_snapshot_reader_read(reader_, buffer, capacity, &length, error);
    });
    if (!read) {
      remember(read);
      return read.error();
    }
    return length;
  }

  /// Reads exactly `length` bytes.
  ///
  /// Errors: as `read`; Code::corrupted if the state ends before.
  Result<void> read_exactly(void *buffer, std::size_t length) {
    auto *at = static_cast<std::uint8_t *>(buffer);
    while (length > 0) {
      Result<std::size_t> got = read(at, length);
      if (!got) {
        return got.error();
      }
      if (*got == 0) {
        return Error(Code::corrupted,
                     "the snapshot ends " + std::to_string(length) + " bytes too early");
      }
      at += *got;
      length -= *got;
    }
    return {};
  }

  /// To answer later: see Later.
  Later<SnapshotReader> later() {
    defer();
    return Later<SnapshotReader>(*this);
  }

 protected:
  SnapshotReader(const SnapshotReader &) = default;
  ~SnapshotReader() = default;

  /// How it fails, if nothing says otherwise.
  static constexpr Code failure_code = Code::restore_failed;

 private:
  friend struct detail::Trampoline;
  SnapshotReader(libraft_request *handle, libraft_snapshot_reader *reader) noexcept
      : Request(handle), reader_(reader) {}

  libraft_snapshot_reader *reader_;
};

LIBRAFT_NAMESPACE_END

#endif
