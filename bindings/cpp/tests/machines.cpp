// State machines of all kinds, and how they fail.
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include "harness.hpp"

using namespace testing;
using libraft::Code;

namespace {

class Concurrent : public libraft::ConcurrentStateMachine<State> {
 public:
  libraft::Result<void> apply(libraft::ApplyRequest &request) override {
    state.apply(request);
    return {};
  }
  libraft::Result<State> prepare_snapshot() override {
    prepared.pass();
    return state;
  }
  libraft::Result<void> save_snapshot(State &snapshot, libraft::SnapshotWriter &writer) override {
    CHECK(saving.wait());
    return snapshot.save(writer);
  }
  libraft::Result<void> restore_snapshot(libraft::SnapshotReader &reader) override {
    return state.restore(reader);
  }

  State state;
  Gate prepared, saving;
};

/// Keeps state, index and blob in a file, at every sync.
class OnDisk : public libraft::OnDiskStateMachine<State> {
 public:
  explicit OnDisk(std::string path) : path_(std::move(path)) {}

  libraft::Result<void> open(libraft::OpenRequest &request) override {
    std::ifstream file(path_, std::ios::binary);
    std::string blob_length;
    if (file >> state.last_index >> blob_length) {
      file.get();
      blob_.resize(std::stoul(blob_length));
      file.read(blob_.data(), static_cast<std::streamsize>(blob_.size()));
      state.bytes.assign(std::istreambuf_iterator<char>(file), {});
    }
    opened_at = state.last_index;
    request.set_opened(state.last_index, blob_);
    return {};
  }
  libraft::Result<void> apply(libraft::ApplyRequest &request) override {
    state.apply(request);
    blob_ = request.blob().string();
    return {};
  }
  libraft::Result<void> sync(libraft::SyncRequest &) override {
    std::ofstream(path_, std::ios::binary) << state.last_index << " " << blob_.size() << "\n"
                                           << blob_ << state.bytes;
    synced.pass();
    return {};
  }
  libraft::Result<State> prepare_snapshot() override { return state; }
  libraft::Result<void> save_snapshot(State &snapshot, libraft::SnapshotWriter &writer) override {
    return snapshot.save(writer);
  }
  libraft::Result<void> restore_snapshot(libraft::SnapshotReader &reader) override {
    return state.restore(reader);
  }

  State state;
  Gate synced;
  std::uint64_t opened_at = 0;

 private:
  std::string path_, blob_;
};

/// What pending calls, wait_ready and the group's failure say after a machine failed.
void check_failure(World &world, const libraft::Error &seen, Code code, const std::string &text) {
  CAPTURE(seen.message());
  CHECK(seen.code() == code);
  CHECK(seen.message().find(text) != std::string::npos);
  const libraft::Error waited = world.group.wait_ready(patience).error();
  CHECK(waited.code() == code);
  CHECK(waited.message().find(text) != std::string::npos);
  const std::optional<libraft::Error> failure = ok(world.group.failure());
  REQUIRE(failure);
  CHECK(failure->code() == code);
  CHECK(failure->message().find(text) != std::string::npos);
  CHECK(ok(world.group.status()).failure_code == code);
}

}  // namespace

TEST_CASE("a state outlives its process in a snapshot and the log") {
  const std::string directory = fresh_directory();
  {
    World world(std::make_shared<Memory>(), directory);
    world.wait_ready();
    ok(get(world.group.propose("one")));
    CHECK(ok(get(world.group.take_snapshot())) > 0);
    ok(get(world.group.propose("two")));
  }
  auto machine = std::make_shared<Memory>();
  World world(machine, directory);
  world.wait_ready();
  CHECK(machine->state.bytes == "onetwo");
}

TEST_CASE("a concurrent machine applies while it is saved") {
  const std::string directory = fresh_directory();
  {
    auto machine = std::make_shared<Concurrent>();
    World world(machine, directory);
    world.wait_ready();
    ok(get(world.group.propose("before")));
    auto snapshot = world.group.take_snapshot();
    REQUIRE(machine->prepared.wait());
    ok(get(world.group.propose("after")));
    machine->saving.pass();
    ok(get(std::move(snapshot)));
  }
  auto machine = std::make_shared<Concurrent>();
  machine->saving.pass();
  World world(machine, directory);
  world.wait_ready();
  CHECK(machine->state.bytes == "beforeafter");
}

TEST_CASE("an on-disk machine goes on where it says it was") {
  const std::string directory = fresh_directory();
  const std::string path = directory + ".state";
  std::remove(path.c_str());
  std::uint64_t index = 0;
  {
    auto machine = std::make_shared<OnDisk>(path);
    World world(machine, directory);
    world.wait_ready();
    CHECK(machine->opened_at == 0);
    index = ok(get(world.group.propose("kept"))).index;
    ok(get(world.group.take_snapshot()));
    REQUIRE(machine->synced.wait());
  }
  auto machine = std::make_shared<OnDisk>(path);
  World world(machine, directory);
  world.wait_ready();
  CHECK(machine->opened_at == index);
  CHECK(machine->state.bytes == "kept");
}

TEST_CASE("a machine that is quick is called on the event loop") {
  class Quick : public Memory {
    bool quick() const noexcept override { return true; }
  };
  World world(std::make_shared<Quick>());
  world.wait_ready();
  CHECK(ok(get(world.group.propose("x"))).result == "!x");
}

TEST_CASE("a machine is let go of exactly once, also if its group could not be started") {
  Gate destroyed;
  {
    World world(std::make_shared<Memory>(&destroyed));
    world.wait_ready();
    CHECK(destroyed.passed() == 0);
    auto again =
        world.node.start_group(group_options(world.node), std::make_unique<Memory>(&destroyed));
    CHECK(again.error().code() == Code::group_exists);
    CHECK(destroyed.passed() == 1);
    CHECK(world.node.start_group(group_options(world.node), nullptr).error().code() ==
          Code::invalid_argument);
    ok(world.group.stop());
    CHECK(destroyed.passed() == 2);
  }
  CHECK(destroyed.passed() == 2);
}

TEST_CASE("a failed apply stops the group with the reason, and the first close tells it again") {
  auto machine = std::make_shared<Memory>();
  machine->instead_of_apply = [](libraft::ApplyRequest &) -> libraft::Result<void> {
    return libraft::Error(Code::apply_failed, "the machine is out of order");
  };
  World world(machine);
  world.wait_ready();
  const libraft::Error error = get(world.group.propose("x")).error();
  check_failure(world, error, Code::apply_failed, "the machine is out of order");
  CHECK(error.outcome() == libraft::Outcome::unknown);
  const libraft::Error closed = world.node.close().error();
  CHECK(closed.code() == Code::apply_failed);
  CHECK(closed.message() == error.message());
  ok(world.node.close());
  World again(std::make_shared<Memory>(), world.directory);
}

TEST_CASE("a result that cannot be set fails the request") {
  auto machine = std::make_shared<Memory>();
  machine->instead_of_apply = [](libraft::ApplyRequest &request) -> libraft::Result<void> {
    request.set_result(request.entries().size(), "beyond");
    return {};
  };
  World world(machine);
  world.wait_ready();
  check_failure(world, get(world.group.propose("x")).error(), Code::apply_failed,
                "there is no entry at position 1");
}

TEST_CASE("a failed save only fails the snapshot") {
  auto machine = std::make_shared<Memory>();
  machine->instead_of_save = [](libraft::SnapshotWriter &) -> libraft::Result<void> {
    return libraft::Error(Code::save_failed, "no paper");
  };
  World world(machine);
  world.wait_ready();
  ok(get(world.group.propose("x")));
  const libraft::Error error = get(world.group.take_snapshot()).error();
  CHECK(error.code() == Code::save_failed);
  CHECK(error.message().find("no paper") != std::string::npos);
  CHECK(ok(get(world.group.propose("y"))).result == "!y");
}

TEST_CASE("a failed restore stops the group with the reason") {
  const std::string directory = fresh_directory();
  {
    World world(std::make_shared<Memory>(), directory);
    world.wait_ready();
    ok(get(world.group.propose("x")));
    ok(get(world.group.take_snapshot()));
  }
  auto machine = std::make_shared<Memory>();
  machine->instead_of_restore = [](libraft::SnapshotReader &reader) {
    char more_than_there_is[64];
    return reader.read_exactly(more_than_there_is, sizeof more_than_there_is);
  };
  World world(machine, directory);
  const libraft::Error error = world.group.wait_ready(patience).error();
  CHECK(error.code() == Code::restore_failed);
  CHECK(error.message().find("63 bytes too early") != std::string::npos);
}

TEST_CASE("a failed open says so to whoever waits") {
  class Closed : public Memory {
    libraft::Result<void> open(libraft::OpenRequest &) override {
      return libraft::Error(Code::open_failed, "the key is lost");
    }
  };
  World world(std::make_shared<Closed>());
  const libraft::Error error = world.group.wait_ready(patience).error();
  CHECK(error.code() == Code::open_failed);
  CHECK(error.message().find("the key is lost") != std::string::npos);
}

TEST_CASE("a request may be answered later, from another thread") {
  auto machine = std::make_shared<Memory>();
  std::vector<std::thread> threads;
  machine->instead_of_apply = [&](libraft::ApplyRequest &request) -> libraft::Result<void> {
    threads.emplace_back([&, later = request.later()]() mutable {
      machine->state.apply(later);
      ok(later.complete());
      CHECK(later.complete().error().code() == Code::invalid_handle);
    });
    return {};
  };
  World world(machine);
  world.wait_ready();
  CHECK(ok(get(world.group.propose("one"))).result == "!one");
  CHECK(ok(get(world.group.propose("two"))).result == "!two");
  ok(world.node.close());
  for (std::thread &thread : threads) {
    thread.join();
  }
  CHECK(machine->state.bytes == "onetwo");
}

TEST_CASE("a request that is answered later may fail, and fails when it is dropped") {
  for (const bool is_dropped : {false, true}) {
    auto machine = std::make_shared<Memory>();
    machine->instead_of_apply = [&](libraft::ApplyRequest &request) -> libraft::Result<void> {
      libraft::Later<libraft::ApplyRequest> later = request.later();
      if (!is_dropped) {
        ok(later.fail(libraft::Error(Code::apply_failed, "too late")));
      }
      return {};
    };
    World world(machine);
    world.wait_ready();
    check_failure(world, get(world.group.propose("x")).error(), Code::apply_failed,
                  is_dropped ? "dropped the request without an answer" : "too late");
  }
}

TEST_CASE("snapshots may be saved and restored later") {
  const std::string directory = fresh_directory();
  std::vector<std::thread> threads;
  const auto defer = [&](std::shared_ptr<Memory> machine) {
    machine->instead_of_save = [&, raw = machine.get()](libraft::SnapshotWriter &writer) {
      threads.emplace_back([raw, later = writer.later()]() mutable {
        ok(raw->state.save(later));
        ok(later.complete());
      });
      return libraft::Result<void>();
    };
    machine->instead_of_restore = [&, raw = machine.get()](libraft::SnapshotReader &reader) {
      threads.emplace_back([raw, later = reader.later()]() mutable {
        ok(raw->state.restore(later));
        ok(later.complete());
      });
      return libraft::Result<void>();
    };
    return machine;
  };
  {
    World world(defer(std::make_shared<Memory>()), directory);
    world.wait_ready();
    ok(get(world.group.propose("saved later")));
    ok(get(world.group.take_snapshot()));
  }
  auto machine = defer(std::make_shared<Memory>());
  World world(machine, directory);
  world.wait_ready();
  ok(world.node.close());
  CHECK(machine->state.bytes == "saved later");
  CHECK(threads.size() == 2);
  for (std::thread &thread : threads) {
    thread.join();
  }
}

#if LIBRAFT_EXCEPTIONS
TEST_CASE(
    "an exception in apply stops the group with its type, its text and what is nested in it") {
  auto machine = std::make_shared<Memory>();
  machine->instead_of_apply = [](libraft::ApplyRequest &) -> libraft::Result<void> {
    try {
      throw std::out_of_range("no such seat");
    } catch (...) {
      std::throw_with_nested(std::runtime_error("cannot sit down"));
    }
  };
  World world(machine);
  world.wait_ready();
  const libraft::Error error = get(world.group.propose("x")).error();
  check_failure(world, error, Code::apply_failed,
                "cannot sit down; because of std::out_of_range: no such seat");
  CHECK(error.message().find("std::runtime_error") != std::string::npos);
}

TEST_CASE("whatever is thrown, it stays on this side of the boundary") {
  const std::vector<std::pair<std::function<void()>, std::string>> throwers = {
      {[] { throw 42; }, "int: not a std::exception"},
      {[] { throw "a text"; }, "char const*: a text"},
      {[] { throw std::string("caf\xe9"); }, "caf?"},
      {[] { throw libraft::BusyError(libraft::Error(Code::busy, "later")); },
       "answered 203: libraft::BusyError: later"},
  };
  for (const auto &[thrower, text] : throwers) {
    auto machine = std::make_shared<Memory>();
    machine->instead_of_apply = [&thrower = thrower](libraft::ApplyRequest &) {
      thrower();
      return libraft::Result<void>();
    };
    World world(machine);
    world.wait_ready();
    check_failure(world, get(world.group.propose("x")).error(), Code::apply_failed, text);
  }
}

TEST_CASE("an exception on the way to a later answer is that answer") {
  auto machine = std::make_shared<Memory>();
  std::thread thread;
  machine->instead_of_apply = [&](libraft::ApplyRequest &request) -> libraft::Result<void> {
    thread = std::thread([later = request.later()]() mutable {
      ok(later.complete_with([]() -> libraft::Result<void> { throw std::range_error("too far"); }));
    });
    return {};
  };
  World world(machine);
  world.wait_ready();
  check_failure(world, get(world.group.propose("x")).error(), Code::apply_failed,
                "std::range_error: too far");
  // The answer may be here before the callback, which still has to put the thread in its place.
  CHECK(world.node.close().error().code() == Code::apply_failed);
  thread.join();
}

TEST_CASE("exceptions in save and restore are failures of save and restore") {
  const std::string directory = fresh_directory();
  {
    auto machine = std::make_shared<Memory>();
    machine->instead_of_save = [](libraft::SnapshotWriter &) -> libraft::Result<void> {
      throw std::runtime_error("no ink");
    };
    World world(machine, directory);
    world.wait_ready();
    ok(get(world.group.propose("x")));
    const libraft::Error error = get(world.group.take_snapshot()).error();
    CHECK(error.code() == Code::save_failed);
    CHECK(error.message().find("std::runtime_error: no ink") != std::string::npos);
    machine->instead_of_save = nullptr;
    ok(get(world.group.take_snapshot()));
  }
  auto machine = std::make_shared<Memory>();
  machine->instead_of_restore = [](libraft::SnapshotReader &) -> libraft::Result<void> {
    throw std::runtime_error("illegible");
  };
  World world(machine, directory);
  const libraft::Error error = world.group.wait_ready(patience).error();
  CHECK(error.code() == Code::restore_failed);
  CHECK(error.message().find("std::runtime_error: illegible") != std::string::npos);
}

namespace {
Gate strays;
}

TEST_CASE("an exception of a completion goes to the handler, and the library goes on") {
  World world(std::make_shared<Memory>());
  world.wait_ready();
  libraft::set_stray_exception_handler([]() noexcept {
    try {
      throw;
    } catch (const std::runtime_error &) {
      strays.pass();
    }
  });
  ok(world.group.propose("x", [](libraft::Completion) { throw std::runtime_error("stray"); }));
  ok(world.group.propose(
      "x", [](libraft::Completion) { throw std::runtime_error("stray"); }, libraft::quick));
  REQUIRE(strays.wait(2));
  libraft::set_stray_exception_handler(nullptr);
  CHECK(ok(get(world.group.propose("y"))).result == "!y");
}
#endif
