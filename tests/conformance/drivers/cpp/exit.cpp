// The exit matrix: how a program may end, and what it then leaves behind.
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "line.hpp"
#include "machine.hpp"
#include "modes.hpp"

namespace driver {

namespace {

constexpr std::uint64_t in_flight = 64, before_ending = 300;

[[noreturn]] void give_up(const std::string &what, const libraft::Error &error) {
  std::fprintf(stderr, "exit: %s: %s: %s\n", what.c_str(), code_name(error.code()), error.what());
  std::_Exit(70);
}

libraft::NodeOptions node_options(const std::string &directory) {
  libraft::NodeOptions options;
  options.cluster = "exit";
  options.node_id = 1;
  options.directory = directory;
  options.listen_address = "127.0.0.1:0";
  options.tick = std::chrono::milliseconds(20);
  return options;
}

/// What the cases work with. Destroying it closes the node.
struct Session {
  std::shared_ptr<Shared> machine;
  libraft::Node node;
  libraft::Group group;
  std::atomic<std::uint64_t> next{1};

  explicit Session(const std::string &directory, const char *style = "sync",
                   const std::string &fail = "")
      : machine(
            std::make_shared<Shared>(Form{"memory", style == std::string("async"), false, {}})) {
    machine->set_fail(fail);
    libraft::Result<libraft::Node> opened = libraft::Node::open(node_options(directory));
    if (!opened) {
      give_up("open", opened.error());
    }
    node = *std::move(opened);
    libraft::GroupOptions options;
    options.group_id = 1;
    options.initial_members = {{1, "127.0.0.1:0"}};
    libraft::Result<libraft::Group> started = node.start_group(options, make_machine(machine));
    if (!started) {
      give_up("start", started.error());
    }
    group = *std::move(started);
  }

  std::string payload() { return std::string("s\1k", 3) + std::to_string(next++); }

  void propose_one() {
    const libraft::Result<libraft::Applied> applied = group.propose(payload()).get();
    if (!applied) {
      give_up("propose", applied.error());
    }
    acknowledge(applied->result);
  }

  static void acknowledge(libraft::bytes_view result) {
    std::uint64_t count = 0;
    for (std::size_t at = result.size(); at > 0; --at) {
      count = count << 8 | result[at - 1];
    }
    say("acknowledged " + std::to_string(count));
  }

  void make_ready() {
    const auto ready = group.wait_ready(std::chrono::seconds(60));
    if (!ready) {
      give_up("wait_ready", ready.error());
    }
  }
  void propose_a_hundred() {
    make_ready();
    for (int i = 0; i < 100; ++i) {
      propose_one();
    }
  }
};

/// Keeps proposals in flight, each made by the completion of an earlier one.
class Load {
 public:
  explicit Load(Session &session) : session_(session) {
    for (std::uint64_t i = 0; i < in_flight; ++i) {
      propose();
    }
  }
  void wait(std::uint64_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return acknowledged_ >= count; });
  }

 private:
  /// One after the other, whichever thread it is: so the numbers are in the order of the log, wherever it ends.
  void propose() {
    const std::lock_guard<std::mutex> in_order(order_);
    (void)session_.group.propose(session_.payload(), [this](const libraft::Completion &done) {
      if (!done) {
        return;  // the program ends
      }
      Session::acknowledge(done.result());
      propose();
      const std::lock_guard<std::mutex> lock(mutex_);
      ++acknowledged_;
      changed_.notify_all();
    });
  }

  Session &session_;
  std::mutex order_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t acknowledged_ = 0;
};

void say_failed(const libraft::Error &error) {
  say(std::string("failed ") + code_name(error.code()) + " " + hex(error.message()));
}

int end_closed(Session &session) {
  say("closed " + std::string(code_name(session.node.close().error().code())));
  return 0;
}

int restore_error(const std::string &directory) {
  {
    Session session(directory);
    session.propose_a_hundred();
    if (const auto taken = session.group.take_snapshot().get(); !taken) {
      give_up("take_snapshot", taken.error());
    }
    for (int i = 0; i < 10; ++i) {
      session.propose_one();
    }
  }
  Session session(directory, "sync", "restore");
  say("ending");
  say_failed(session.group.wait_ready(std::chrono::seconds(60)).error());
  return end_closed(session);
}

int close_in_callback(Session &session) {
  say("ending");
  std::promise<libraft::Code> code;
  session.machine->before_next_apply([&] { code.set_value(session.node.close().error().code()); });
  (void)session.group.propose(session.payload(), [](libraft::Completion) {});
  say("failed " + std::string(code_name(code.get_future().get())) + " -");
  (void)session.node.close();
  return 0;
}

/// One that waits, in a callback or for its answer, while the program ends.
void begin_and_stay(Session &session, std::function<void()> in_apply) {
  std::promise<void> inside;
  session.machine->before_next_apply([&inside, in_apply] {
    inside.set_value();
    in_apply();
  });
  (void)session.group.propose(session.payload(), [](libraft::Completion) {});
  inside.get_future().wait();
}

int fork_case(Session &session, const std::string &directory) {
  say("ending");
  const pid_t child = fork();
  if (child == 0) {
    const libraft::Error proposed = session.group.propose("x").get().error();
    const libraft::Error closed = session.node.close().error();
    const libraft::Error opened = libraft::Node::open(node_options(directory + "-child")).error();
    say(std::string("child ") + code_name(proposed.code()) + " " + code_name(closed.code()) + " " +
        code_name(opened.code()));
    return 0;
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
    return 70;
  }
  session.propose_one();
  (void)session.node.close();
  return 0;
}

/// The cases in which nobody closes the node before the program ends: it is never destroyed.
int leave_open(const std::string &name, const std::string &directory) {
  Session &session = *new Session(directory, name == "shutdown_pending" ? "async" : "sync");
  session.propose_a_hundred();
  if (name == "shutdown_in_callback") {
    begin_and_stay(session, [] { std::this_thread::sleep_for(std::chrono::seconds(1)); });
  } else if (name == "shutdown_pending") {
    session.machine->set_pend("apply");
    begin_and_stay(session, [] {});
  } else if (name == "shutdown_completions") {
    for (int i = 0; i < 1000; ++i) {
      (void)session.group.propose(session.payload(), [](libraft::Completion) {});
    }
  } else if (name == "kill") {
    say("ending");
    Load &load = *new Load(session);
    load.wait(UINT64_MAX);
  }
  say("ending");
  return name == "exception" ? 1 : 0;
}

/// The node is destroyed, and so closed, with the program's other static objects.
int exit_under_load(const std::string &directory, bool in_thread) {
  static Session session(directory);
  session.propose_a_hundred();
  Load &load = *new Load(session);
  load.wait(before_ending);
  say("ending");
  if (in_thread) {
    std::thread([] { std::exit(3); }).join();
  }
  std::exit(3);
}

}  // namespace

int run_exit(const std::string &name, const std::string &directory) {
  if (name == "exit_under_load" || name == "exit_in_thread") {
    return exit_under_load(directory, name == "exit_in_thread");
  }
  if (name == "restore_error") {
    return restore_error(directory);
  }
  if (name == "forgot" || name == "exception" || name == "kill" ||
      name.substr(0, 9) == "shutdown_") {
    return leave_open(name, directory);
  }
  Session session(directory);
  session.propose_a_hundred();
  if (name == "close") {
    say("ending");
    return session.node.close() ? 0 : 70;
  }
  if (name == "apply_error") {
    say("ending");
    say_failed(session.group.propose("xplanned failure of apply").get().error());
    return end_closed(session);
  }
  if (name == "save_error") {
    say("ending");
    session.machine->set_fail("save");
    say_failed(session.group.take_snapshot().get().error());
    return end_closed(session);
  }
  if (name == "close_in_callback") {
    return close_in_callback(session);
  }
  if (name == "fork") {
    return fork_case(session, directory);
  }
  std::fprintf(stderr, "exit: there is no case '%s' in C++\n", name.c_str());
  return 2;
}

}  // namespace driver
