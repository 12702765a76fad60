// Opening, closing and stopping, from everywhere.
#include <thread>
#include <vector>

#include "harness.hpp"

using namespace testing;
using libraft::Code;

TEST_CASE("a directory that is no directory, an identity that is another's: errors with a code") {
  const std::string directory = fresh_directory();
  libraft::NodeOptions options = node_options(directory);
  libraft::Node node = ok(libraft::Node::open(options));
  CHECK(libraft::Node::open(options).error().code() == Code::directory_in_use);
  ok(node.close());
  options.node_id = 2;
  CHECK(libraft::Node::open(options).error().code() == Code::wrong_identity);
  options.node_id = 0;
  CHECK(libraft::Node::open(options).error().code() == Code::invalid_argument);
  options = node_options(fresh_directory());
  options.cluster = "\xff\xfe";
  CHECK(libraft::Node::open(options).error().code() == Code::invalid_utf8);
  options = node_options(fresh_directory());
  options.listen_address = "0.0.0.0:0";
  CHECK(libraft::Node::open(options).error().code() == Code::insecure_address);
}

TEST_CASE("leaving the scope closes the node: its directory can be opened again") {
  const std::string directory = fresh_directory();
  for (int round = 1; round <= 3; ++round) {
    World world(std::make_shared<Memory>(), directory);
    world.wait_ready();
    CHECK(ok(world.node.status()).boot_counter == static_cast<std::uint64_t>(round));
  }
}

TEST_CASE("a node that is assigned over is closed") {
  const std::string directory = fresh_directory();
  libraft::Node node = ok(libraft::Node::open(node_options(directory)));
  node = libraft::Node();
  node = ok(libraft::Node::open(node_options(directory)));
  CHECK(ok(node.status()).boot_counter == 2);
}

TEST_CASE("closing completes what is pending, and everything afterwards says closed") {
  auto machine = std::make_shared<Memory>();
  Gate inside, go_on;
  machine->instead_of_apply = [&](libraft::ApplyRequest &) {
    inside.pass();
    CHECK(go_on.wait());
    return libraft::Result<void>();
  };
  World world(machine);
  world.wait_ready();
  auto pending = world.group.propose("x");
  REQUIRE(inside.wait());
  std::thread closer([&] { ok(world.node.close()); });
  const libraft::Error error = get(std::move(pending)).error();
  CHECK(error.code() == Code::closed);
  CHECK(error.outcome() == libraft::Outcome::unknown);
  go_on.pass();
  closer.join();
  ok(world.node.close());
  CHECK(get(world.group.propose("x")).error().code() == Code::closed);
}

TEST_CASE("closing in the background calls back when the directory is free") {
  const std::string directory = fresh_directory();
  World world(std::make_shared<Memory>(), directory);
  world.wait_ready();
  Gate closed;
  Code code = Code::internal;
  ok(world.node.close_async([&](const libraft::Result<void> &result) {
    code = result.error().code();
    closed.pass();
  }));
  REQUIRE(closed.wait());
  CHECK(code == Code::ok);
  World again(std::make_shared<Memory>(), directory);
  CHECK(world.node.close_async([](const libraft::Result<void> &) {}).error().code() ==
        Code::closed);
}

TEST_CASE("a blocking call in a callback is refused, and a close begins all the same") {
  auto machine = std::make_shared<Memory>();
  Gate destroyed;
  World world(std::make_shared<Memory>(&destroyed));
  world.wait_ready();
  std::vector<Code> codes;
  Gate called;
  ok(world.group.propose("x", [&](libraft::Completion) {
    codes.push_back(world.group.wait_ready(1s).error().code());
    codes.push_back(world.group.stop().error().code());
    codes.push_back(world.node.close().error().code());
    called.pass();
  }));
  REQUIRE(called.wait());
  CHECK(codes == std::vector<Code>(3, Code::would_deadlock));
  REQUIRE(destroyed.wait());
  ok(world.node.close());
}

TEST_CASE("a node may be destroyed inside of a callback") {
  auto machine = std::make_shared<Memory>();
  const std::string directory = fresh_directory();
  auto world = std::make_unique<World>(machine, directory);
  world->wait_ready();
  libraft::Group group = ok(world->node.group(1));
  Gate over;
  ok(group.propose(
      "x", [&over, owned = std::shared_ptr<World>(std::move(world))](libraft::Completion) mutable {
        owned.reset();
        over.pass();
      }));
  REQUIRE(over.wait());
  ok(group.stop());
}

TEST_CASE("a node that is let go of closes by itself") {
  Gate destroyed;
  World world(std::make_shared<Memory>(&destroyed));
  world.wait_ready();
  world.node.free();
  REQUIRE(destroyed.wait());
}

TEST_CASE("a stopped group is over, and can be started again") {
  Gate destroyed, stopped;
  World world(std::make_shared<Memory>(&destroyed));
  world.wait_ready();
  ok(get(world.group.propose("kept")));
  ok(world.group.stop_async([&](const libraft::Result<void> &result) {
    CHECK(result);
    stopped.pass();
  }));
  REQUIRE(stopped.wait());
  CHECK(destroyed.passed() == 1);
  ok(world.group.stop());
  CHECK(get(world.group.propose("x")).error().code() == Code::stopped);
  auto machine = std::make_shared<Memory>();
  libraft::Group group = ok(world.node.start_group(group_options(world.node), machine));
  ok(group.wait_ready(patience));
  CHECK(machine->state.bytes == "kept");
}
