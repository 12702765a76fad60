// A member of the benchmark's cluster, told by lines what to do.
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <mutex>

#include "../c/crc32.h"
#include "ledger.hpp"
#include "line.hpp"
#include "modes.hpp"

namespace driver {

namespace {

using Clock = std::chrono::steady_clock;

/// Counts entries, and reads every byte of them.
class Counter : public libraft::StateMachine {
 public:
  bool quick() const noexcept override { return true; }

  libraft::Result<void> apply(libraft::ApplyRequest &request) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const libraft::Entry entry : request.entries()) {
      ++count_;
      crc_ = crc32_add(crc_, entry.data.data(), entry.data.size());
      const std::uint32_t result[] = {static_cast<std::uint32_t>(count_), crc_};
      request.set_result(entry.position, {result, sizeof result});
    }
    return {};
  }
  libraft::Result<void> save_snapshot(libraft::SnapshotWriter &writer) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return writer.write(little_endian(count_, 8) + little_endian(crc_, 4));
  }
  libraft::Result<void> restore_snapshot(libraft::SnapshotReader &reader) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto read = reader.read_exactly(&count_, sizeof count_);
    return read ? reader.read_exactly(&crc_, sizeof crc_) : read;
  }

  std::string state() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::to_string(count_) + " " + std::to_string(crc_);
  }

 private:
  std::mutex mutex_;
  std::uint64_t count_ = 0;
  std::uint32_t crc_ = 0;
};

/// How often something took how long: 32 steps for each doubling.
class Histogram {
 public:
  void record(std::uint64_t nanoseconds, std::uint64_t count) {
    buckets_[position(nanoseconds)] += count;
    total_ += count;
  }
  std::uint64_t total() const { return total_; }
  double quantile_us(double share) const {
    const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(total_));
    std::uint64_t seen = 0;
    for (std::size_t at = 0; at < buckets_.size(); ++at) {
      seen += buckets_[at];
      if (seen > wanted) {
        return static_cast<double>((32 + at % 32) << (at / 32)) / 1000;
      }
    }
    return 0;
  }

 private:
  static std::size_t position(std::uint64_t value) {
    std::size_t doublings = 0;
    while (value >= 64) {
      value >>= 1;
      ++doublings;
    }
    return doublings * 32 + static_cast<std::size_t>(value < 32 ? 0 : value - 32);
  }

  std::array<std::uint64_t, 64 * 32> buckets_{};
  std::uint64_t total_ = 0;
};

/// Keeps a number of proposals in flight, each made by the completion of an earlier one.
class Run {
 public:
  Run(libraft::Group &group, std::size_t bytes, std::size_t in_flight, std::size_t batch,
      double seconds)
      : group_(group),
        payload_(bytes, '\x5a'),
        batch_size_(batch),
        in_flight_(in_flight),
        warm_up_(std::chrono::duration_cast<Clock::duration>(
            std::chrono::duration<double>(seconds / 4))),
        end_(warm_up_ +
             std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds))) {
    batch_.reserve(batch, bytes * batch);
    for (std::size_t i = 0; i < batch; ++i) {
      batch_.add(payload_);
    }
  }

  std::string measure() {
    const std::size_t calls = batch_size_ == 0 ? in_flight_ : in_flight_ / batch_size_;
    open_ = calls;
    for (std::size_t i = 0; i < calls; ++i) {
      propose();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    idle_.wait(lock, [&] { return open_ == 0; });
    if (!failure_.empty()) {
      std::fprintf(stderr, "bench-member: %s\n", failure_.c_str());
      std::exit(1);
    }
    char text[160];
    std::snprintf(text, sizeof text, "%llu %.3f %.3f %.3f",
                  static_cast<unsigned long long>(histogram_.total()),
                  std::chrono::duration<double>(end_ - warm_up_).count(),
                  histogram_.quantile_us(0.5), histogram_.quantile_us(0.99));
    return text;
  }

 private:
  void propose() {
    const Clock::time_point begun = Clock::now();
    libraft::Result<void> accepted;
    if (batch_size_ == 0) {
      accepted = group_.propose(
          payload_,
          [this, begun](const libraft::Completion &done) {
            completed(begun, 1, done ? std::string() : done.error().message());
          },
          libraft::quick);
    } else {
      accepted = group_.propose_batch(
          batch_,
          [this, begun](const libraft::Completions &completions) {
            std::string failed;
            for (const libraft::Completion done : completions) {
              if (!done) {
                failed = done.error().message();
              }
            }
            completed(begun, completions.size(), failed);
          },
          libraft::quick);
    }
    if (!accepted) {
      completed(begun, 0, accepted.error().message());
    }
  }

  void completed(Clock::time_point begun, std::uint64_t count, const std::string &failed) {
    const Clock::time_point now = Clock::now();
    bool is_over = false;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!failed.empty()) {
        failure_ = failed;
      }
      is_over = !failure_.empty() || now - started_ >= end_;
      if (!is_over && now - started_ >= warm_up_) {
        histogram_.record(static_cast<std::uint64_t>((now - begun).count()), count);
      }
      if (is_over && --open_ == 0) {
        idle_.notify_all();
      }
    }
    if (!is_over) {
      propose();
    }
  }

  libraft::Group &group_;
  const std::string payload_;
  const std::size_t batch_size_, in_flight_;
  const Clock::duration warm_up_, end_;
  const Clock::time_point started_ = Clock::now();
  libraft::Batch batch_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::size_t open_ = 0;
  Histogram histogram_;
  std::string failure_;
};

template <typename Value>
Value must(const char *what, libraft::Result<Value> result) {
  if (!result) {
    std::fprintf(stderr, "bench-member: %s: %s\n", what, result.error().what());
    std::exit(1);
  }
  return *std::move(result);
}

libraft::Group start(libraft::Node &node, const std::vector<std::string> &words,
                     std::shared_ptr<Counter> machine) {
  libraft::GroupOptions options;
  options.group_id = 1;
  for (std::size_t at = 1; at < words.size(); ++at) {
    const auto [node_id, address] = cut(words[at], '=');
    options.initial_members.push_back({std::strtoull(node_id.c_str(), nullptr, 10), address});
  }
  libraft::Group group = must("start", node.start_group(options, std::move(machine)));
  if (const auto ready = group.wait_ready(std::chrono::seconds(60)); !ready) {
    std::fprintf(stderr, "bench-member: wait_ready: %s\n", ready.error().what());
    std::exit(1);
  }
  return group;
}

std::string measure(libraft::Group &group, const std::vector<std::string> &words) {
  const auto [kind, batch] = cut(words[3], '-');
  Run run(group, std::strtoull(words[1].c_str(), nullptr, 10),
          std::strtoull(words[2].c_str(), nullptr, 10),
          kind == "batch" ? std::strtoull(batch.c_str(), nullptr, 10) : 0,
          std::strtod(words[4].c_str(), nullptr));
  return run.measure();
}

std::string cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval &time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return std::to_string(seconds(usage.ru_utime) + seconds(usage.ru_stime));
}

}  // namespace

int run_bench_member(std::uint64_t node_id, const std::string &directory) {
  crc32_prepare();
  libraft::NodeOptions options;
  options.cluster = "bench";
  options.node_id = node_id;
  options.directory = directory;
  options.listen_address = "127.0.0.1:0";
  libraft::Node node = must("open", libraft::Node::open(options));
  say(must("status", node.status()).address);
  const auto machine = std::make_shared<Counter>();
  libraft::Group group;
  for (std::string line; std::getline(std::cin, line);) {
    const std::vector<std::string> words = split(line, ' ');
    if (words[0] == "start") {
      group = start(node, words, machine);
      say("started");
    } else if (words[0] == "role") {
      const bool leads = must("role", group.status()).role == libraft::Role::leader;
      say(leads ? "Leader" : "Other");
    } else if (words[0] == "run" && words.size() == 5) {
      say(measure(group, words));
    } else if (words[0] == "state") {
      say(machine->state());
    } else if (words[0] == "cpu") {
      say(cpu_seconds());
    } else {
      std::fprintf(stderr, "bench-member: '%s' is not understood\n", line.c_str());
      return 1;
    }
  }
  return node.close() ? 0 : 1;
}

}  // namespace driver
