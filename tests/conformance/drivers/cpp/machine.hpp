// The ledger as a state machine of libraft: of every kind and style, and failing when it is told
// to.
#ifndef DRIVER_MACHINE_HPP
#define DRIVER_MACHINE_HPP

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "ledger.hpp"

namespace driver {

/// How a machine is made.
struct Form {
  std::string kind = "memory";
  /// Answers from another thread, after the callback has returned.
  bool is_async = false;
  bool is_quick = false;
  /// The folder of an on-disk machine.
  std::string folder;
};

/// The ledger and how it behaves: what the machine and the driver's commands both reach.
class Shared {
 public:
  explicit Shared(Form form) : form_(std::move(form)) {}

  const Form &form() const { return form_; }
  Ledger ledger();
  void set_block(std::chrono::milliseconds block);
  void set_fail(const std::string &callback);
  void set_pend(const std::string &callback);
  void release();
  /// The next apply calls this first.
  void before_next_apply(std::function<void()> action);

  // The callbacks.
  libraft::Result<void> open(libraft::OpenRequest &request);
  libraft::Result<void> apply(libraft::ApplyRequest &request);
  libraft::Result<void> sync();
  libraft::Result<Ledger> prepare();
  libraft::Result<void> save(libraft::SnapshotWriter &writer, const Ledger &ledger);
  libraft::Result<void> restore(libraft::SnapshotReader &reader);

 private:
  /// What every callback does before its work: it waits while it is told to, and fails if it is
  /// told to.
  libraft::Result<void> behave(const std::string &callback);
  libraft::Result<void> write_file();

  const Form form_;
  std::mutex mutex_;
  std::condition_variable released_;
  Ledger ledger_;
  std::chrono::milliseconds block_{0};
  std::string fail_, pend_;
  std::uint64_t releases_ = 0;
  std::function<void()> before_apply_;
};

/// Machines that were destroyed since the driver started.
extern std::atomic<std::uint64_t> destroyed;

std::shared_ptr<libraft::AnyStateMachine> make_machine(const std::shared_ptr<Shared> &shared);

}  // namespace driver

#endif
