#include "host.hpp"

#include <cstdlib>
#include <thread>

namespace driver {

namespace {

std::atomic<std::uint64_t> logged{0};

/// Answers from a thread of its own.
template <typename Body>
void spawn(const Request &request, Body body) {
  std::thread([id = request.id, body]() mutable { answer(id, body()); }).detach();
}

/// The answer to a call that completes with an index, with nothing, or with both and a result.
libraft::Result<Words> to_words(const libraft::Result<libraft::Applied> &applied) {
  if (!applied) {
    return applied.error();
  }
  return Words()
      .add("index", applied->index)
      .add("term", applied->term)
      .add("result", hex(applied->result));
}
libraft::Result<Words> to_words(const libraft::Result<std::uint64_t> &index) {
  return index ? libraft::Result<Words>(Words().add("index", *index)) : index.error();
}
libraft::Result<Words> to_words(const libraft::Result<void> &nothing) {
  return nothing ? libraft::Result<Words>(Words()) : nothing.error();
}

/// Makes a call by the form that the request asks for: `by_future` makes it with a future, and
/// `by_callback` with the callback that it gets.
template <typename ByFuture, typename ByCallback, typename Convert>
void make(const Request &request, ByFuture by_future, ByCallback by_callback, Convert convert) {
  if (request.text("form") == "blocking") {
    spawn(request, [future = std::make_shared<decltype(by_future())>(by_future())] {
      return to_words(future->get());
    });
    return;
  }
  const libraft::Result<void> accepted =
      by_callback([id = request.id, convert](const libraft::Completion &completion) {
        answer(id, completion ? convert(completion) : completion.error());
      });
  if (!accepted) {
    answer(request.id, accepted);
  }
}

libraft::Result<Words> with_index(const libraft::Completion &completion) {
  return Words().add("index", completion.index());
}
libraft::Result<Words> with_nothing(const libraft::Completion &) {
  return Words();
}

libraft::Result<std::vector<libraft::Change>> steps(const Request &request) {
  using libraft::ChangeKind;
  static const std::map<std::string, ChangeKind> kinds = {
      {"add_learner", ChangeKind::add_learner}, {"add_voter", ChangeKind::add_voter},
      {"promote", ChangeKind::promote},         {"demote", ChangeKind::demote},
      {"remove", ChangeKind::remove},           {"set_address", ChangeKind::set_address},
  };
  std::vector<libraft::Change> changes;
  for (const std::string &step : request.list("steps")) {
    const auto [verb, operand] = cut(step, ':');
    const auto [node_id, address] = cut(operand, '@');
    const auto kind = kinds.find(verb);
    if (kind == kinds.end()) {
      return nonsense("there is no step '" + verb + "'");
    }
    changes.push_back({kind->second, std::strtoull(node_id.c_str(), nullptr, 10), address});
  }
  return changes;
}

libraft::Result<void> set_log(const std::string &name) {
  static const std::string names[] = {"off", "error", "warn", "info", "debug", "trace"};
  for (std::int32_t level = 0; level < 6; ++level) {
    if (names[level] == name) {
      return libraft::set_log_callback(static_cast<libraft::LogLevel>(level),
                                       [](const libraft::LogRecord &) { ++logged; });
    }
  }
  return nonsense("there is no level '" + name + "'");
}

}  // namespace

void Host::serve(const Request &request) {
  const std::string &command = request.command;
  if (command == "open") {
    spawn(request, [this, request] { return open(request); });
  } else if (command == "wait_ready" || command == "stop") {
    const libraft::Result<Started> found = started(request);
    spawn(request, [found, request]() -> libraft::Result<void> {
      if (!found) {
        return found.error();
      }
      return request.command == "stop" ? found->group->stop()
                                       : found->group->wait_ready(std::chrono::milliseconds(
                                             request.number("timeout_ms")));
    });
  } else if (command == "close") {
    close(request);
  } else if (command == "close_in_callback") {
    close_in_callback(request);
  } else if (command == "propose" || command == "propose_batch" || command == "read_index" ||
             command == "read" || command == "take_snapshot" || command == "change_membership" ||
             command == "transfer_leadership") {
    call(request);
  } else {
    answer(request.id, at_once(request));
  }
}

libraft::Result<Words> Host::at_once(const Request &request) {
  const std::string &command = request.command;
  if (command == "version") {
    return Words().add("version", libraft::version());
  }
  if (command == "destroyed") {
    return Words().add("count", destroyed.load());
  }
  if (command == "log") {
    return to_words(set_log(request.text("level")));
  }
  if (command == "logged") {
    return Words().add("count", logged.load());
  }
  const libraft::Result<Node> node = this->node(request);
  if (!node) {
    return node.error();
  }
  if (command == "node_status") {
    return describe(**node);
  }
  if (command == "start_group") {
    return start_group(request);
  }
  const libraft::Result<Started> started = this->started(request);
  if (!started) {
    return started.error();
  }
  if (command == "group_status") {
    return describe(*started->group);
  }
  if (command == "members") {
    return describe_members(*started->group);
  }
  if (command == "dump") {
    const Ledger ledger = started->machine->ledger();
    return Words()
        .add("applied", ledger.applied)
        .add("count", ledger.count)
        .add("hash", ledger.hash)
        .add("keys", ledger.items.size());
  }
  if (command == "events") {
    return to_words(set_events(request));
  }
  if (command == "machine") {
    return to_words(set_machine(request));
  }
  return command == "misuse" ? misuse(request) : nonsense("there is no command '" + command + "'");
}

libraft::Result<Words> Host::open(const Request &request) {
  libraft::NodeOptions options;
  options.cluster = request.text("cluster");
  options.node_id = request.number("node");
  options.directory = request.bytes("directory");
  options.listen_address = request.bytes("listen");
  options.advertised_address = request.bytes("advertise");
  request.set("tick_ms", options.tick);
  request.set("election_ticks", options.election_ticks);
  request.set("heartbeat_ticks", options.heartbeat_ticks);
  request.set("segment_bytes", options.segment_bytes);
  options.insecure_transport = request.is_on("insecure");
  libraft::Result<libraft::Node> opened = libraft::Node::open(options);
  if (!opened) {
    return opened.error();
  }
  auto node = std::make_shared<libraft::Node>(*std::move(opened));
  const libraft::Result<libraft::NodeStatus> status = node->status();
  const std::lock_guard<std::mutex> lock(mutex_);
  nodes_[options.node_id] = node;
  return Words().add("address", hex(status ? status->address : std::string()));
}

libraft::Result<Words> Host::start_group(const Request &request) {
  libraft::GroupOptions options;
  options.group_id = request.number("group");
  for (const std::string &member : request.list("members")) {
    const auto [node_id, address] = cut(member, '@');
    options.initial_members.push_back({std::strtoull(node_id.c_str(), nullptr, 10), address});
  }
  request.set("proposal_bytes_max", options.proposal_bytes_max);
  request.set("pending_bytes_max", options.pending_bytes_max);
  request.set("pending_count_max", options.pending_count_max);
  request.set("snapshot_entries", options.snapshot_entries);
  request.set("snapshot_log_bytes", options.snapshot_log_bytes);
  request.set("retained_entries", options.retained_entries);
  request.set("proposal_timeout_ms", options.proposal_timeout);
  request.set("snapshot_transfer_timeout_ms", options.snapshot_transfer_timeout);
  request.set("snapshot_restore_timeout_ms", options.snapshot_restore_timeout);
  auto machine =
      std::make_shared<Shared>(Form{request.text("machine"), request.text("style") == "async",
                                    request.is_on("quick"), request.bytes("state")});
  machine->set_fail(request.text("fail"));
  libraft::Result<libraft::Group> group =
      (*node(request))->start_group(options, make_machine(machine));
  if (!group) {
    return group.error();
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  groups_[{request.number("node"), options.group_id}] = {
      std::make_shared<libraft::Group>(*std::move(group)), machine};
  return Words();
}

void Host::call(const Request &request) {
  const libraft::Result<Started> found = started(request);
  if (!found) {
    return answer(request.id, found.error());
  }
  libraft::Group &group = *found->group;
  if (request.command == "propose") {
    propose(request, *found);
  } else if (request.command == "propose_batch") {
    propose_batch(request, *found);
  } else if (request.command == "read_index") {
    make(
        request, [&] { return group.read_index(); },
        [&](auto callback) { return group.read_index(callback); }, with_index);
  } else if (request.command == "take_snapshot") {
    make(
        request, [&] { return group.take_snapshot(); },
        [&](auto callback) { return group.take_snapshot(callback); }, with_index);
  } else if (request.command == "transfer_leadership") {
    const std::uint64_t to = request.number("to");
    make(
        request, [&] { return group.transfer_leadership(to); },
        [&](auto callback) { return group.transfer_leadership(to, callback); }, with_nothing);
  } else if (request.command == "change_membership") {
    const libraft::Result<std::vector<libraft::Change>> changes = steps(request);
    if (!changes) {
      return answer(request.id, changes.error());
    }
    make(
        request, [&] { return group.change_membership(*changes); },
        [&](auto callback) { return group.change_membership(*changes, callback); }, with_nothing);
  } else {  // read
    const auto accepted = group.read_index([id = request.id, key = request.bytes("key"),
                                            machine = found->machine](libraft::Completion read) {
      if (!read) {
        return answer(id, read.error());
      }
      const Ledger ledger = machine->ledger();
      const auto item = ledger.items.find(key);
      const bool is_found = item != ledger.items.end();
      answer(id, Words()
                     .add("index", read.index())
                     .add("found", is_found ? 1 : 0)
                     .add("value", hex(is_found ? item->second : std::string())));
    });
    if (!accepted) {
      answer(request.id, accepted);
    }
  }
}

void Host::propose(const Request &request, const Started &started) {
  const std::string data = request.bytes("data");
  make(
      request, [&] { return started.group->propose(data); },
      [&](auto callback) { return started.group->propose(data, callback); },
      [](const libraft::Completion &completion) { return to_words(completion.applied()); });
}

void Host::propose_batch(const Request &request, const Started &started) {
  libraft::Batch batch;
  for (const std::string &entry : request.list("data")) {
    batch.add(unhex(entry));
  }
  const libraft::Result<void> accepted = started.group->propose_batch(
      batch, [id = request.id](const libraft::Completions &completions) {
        Words words;
        for (const libraft::Completion done : completions) {
          words.add(
              "r", done ? std::to_string(done.index()) + ":" + std::to_string(done.term()) + ":" +
                              hex(done.result())
                        : std::string(code_name(done.code())) + ":" + outcome_name(done.outcome()));
        }
        answer(id, words);
      });
  if (!accepted) {
    answer(request.id, accepted);
  }
}

void Host::close(const Request &request) {
  const libraft::Result<Node> found = node(request);
  if (!found) {
    return answer(request.id, found.error());
  }
  const std::string how = request.text("how");
  if (how == "async") {
    const libraft::Result<void> begun = (*found)->close_async(
        [id = request.id](const libraft::Result<void> &closed) { answer(id, closed); });
    if (begun.error().code() == libraft::Code::closed) {
      answer(request.id, Words());  // it is closed already, and there is nothing to wait for
    } else if (!begun) {
      answer(request.id, begun);
    }
  } else if (how == "forget") {
    const std::uint64_t node_id = request.number("node");
    (*found)->free();
    const std::lock_guard<std::mutex> lock(mutex_);
    nodes_.erase(node_id);
    for (auto at = groups_.begin(); at != groups_.end();) {
      at = at->first.first == node_id ? groups_.erase(at) : std::next(at);
    }
    answer(request.id, Words());
  } else {
    spawn(request, [node = *found] { return node->close(); });
  }
}

void Host::close_in_callback(const Request &request) {
  const libraft::Result<Node> node = this->node(request);
  const libraft::Result<Started> started = this->started(request);
  if (!node || !started) {
    return answer(request.id, node ? started.error() : node.error());
  }
  started->machine->before_next_apply([id = request.id, node = *node] {
    answer(id, Words().add("code", code_name(node->close().error().code())));
  });
}

libraft::Result<void> Host::set_events(const Request &request) {
  std::function<void(const libraft::Event &)> callback;
  if (request.is_on("on")) {
    callback = [node_id = request.number("node")](const libraft::Event &event) {
      const std::string line = describe(node_id, event);
      if (!line.empty()) {
        say(line);
      }
    };
  }
  return started(request)->group->set_event_callback(std::move(callback));
}

libraft::Result<void> Host::set_machine(const Request &request) {
  const std::shared_ptr<Shared> machine = started(request)->machine;
  if (request.find("block_ms") != nullptr) {
    machine->set_block(std::chrono::milliseconds(request.number("block_ms")));
  }
  if (request.find("fail") != nullptr) {
    machine->set_fail(request.text("fail"));
  }
  if (request.find("pend") != nullptr) {
    machine->set_pend(request.text("pend"));
  }
  if (request.is_on("release")) {
    machine->release();
  }
  return {};
}

libraft::Result<Words> Host::misuse(const Request &request) {
  libraft::Group &group = *started(request)->group;
  libraft::NodeOptions options;
  options.node_id = 99;
  options.directory = "never-made";
  const std::string what = request.text("what");
  if (what == "null") {
    return to_words(group.propose({nullptr, 8}).get());
  }
  if (what == "null_in_batch") {
    libraft::Batch batch;
    batch.add("good");
    batch.add({nullptr, 8});
    const auto results = group.propose_batch(batch).get();
    return results ? libraft::Result<Words>(Words()) : results.error();
  }
  if (what == "null_option" || what == "not_utf8") {
    options.cluster = what == "not_utf8" ? "\xff" : "";
    const libraft::Result<libraft::Node> node = libraft::Node::open(options);
    return node ? libraft::Result<Words>(Words()) : node.error();
  }
  if (what == "no_machine") {
    libraft::GroupOptions group_options;
    group_options.group_id = 99;
    const auto started = (*node(request))->start_group(group_options, nullptr);
    return started ? libraft::Result<Words>(Words()) : started.error();
  }
  if (what == "wrong_step") {
    return to_words(group.change_membership({{static_cast<libraft::ChangeKind>(77), 1, ""}}).get());
  }
  return nonsense("there is no misuse '" + what + "' in C++");
}

libraft::Result<Host::Node> Host::node(const Request &request) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = nodes_.find(request.number("node"));
  return found == nodes_.end() ? nonsense("there is no such node here")
                               : libraft::Result<Node>(found->second);
}

libraft::Result<Host::Started> Host::started(const Request &request) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = groups_.find({request.number("node"), request.number("group")});
  return found == groups_.end() ? nonsense("there is no such group here")
                                : libraft::Result<Started>(found->second);
}

}  // namespace driver
