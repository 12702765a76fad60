// Proposals, reads and what becomes of them.
#include <future>
#include <vector>

#include "harness.hpp"

using namespace testing;
using libraft::Code;

TEST_CASE("a proposal is applied, and its future has the result") {
  auto machine = std::make_shared<Memory>();
  World world(machine);
  world.wait_ready();
  const libraft::Applied first = ok(get(world.group.propose("one")));
  const libraft::Applied second = ok(get(world.group.propose(std::string("t\0o", 3))));
  CHECK(first.result == "!one");
  CHECK(second.result == std::string("!t\0o", 4));
  CHECK(first.term > 0);
  CHECK(second.index == first.index + 1);
  CHECK(ok(get(world.group.read_index())) >= second.index);
  CHECK(machine->state.bytes == std::string("onet\0o", 6));
}

TEST_CASE("callbacks hear of proposals and reads, on either thread") {
  World world(std::make_shared<Memory>());
  world.wait_ready();
  Gate done;
  std::string results;
  std::uint64_t read = 0;
  const auto see = [&](const libraft::Completion &completion) {
    CHECK(completion);
    CHECK(completion.code() == Code::ok);
    CHECK(completion.outcome() == libraft::Outcome::applied);
    CHECK(completion.position() == 0);
    CHECK(completion.error().code() == Code::ok);
    results += completion.result().text();
    done.pass();
  };
  ok(world.group.propose("a", see));
  REQUIRE(done.wait(1));
  ok(world.group.propose("b", see, libraft::quick));
  REQUIRE(done.wait(2));
  CHECK(results == "!a!b");
  ok(world.group.read_index([&](libraft::Completion completion) {
    read = completion.index();
    done.pass();
  }));
  REQUIRE(done.wait(3));
  CHECK(read > 0);
}

TEST_CASE("a callback may own what it captures, and is destroyed once it was called") {
  World world(std::make_shared<Memory>());
  world.wait_ready();
  auto token = std::make_shared<int>(7);
  const std::weak_ptr<int> watched = token;
  Gate called;
  struct Guard {
    std::shared_ptr<int> token;
    Gate *called;
    void operator()(libraft::Completion) { called->pass(); }
  };
  ok(world.group.propose("x", Guard{std::move(token), &called}));
  REQUIRE(called.wait());
  ok(world.node.close());
  CHECK(watched.expired());
}

TEST_CASE("a batch completes with one result for each entry, in order") {
  World world(std::make_shared<Memory>());
  world.wait_ready();
  libraft::Batch batch;
  for (int i = 0; i < 100; ++i) {
    batch.add(std::to_string(i));
  }
  const std::vector<libraft::Result<libraft::Applied>> results =
      ok(get(world.group.propose_batch(batch)));
  REQUIRE(results.size() == 100);
  for (std::size_t i = 0; i < 100; ++i) {
    CHECK(results[i].value().result == "!" + std::to_string(i));
    CHECK(results[i]->index == results[0]->index + i);
  }
  Gate done;
  std::string seen;
  ok(world.group.propose_batch(
      batch,
      [&](const libraft::Completions &completions) {
        CHECK(completions[99].position() == 99);
        for (const libraft::Completion completion : completions) {
          seen += completion.result().text();
        }
        done.pass();
      },
      libraft::quick));
  REQUIRE(done.wait());
  CHECK(seen.substr(0, 6) == "!0!1!2");
}

TEST_CASE("what is refused says so at once, and is never called back") {
  World world(std::make_shared<Memory>());
  world.wait_ready();
  CHECK(get(world.group.propose("")).error().code() == Code::empty_proposal);
  CHECK(get(world.group.propose_batch({})).error().code() == Code::invalid_argument);
  libraft::Batch with_null;
  with_null.add("x");
  with_null.add({nullptr, 4});
  CHECK(get(world.group.propose_batch(with_null)).error().code() == Code::invalid_argument);
  CHECK(get(world.group.propose({nullptr, 4})).error().code() == Code::invalid_argument);
  const std::string large((8 << 20) + 1, 'x');
  CHECK(get(world.group.propose(large)).error().code() == Code::too_large);
  const libraft::Result<void> refused =
      world.group.propose("", [](libraft::Completion) { FAIL("a refused call was completed"); });
  CHECK(refused.error().code() == Code::empty_proposal);
  CHECK(refused.error().outcome() == libraft::Outcome::rejected);
  CHECK_FALSE(refused.error().retriable());
  ok(world.node.close());
}

TEST_CASE("a handle to nothing is refused, not followed") {
  libraft::Group nothing;
  libraft::Node nowhere;
  CHECK(get(nothing.propose("x")).error().code() == Code::invalid_argument);
  CHECK(nothing.status().error().code() == Code::invalid_argument);
  CHECK(nothing.stop().error().code() == Code::invalid_argument);
  CHECK(nowhere.status().error().code() == Code::invalid_argument);
  CHECK(nowhere.close().error().code() == Code::invalid_argument);
  CHECK(nowhere.group(1).error().code() == Code::invalid_argument);
}

TEST_CASE("a moved handle leaves nothing behind, and the group goes on") {
  World world(std::make_shared<Memory>());
  world.wait_ready();
  libraft::Group taken = std::move(world.group);
  CHECK(world.group.handle() == nullptr);
  CHECK(ok(get(taken.propose("x"))).result == "!x");
  taken = ok(world.node.group(1));
  CHECK(ok(get(taken.propose("y"))).result == "!y");
  CHECK(world.node.group(2).error().code() == Code::group_not_found);
}

TEST_CASE("membership calls tell what is wrong with them") {
  World world(std::make_shared<Memory>());
  world.wait_ready();
  CHECK(get(world.group.change_membership({libraft::Change::remove(1)})).error().code() ==
        Code::membership_invalid);
  CHECK(get(world.group.change_membership({libraft::Change::promote(9)})).error().code() ==
        Code::unknown_member);
  CHECK(get(world.group.change_membership({libraft::Change::add_voter(2, "nonsense")}))
            .error()
            .code() == Code::address_invalid);
  CHECK(get(world.group.transfer_leadership(9)).error().code() == Code::unknown_member);
  Gate done;
  Code code = Code::ok;
  ok(world.group.transfer_leadership(9, [&](libraft::Completion completion) {
    code = completion.error().code();
    done.pass();
  }));
  REQUIRE(done.wait());
  CHECK(code == Code::unknown_member);
}

TEST_CASE("status and members tell what the C API tells") {
  World world(std::make_shared<Memory>());
  world.wait_ready();
  const libraft::Applied applied = ok(get(world.group.propose("x")));
  const libraft::NodeStatus node = ok(world.node.status());
  CHECK(node.cluster == "tests");
  CHECK(node.node_id == 1);
  CHECK(node.boot_counter == 1);
  CHECK(node.groups == 1);
  CHECK(node.journal_bytes > 0);
  CHECK_FALSE(node.full);
  CHECK(node.failure_code == Code::ok);
  CHECK_FALSE(ok(world.node.failure()));
  const libraft::GroupStatus group = ok(world.group.status());
  CHECK(group.group_id == 1);
  CHECK(group.role == libraft::Role::leader);
  CHECK(group.leader_node_id == 1);
  CHECK(group.leader_address == node.address);
  CHECK(group.term == applied.term);
  CHECK(group.applied_index == applied.index);
  const std::vector<libraft::Member> members = ok(world.group.members());
  REQUIRE(members.size() == 1);
  CHECK(members[0].node_id == 1);
  CHECK(members[0].address == node.address);
  CHECK(members[0].incarnation == node.incarnation);
  CHECK(members[0].role == libraft::MemberRole::voter);
}

TEST_CASE("events arrive, and their callback is destroyed when the group has stopped") {
  auto token = std::make_shared<int>(0);
  const std::weak_ptr<int> watched = token;
  Gate taken;
  World world(std::make_shared<Memory>());
  ok(world.group.set_event_callback([&taken, token](const libraft::Event &event) {
    if (event.kind == libraft::EventKind::snapshot_taken && event.index > 0 && event.bytes > 0) {
      taken.pass();
    }
  }));
  token.reset();
  world.wait_ready();
  ok(get(world.group.propose("x")));
  ok(get(world.group.take_snapshot()));
  REQUIRE(taken.wait());
  CHECK_FALSE(watched.expired());
  ok(world.node.close());
  CHECK(watched.expired());
}
