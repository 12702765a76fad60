// What the tests share: a state machine that remembers, and a node with a group of its own.
#ifndef HARNESS_HPP
#define HARNESS_HPP

#include <doctest/doctest.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <libraft.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace testing {

using namespace std::chrono_literals;

// Nothing waits for time to pass; this is the end of all patience.
inline constexpr std::chrono::seconds patience = 60s;

/// A folder that is empty now, below the working directory, which run-tests removes.
inline std::string fresh_directory() {
  static int count = 0;
  const std::string name = "data-" + std::to_string(count++);
  std::filesystem::remove_all(name);
  return name;
}

/// Threads wait until it was passed often enough.
class Gate {
 public:
  void pass() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++passed_;
    changed_.notify_all();
  }
  bool wait(int count = 1) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, patience, [&] { return passed_ >= count; });
  }
  int passed() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return passed_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int passed_ = 0;
};

/// The value of a future that must come.
template <typename Value>
Value get(std::future<Value> future) {
  REQUIRE(future.wait_for(patience) == std::future_status::ready);
  return future.get();
}

/// What must have succeeded; its error is part of what the test says.
template <typename Value>
Value ok(libraft::Result<Value> result) {
  CAPTURE(result.error().message());
  REQUIRE(result.has_value());
  return *std::move(result);
}
inline void ok(const libraft::Result<void> &result) {
  CAPTURE(result.error().message());
  REQUIRE(result.has_value());
}

/// All entries one behind the other. The result of an entry is the entry with a '!' in front.
struct State {
  std::string bytes;
  std::uint64_t last_index = 0;

  void apply(libraft::ApplyRequest &request) {
    for (const libraft::Entry entry : request.entries()) {
      bytes += entry.data.text();
      last_index = entry.index;
      request.set_result(entry.position, "!" + entry.data.string());
    }
  }
  libraft::Result<void> save(libraft::SnapshotWriter &writer) const { return writer.write(bytes); }
  libraft::Result<void> restore(libraft::SnapshotReader &reader) {
    std::string read;
    char buffer[7];
    for (;;) {
      const libraft::Result<std::size_t> got = reader.read(buffer, sizeof buffer);
      if (!got) {
        return got.error();
      }
      if (*got == 0) {
        bytes = read;
        return {};
      }
      read.append(buffer, *got);
    }
  }
};

/// A machine in memory, whose apply a test may replace.
class Memory : public libraft::StateMachine {
 public:
  explicit Memory(Gate *destroyed = nullptr) : destroyed_(destroyed) {}
  ~Memory() override {
    if (destroyed_ != nullptr) {
      destroyed_->pass();
    }
  }

  libraft::Result<void> apply(libraft::ApplyRequest &request) override {
    if (instead_of_apply) {
      return instead_of_apply(request);
    }
    state.apply(request);
    return {};
  }
  libraft::Result<void> save_snapshot(libraft::SnapshotWriter &writer) override {
    return instead_of_save ? instead_of_save(writer) : state.save(writer);
  }
  libraft::Result<void> restore_snapshot(libraft::SnapshotReader &reader) override {
    return instead_of_restore ? instead_of_restore(reader) : state.restore(reader);
  }

  State state;
  std::function<libraft::Result<void>(libraft::ApplyRequest &)> instead_of_apply;
  std::function<libraft::Result<void>(libraft::SnapshotWriter &)> instead_of_save;
  std::function<libraft::Result<void>(libraft::SnapshotReader &)> instead_of_restore;

 private:
  Gate *destroyed_;
};

inline libraft::NodeOptions node_options(const std::string &directory) {
  libraft::NodeOptions options;
  options.cluster = "tests";
  options.node_id = 1;
  options.directory = directory;
  options.tick = 20ms;
  options.segment_bytes = 4 << 20;
  return options;
}

/// Group 1, with this node as its only member.
inline libraft::GroupOptions group_options(const libraft::Node &node) {
  libraft::GroupOptions options;
  options.group_id = 1;
  options.initial_members = {{1, ok(node.status()).address}};
  return options;
}

/// A node with a group of its own.
struct World {
  std::string directory;
  libraft::Node node;
  libraft::Group group;

  explicit World(std::shared_ptr<libraft::AnyStateMachine> machine,
                 std::string folder = fresh_directory())
      : directory(std::move(folder)),
        node(ok(libraft::Node::open(node_options(directory)))),
        group(ok(node.start_group(group_options(node), std::move(machine)))) {}

  void wait_ready() { ok(group.wait_ready(patience)); }
};

}  // namespace testing

#endif
