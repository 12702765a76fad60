// kv: a replicated key-value store, whole. It is ../c/kv.c in C++: the same protocol, entries and
// snapshots, so that processes of both form one cluster.
//
//     kv --node 1 --directory data-1 --listen 127.0.0.1:7001 --clients 8001
//        --member 1=127.0.0.1:7001 --member 2=127.0.0.1:7002 --member 3=127.0.0.1:7003
//
// and the same as node 2 and 3; or one alone, with itself as the only member. A process without
// --member waits until the leader of those that are there is told to `add` it.
//
// The protocol, on a port of 127.0.0.1: a line for each request, and behind the line of a value its
// bytes, whatever they are. Try it with `nc 127.0.0.1 8001`.
//
//     put LENGTH KEY, then the bytes   ok INDEX
//     del KEY                          ok INDEX, or none
//     get KEY                          value LENGTH, then the bytes; or none. Linearizable.
//     keys                             keys COUNT, then a line for each. Linearizable.
//     dump INDEX                       dump APPLIED COUNT, then for each LENGTH KEY and the bytes:
//                                      this process's own state, once it has applied INDEX
//     status                           status NAME=VALUE ...
//     members                          members COUNT, then NODE ROLE ADDRESS for each
//     add NODE ADDRESS, promote NODE,  ok. At the leader: a new node is a learner, and votes once it
//     remove NODE, transfer NODE       is promoted
//
// or, to any: error CODE OUTCOME retriable|final MESSAGE. After the outcome `unknown` the change may
// yet happen.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <iostream>
#include <libraft.hpp>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

using namespace std::chrono_literals;
using libraft::Result;

constexpr std::size_t key_bytes_max = 4095, line_bytes_max = key_bytes_max + 64;
constexpr std::size_t value_bytes_max = (8 << 20) - 2 * key_bytes_max;  // an entry may have 8 MiB
constexpr int clients_max = 256;

// ---------------------------------------------------------------- the state machine

class Store : public libraft::StateMachine {
 public:
  // An entry is 'P' or 'D', the key, a zero byte, and for 'P' the value. What fails is thrown: it is
  // better to stop than to differ from the others.
  Result<void> apply(libraft::ApplyRequest &request) override {
    const std::lock_guard lock(mutex_);
    for (const libraft::Entry entry : request.entries()) {
      const std::string_view data = entry.data.text();
      const std::size_t zero = data.find('\0');
      if (zero == data.npos || (data[0] != 'P' && data[0] != 'D'))
        throw std::runtime_error("an entry is not kv's: who else is here?");
      const std::string key(data.substr(1, zero - 1));
      bool found = true;
      if (data[0] == 'P')
        items_[key] = data.substr(zero + 1);
      else
        found = items_.erase(key) > 0;
      request.set_result(entry.position, found ? "1" : "0");
      applied_ = entry.index;
    }
    applied_changed_.notify_all();
    return {};
  }

  // A snapshot is what `dump` prints.
  Result<void> save_snapshot(libraft::SnapshotWriter &writer) override {
    const std::lock_guard lock(mutex_);
    return writer.write(print());
  }

  // The state is replaced when all of the snapshot is there, and not before.
  Result<void> restore_snapshot(libraft::SnapshotReader &reader) override {
    std::string text, part(1 << 16, '\0');
    while (const std::size_t got = reader.read(part.data(), part.size()).value())
      text.append(part, 0, got);
    std::size_t at = 0;
    const auto word = [&](char end) {  // up to `end`, which must come
      const std::size_t stop = text.find(end, at);
      if (stop == text.npos) throw std::runtime_error("the snapshot is not kv's");
      const std::string found = text.substr(at, stop - at);
      at = stop + 1;
      return found;
    };
    if (word(' ') != "dump") throw std::runtime_error("the snapshot is not kv's");
    const std::uint64_t applied = std::stoull(word(' '));
    std::map<std::string, std::string> items;
    for (std::uint64_t count = std::stoull(word('\n')); count > 0; --count) {
      const std::size_t length = std::stoull(word(' '));
      const std::string key = word('\n');
      if (length >= text.size() - at) throw std::runtime_error("the snapshot is cut off");
      items[key] = text.substr(at, length);
      at += length + 1;
    }
    const std::lock_guard lock(mutex_);
    items_ = std::move(items);
    applied_ = applied;
    applied_changed_.notify_all();
    return {};
  }

  std::string get(const std::string &key) {
    const std::lock_guard lock(mutex_);
    const auto item = items_.find(key);
    if (item == items_.end()) return "none\n";
    return "value " + std::to_string(item->second.size()) + "\n" + item->second + "\n";
  }

  std::string keys() {
    const std::lock_guard lock(mutex_);
    std::string answer = "keys " + std::to_string(items_.size()) + "\n";
    for (const auto &[key, value] : items_) answer += key + "\n";
    return answer;
  }

  // The state, once it has applied `index`; empty if that takes too long.
  std::string dump(std::uint64_t index) {
    std::unique_lock lock(mutex_);
    const bool is_there = applied_changed_.wait_for(lock, 30s, [&] { return applied_ >= index; });
    return is_there ? print() : "";
  }

  std::pair<std::uint64_t, std::size_t> applied_and_keys() {
    const std::lock_guard lock(mutex_);
    return {applied_, items_.size()};
  }

 private:
  std::string print() const {
    std::string text =
        "dump " + std::to_string(applied_) + " " + std::to_string(items_.size()) + "\n";
    for (const auto &[key, value] : items_)
      text += std::to_string(value.size()) + " " + key + "\n" + value + "\n";
    return text;
  }

  std::mutex mutex_;
  std::condition_variable applied_changed_;
  std::map<std::string, std::string> items_;
  std::uint64_t applied_ = 0;  // of the last entry that is in the map
};

// ---------------------------------------------------------------- the requests of clients

const char *role_name(libraft::Role role) {
  static const char *const names[] = {"forming", "follower", "pre-candidate", "candidate",
                                      "leader",  "learner",  "stopped"};
  return names[static_cast<int>(role)];
}

// A number at the beginning of a text, which is cut off with the space behind it.
std::uint64_t take_number(std::string &text) {
  char *rest = nullptr;
  const std::uint64_t number = std::strtoull(text.c_str(), &rest, 10);
  const auto length = static_cast<std::size_t>(rest - text.c_str());
  if (length == 0) throw std::invalid_argument("a number is missing");
  text.erase(0, length + 1);
  return number;
}

class Requests {
 public:
  Requests(libraft::Group &group, std::shared_ptr<Store> store)
      : group_(group), store_(std::move(store)) {}

  // What the library tells of itself: on one thread, in order.
  void on_event(const libraft::Event &event) {
    if (event.kind == libraft::EventKind::role)
      std::cout << "kv: " << role_name(event.role) << " in term " << event.term << std::endl;
    if (event.kind == libraft::EventKind::snapshot_taken) snapshot_bytes_ = event.bytes;
    if (event.kind == libraft::EventKind::snapshot_installed) {
      installed_ = event.index;
      std::cout << "kv: installed a snapshot of index " << event.index << std::endl;
    }
    if (event.kind == libraft::EventKind::failed)
      std::cout << "kv: the group is out of service on this node" << std::endl;
  }

  // Answers a request; `value` are the bytes behind a put.
  std::string serve(const std::string &name, std::string arguments, const std::string &value) try {
    if (name == "put") return change('P', arguments, value);
    if (name == "del" && !arguments.empty()) return change('D', arguments, "");
    if (name == "get" && !arguments.empty()) {
      // From here on, this process's own state has all that was acknowledged anywhere before.
      group_.read_index().get().value();
      return store_->get(arguments);
    }
    if (name == "keys") {
      group_.read_index().get().value();
      return store_->keys();
    }
    if (name == "dump") {
      const std::string state = store_->dump(take_number(arguments));
      if (state.empty()) throw std::invalid_argument("this process has not applied that index");
      return state;
    }
    if (name == "status") return status();
    if (name == "members") return members();
    using libraft::Change;
    if (name == "transfer") {
      group_.transfer_leadership(take_number(arguments)).get().value();
      return "ok\n";
    }
    if (name == "add" || name == "promote" || name == "remove") {
      const std::uint64_t node = take_number(arguments);
      const Change step = name == "add"       ? Change::add_learner(node, arguments)
                          : name == "promote" ? Change::promote(node)
                                              : Change::remove(node);
      group_.change_membership({step}).get().value();
      return "ok\n";
    }
    throw std::invalid_argument(
        "there are get, put, del, keys, dump, status, members, add, promote, remove and transfer");
  } catch (const libraft::Error &error) {
    const bool is_unknown = error.outcome() == libraft::Outcome::unknown;
    return std::string("error ") + error.name() + (is_unknown ? " unknown " : " rejected ") +
           (error.retriable() ? "retriable " : "final ") + error.what() + "\n";
  } catch (const std::invalid_argument &error) {
    return std::string("error INVALID_ARGUMENT rejected final ") + error.what() + "\n";
  }

 private:
  // Proposes a change, and waits until it is applied here.
  std::string change(char kind, const std::string &key, const std::string &value) {
    const libraft::Applied applied =
        group_.propose(kind + key + std::string(1, '\0') + value).get().value();
    return applied.result == "0" ? "none\n" : "ok " + std::to_string(applied.index) + "\n";
  }

  std::string status() {
    const libraft::GroupStatus now = group_.status().value();
    const auto [applied, keys] = store_->applied_and_keys();
    std::string text = std::string("status role=") + role_name(now.role);
    const std::pair<const char *, std::uint64_t> numbers[] = {
        {"term", now.term},
        {"leader", now.leader_node_id},
        {"first", now.first_index},
        {"last", now.last_index},
        {"commit", now.commit_index},
        {"applied", applied},
        {"keys", keys},
        {"snapshot", now.snapshot_index},
        {"snapshot_bytes", snapshot_bytes_},
        {"installed", installed_},
    };
    for (const auto &[name, number] : numbers)
      text += std::string(" ") + name + "=" + std::to_string(number);
    return text + "\n";
  }

  std::string members() {
    static const char *const roles[] = {"voter", "learner", "outgoing"};
    const std::vector<libraft::Member> all = group_.members().value();
    std::string text = "members " + std::to_string(all.size()) + "\n";
    for (const libraft::Member &member : all)
      text += std::to_string(member.node_id) + " " + roles[static_cast<int>(member.role)] + " " +
              member.address + "\n";
    return text;
  }

  libraft::Group &group_;
  const std::shared_ptr<Store> store_;
  std::atomic<std::uint64_t> snapshot_bytes_{0}, installed_{0};
};

// ---------------------------------------------------------------- connections

class Connection {
 public:
  explicit Connection(int socket) : socket_(socket) {
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  Connection(const Connection &) = delete;
  ~Connection() { close(socket_); }

  // Serves requests until the client is gone, or where the next begins cannot be known.
  void serve(Requests &requests) {
    for (std::string line; read_line(line);) {
      if (line.empty()) continue;  // such as the line break that a person types behind a value
      const std::size_t space = line.find(' ');
      const std::string name = line.substr(0, space);
      std::string arguments = space == line.npos ? "" : line.substr(space + 1), value;
      if (name == "put") {
        char *key = nullptr;
        const std::uint64_t length = std::strtoull(arguments.c_str(), &key, 10);
        if (key == arguments.c_str() || key[0] != ' ' || key[1] == '\0' ||
            length > value_bytes_max) {
          send_all("error INVALID_ARGUMENT rejected final usage: put LENGTH KEY, then the bytes "
                   "(8 MiB at most)\n");
          return;
        }
        if (!read_bytes(value, length)) return;
        arguments = std::string(key + 1);
      }
      if (!send_all(requests.serve(name, arguments, value))) return;
    }
  }

 private:
  bool fill() {
    char part[1 << 16];
    const ssize_t got = recv(socket_, part, sizeof part, 0);
    if (got > 0) received_.append(part, static_cast<std::size_t>(got));
    return got > 0;
  }
  bool read_line(std::string &line) {
    std::size_t end;
    while ((end = received_.find('\n')) == received_.npos)
      if (received_.size() > line_bytes_max || !fill()) return false;
    line = received_.substr(0, end);
    received_.erase(0, end + 1);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return line.size() <= line_bytes_max;
  }
  bool read_bytes(std::string &bytes, std::size_t length) {
    while (received_.size() < length)
      if (!fill()) return false;
    bytes = received_.substr(0, length);
    received_.erase(0, length);
    return true;
  }
  bool send_all(const std::string &answer) {
    for (std::size_t sent = 0; sent < answer.size();) {
      const ssize_t now = send(socket_, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
      if (now < 0 && errno != EINTR) return false;
      sent += now > 0 ? static_cast<std::size_t>(now) : 0;
    }
    return true;
  }

  const int socket_;
  std::string received_;
};

int listen_for_clients(std::uint16_t port) {
  const int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_port = htons(port);
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, reinterpret_cast<sockaddr *>(&here), sizeof here) != 0 ||
      listen(listener, 64) != 0)
    throw std::runtime_error("cannot listen on port " + std::to_string(port) + ": " +
                             std::strerror(errno));
  return listener;
}

// More clients than clients_max wait in the kernel's queue.
void accept_clients(int listener, Requests &requests) {
  static std::mutex mutex;
  static std::condition_variable one_left;
  static int clients = 0;
  for (;;) {
    std::unique_lock lock(mutex);
    one_left.wait(lock, [] { return clients < clients_max; });
    lock.unlock();
    const int socket = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) continue;
    lock.lock();
    ++clients;
    lock.unlock();
    std::thread([socket, &requests] {
      Connection(socket).serve(requests);
      const std::lock_guard left(mutex);
      --clients;
      one_left.notify_one();
    }).detach();
  }
}

// ---------------------------------------------------------------- the program

struct Settings {
  libraft::NodeOptions node;
  libraft::GroupOptions group;
  std::uint64_t clients_port = 0;
};

Settings read_settings(int argc, char **argv) {
  Settings settings;
  settings.node.cluster = "kv";
  settings.group.group_id = 1;
  bool is_understood = argc % 2 == 1;
  for (int i = 1; is_understood && i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    const std::uint64_t number = std::strtoull(value.c_str(), nullptr, 10);
    if (name == "--node")
      settings.node.node_id = number;
    else if (name == "--directory")
      settings.node.directory = value;
    else if (name == "--listen")
      settings.node.listen_address = value;
    else if (name == "--clients")
      settings.clients_port = number;
    else if (name == "--cluster")
      settings.node.cluster = value;
    else if (name == "--snapshot-entries")
      settings.group.snapshot_entries = number;
    else if (name == "--retained-entries")
      settings.group.retained_entries = number;
    else if (name == "--member" && value.find('=') != value.npos)
      settings.group.initial_members.push_back({number, value.substr(value.find('=') + 1)});
    else
      is_understood = false;
  }
  if (!is_understood || settings.node.directory.empty() || settings.clients_port == 0 ||
      settings.clients_port > UINT16_MAX) {
    std::cerr << "usage: kv --node N --directory DIR --listen HOST:PORT --clients PORT\n"
                 "          [--member N=HOST:PORT ...] [--cluster NAME]\n"
                 "          [--snapshot-entries N] [--retained-entries N]\n";
    std::exit(2);
  }
  return settings;
}

int main(int argc, char **argv) try {
  if (argc == 2 && std::string(argv[1]) == "--version") {
    std::cout << "kv with libraft " << libraft::version() << "\n";
    return 0;
  }
  const Settings settings = read_settings(argc, argv);

  // Before there is any thread: the signals that end the program are waited for below.
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  libraft::set_log_callback(libraft::LogLevel::info, [](const libraft::LogRecord &record) {
    std::cerr << "kv: " << record.target << ": " << record.message << std::endl;
  }).value();

  libraft::Node node = libraft::Node::open(settings.node).value();
  const auto store = std::make_shared<Store>();
  libraft::Group group = node.start_group(settings.group, store).value();
  static Requests requests(group, store);  // clients' threads use it until the program has ended
  group.set_event_callback([](const libraft::Event &event) { requests.on_event(event); }).value();

  const int listener = listen_for_clients(static_cast<std::uint16_t>(settings.clients_port));
  std::thread(accept_clients, listener, std::ref(requests)).detach();
  std::cout << "kv: node " << settings.node.node_id << " serves clients on port "
            << settings.clients_port << std::endl;

  int signal_number = 0;
  sigwait(&ending, &signal_number);
  node.close().value();
  std::cout << "kv: closed" << std::endl;
  std::_Exit(0);  // clients' threads still run, and see that the node is closed
} catch (const std::exception &error) {
  std::cerr << "kv: " << error.what() << "\n";
  return 1;
}
