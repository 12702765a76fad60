// Groups of several nodes.
#include <vector>

#include "harness.hpp"

using namespace testing;
using libraft::Change;
using libraft::Code;

namespace {

/// Three nodes, of which the first two form the group.
struct Cluster {
  std::vector<std::shared_ptr<Memory>> machines;
  std::vector<libraft::Node> nodes;
  std::vector<libraft::Group> groups;
  std::vector<std::string> addresses;

  Cluster() {
    for (std::uint64_t id = 1; id <= 3; ++id) {
      libraft::NodeOptions options = node_options(fresh_directory());
      options.node_id = id;
      // Nobody is to vote because the machine is busy for a moment.
      options.tick = 100ms;
      nodes.push_back(ok(libraft::Node::open(options)));
      addresses.push_back(ok(nodes.back().status()).address);
    }
    for (std::size_t at = 0; at < 3; ++at) {
      libraft::GroupOptions options;
      options.group_id = 1;
      if (at < 2) {
        options.initial_members = {{1, addresses[0]}, {2, addresses[1]}};
      }
      machines.push_back(std::make_shared<Memory>());
      groups.push_back(ok(nodes[at].start_group(options, machines.back())));
    }
    ok(groups[0].wait_ready(patience));
    ok(groups[1].wait_ready(patience));
  }

  /// Promotes a learner, as soon as it has caught up.
  void promote(std::size_t leader, std::uint64_t node_id) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    libraft::Result<void> promoted;
    do {
      promoted = get(groups[leader].change_membership({Change::promote(node_id)}));
    } while (!promoted && promoted.error().code() == Code::membership_invalid &&
             std::chrono::steady_clock::now() < deadline);
    ok(promoted);
  }

  /// The position of the leader, as the first node knows it.
  std::size_t leader() {
    ok(groups[0].wait_ready(patience));
    return static_cast<std::size_t>(ok(groups[0].status()).leader_node_id - 1);
  }
};

}  // namespace

TEST_CASE("any member proposes, the leader changes, a newcomer gets the state") {
  Gate connected;
  ok(libraft::set_log_callback(libraft::LogLevel::info, [&](const libraft::LogRecord &record) {
    if (record.level == libraft::LogLevel::info && record.target.substr(0, 7) == "libraft" &&
        record.message.find("connected") != std::string_view::npos) {
      connected.pass();
    }
  }));
  Cluster cluster;
  CHECK(connected.wait(2));
  ok(get(cluster.groups[0].propose("a")));
  ok(get(cluster.groups[1].propose("b")));

  const std::size_t leader = cluster.leader(), follower = 1 - leader;
  const libraft::Error error =
      get(cluster.groups[follower].change_membership({Change::remove(1)})).error();
  CHECK(error.code() == Code::not_leader);
  CHECK(error.retriable());
  REQUIRE(error.leader());
  CHECK(error.leader()->node_id == leader + 1);
  CHECK(error.leader()->address == cluster.addresses[leader]);

  ok(get(cluster.groups[leader].change_membership({Change::add_learner(3, cluster.addresses[2])})));
  ok(cluster.groups[2].wait_ready(patience));
  cluster.promote(leader, 3);
  CHECK(ok(cluster.groups[leader].members()).size() == 3);
  ok(get(cluster.groups[2].read_index()));
  CHECK(cluster.machines[2]->state.bytes == "ab");

  ok(get(cluster.groups[leader].transfer_leadership(3)));
  ok(get(cluster.groups[2].propose("c")));
  ok(get(cluster.groups[0].read_index()));
  CHECK(cluster.machines[0]->state.bytes == "abc");
  ok(libraft::set_log_callback(libraft::LogLevel::off, nullptr));
  const auto wrong = libraft::set_log_callback(static_cast<libraft::LogLevel>(77), nullptr);
  CHECK(wrong.error().code() == Code::invalid_argument);
}
