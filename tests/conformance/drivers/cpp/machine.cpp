#include "machine.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace driver {

std::atomic<std::uint64_t> destroyed{0};

namespace {

/// A failure as a user's: by an exception, where there are any.
libraft::Error failure(libraft::Code code, const std::string &message) {
#if LIBRAFT_EXCEPTIONS
  (void)code;
  throw std::runtime_error(message);
#else
  return {code, message};
#endif
}

libraft::Error system_failure(const std::string &what) {
  return failure(libraft::Code::io, what + ": " + std::strerror(errno));
}

libraft::Code code_of(const std::string &callback) {
  return callback == "apply"     ? libraft::Code::apply_failed
         : callback == "open"    ? libraft::Code::open_failed
         : callback == "sync"    ? libraft::Code::sync_failed
         : callback == "restore" ? libraft::Code::restore_failed
                                 : libraft::Code::save_failed;
}

/// Syncs a file or a folder.
bool sync_path(const std::string &path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool is_synced = file >= 0 && fsync(file) == 0;
  if (file >= 0) {
    ::close(file);
  }
  return is_synced;
}

}  // namespace

Ledger Shared::ledger() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return ledger_;
}

void Shared::set_block(std::chrono::milliseconds block) {
  const std::lock_guard<std::mutex> lock(mutex_);
  block_ = block;
}

void Shared::set_fail(const std::string &callback) {
  const std::lock_guard<std::mutex> lock(mutex_);
  fail_ = callback;
}

void Shared::set_pend(const std::string &callback) {
  const std::lock_guard<std::mutex> lock(mutex_);
  pend_ = callback;
}

void Shared::release() {
  const std::lock_guard<std::mutex> lock(mutex_);
  pend_.clear();
  ++releases_;
  released_.notify_all();
}

void Shared::before_next_apply(std::function<void()> action) {
  const std::lock_guard<std::mutex> lock(mutex_);
  before_apply_ = std::move(action);
}

libraft::Result<void> Shared::behave(const std::string &callback) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (pend_ == callback) {
    released_.wait(lock, [this, releases = releases_] { return releases_ != releases; });
  }
  if (fail_ == callback) {
    lock.unlock();
    return failure(code_of(callback), "planned failure of " + callback);
  }
  return {};
}

libraft::Result<void> Shared::open(libraft::OpenRequest &request) {
  if (const auto behaved = behave("open"); !behaved) {
    return behaved;
  }
  if (form_.kind != "disk") {
    return {};
  }
  std::string bytes;
  if (std::FILE *file = std::fopen((form_.folder + "/state").c_str(), "rb")) {
    char part[4096];
    for (std::size_t got; (got = std::fread(part, 1, sizeof part, file)) > 0;) {
      bytes.append(part, got);
    }
    std::fclose(file);
    std::optional<Ledger> ledger = Ledger::from_bytes(bytes);
    if (!ledger) {
      return failure(libraft::Code::open_failed, "the file state is no ledger");
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    ledger_ = *std::move(ledger);
  } else if (errno != ENOENT) {
    return system_failure("the file state cannot be read");
  }
  request.set_opened(ledger().applied);
  return {};
}

libraft::Result<void> Shared::apply(libraft::ApplyRequest &request) {
  std::unique_lock<std::mutex> lock(mutex_);
  const std::function<void()> action = std::exchange(before_apply_, nullptr);
  const std::chrono::milliseconds block = block_;
  lock.unlock();
  if (block.count() > 0) {
    std::this_thread::sleep_for(block);
  }
  if (action) {
    action();
  }
  if (const auto behaved = behave("apply"); !behaved) {
    return behaved;
  }
  lock.lock();
  for (const libraft::Entry entry : request.entries()) {
    const libraft::Result<std::uint64_t> count = ledger_.apply(entry);
    if (!count) {
      return failure(libraft::Code::apply_failed, count.error().message());
    }
    request.set_result(entry.position, little_endian(*count, 8));
  }
  return {};
}

libraft::Result<void> Shared::sync() {
  const auto behaved = behave("sync");
  return behaved ? write_file() : behaved;
}

libraft::Result<void> Shared::write_file() {
  const std::string path = form_.folder + "/state", fresh = path + ".new";
  const std::string bytes = ledger().to_bytes();
  std::FILE *file = std::fopen(fresh.c_str(), "wb");
  if (file == nullptr) {
    return system_failure(fresh + " cannot be opened");
  }
  const bool is_whole = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  if ((std::fclose(file) != 0) | !is_whole || !sync_path(fresh) ||
      std::rename(fresh.c_str(), path.c_str()) != 0 || !sync_path(form_.folder)) {
    return system_failure(path + " cannot be written");
  }
  return {};
}

libraft::Result<Ledger> Shared::prepare() {
  const auto behaved = behave("prepare");
  return behaved ? libraft::Result<Ledger>(ledger()) : behaved.error();
}

libraft::Result<void> Shared::save(libraft::SnapshotWriter &writer, const Ledger &ledger) {
  const auto behaved = behave("save");
  return behaved ? writer.write(ledger.to_bytes()) : behaved;
}

libraft::Result<void> Shared::restore(libraft::SnapshotReader &reader) {
  if (const auto behaved = behave("restore"); !behaved) {
    return behaved;
  }
  std::string bytes(4096, '\0');
  std::size_t length = 0;
  for (;;) {
    const libraft::Result<std::size_t> got = reader.read(&bytes[length], bytes.size() - length);
    if (!got) {
      return got.error();
    }
    if (*got == 0) {
      break;
    }
    length += *got;
    bytes.resize(length + 4096 > bytes.size() ? 2 * bytes.size() : bytes.size());
  }
  std::optional<Ledger> ledger = Ledger::from_bytes({bytes.data(), length});
  if (!ledger) {
    return failure(libraft::Code::restore_failed, "the snapshot is no ledger");
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ledger_ = *std::move(ledger);
  }
  return form_.kind == "disk" ? write_file() : libraft::Result<void>();
}

namespace {

/// Answers here, or from a thread of its own.
template <typename Kind, typename Body>
libraft::Result<void> respond(const Form &form, Kind &request, Body body) {
  if (!form.is_async) {
    return body(request);
  }
  std::thread([later = request.later(), body]() mutable {
    (void)later.complete_with([&] { return body(later); });
  }).detach();
  return {};
}

/// What the machines of all kinds do alike.
template <typename Base>
class Common : public Base {
 public:
  explicit Common(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  ~Common() override { ++destroyed; }

  bool quick() const noexcept override { return shared_->form().is_quick; }
  libraft::Result<void> open(libraft::OpenRequest &request) override {
    return shared_->open(request);
  }
  libraft::Result<void> apply(libraft::ApplyRequest &request) override {
    return respond(shared_->form(), request, [shared = shared_](libraft::ApplyRequest &apply) {
      return shared->apply(apply);
    });
  }
  libraft::Result<void> restore_snapshot(libraft::SnapshotReader &reader) override {
    return respond(shared_->form(), reader, [shared = shared_](libraft::SnapshotReader &restore) {
      return shared->restore(restore);
    });
  }

 protected:
  libraft::Result<void> save(const Ledger &ledger, libraft::SnapshotWriter &writer) {
    return respond(shared_->form(), writer,
                   [shared = shared_, ledger](libraft::SnapshotWriter &save) {
                     return shared->save(save, ledger);
                   });
  }

  const std::shared_ptr<Shared> shared_;
};

class Memory final : public Common<libraft::StateMachine> {
  using Common::Common;
  libraft::Result<void> save_snapshot(libraft::SnapshotWriter &writer) override {
    return save(shared_->ledger(), writer);
  }
};

/// Those that copy the state, and save the copy.
template <typename Base>
class Preparing : public Common<Base> {
  using Common<Base>::Common;
  libraft::Result<Ledger> prepare_snapshot() override { return this->shared_->prepare(); }
  libraft::Result<void> save_snapshot(Ledger &ledger, libraft::SnapshotWriter &writer) override {
    return this->save(ledger, writer);
  }
};

using Concurrent = Preparing<libraft::ConcurrentStateMachine<Ledger>>;

class Disk final : public Preparing<libraft::OnDiskStateMachine<Ledger>> {
  using Preparing::Preparing;
  libraft::Result<void> sync(libraft::SyncRequest &) override { return shared_->sync(); }
};

}  // namespace

std::shared_ptr<libraft::AnyStateMachine> make_machine(const std::shared_ptr<Shared> &shared) {
  if (shared->form().kind == "disk") {
    return std::make_shared<Disk>(shared);
  }
  if (shared->form().kind == "concurrent") {
    return std::make_shared<Concurrent>(shared);
  }
  return std::make_shared<Memory>(shared);
}

}  // namespace driver
