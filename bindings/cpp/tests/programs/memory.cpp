// A program of its own: memory stays where it is, however many proposals, callbacks, errors and
// snapshots there are. LIBRAFT_MEMORY_PROPOSALS says how many proposals; a million is the default.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <future>
#include <libraft.hpp>
#include <memory>
#include <vector>

namespace {

constexpr std::size_t batch_size = 64;

class Counter : public libraft::StateMachine {
  libraft::Result<void> apply(libraft::ApplyRequest &request) override {
    for (const libraft::Entry entry : request.entries()) {
      ++count_;
      request.set_result(entry.position, {&count_, sizeof count_});
    }
    return {};
  }
  libraft::Result<void> save_snapshot(libraft::SnapshotWriter &writer) override {
    return writer.write({&count_, sizeof count_});
  }
  libraft::Result<void> restore_snapshot(libraft::SnapshotReader &reader) override {
    return reader.read_exactly(&count_, sizeof count_);
  }
  std::uint64_t count_ = 0;
};

std::uint64_t resident_bytes() {
  std::uint64_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

[[noreturn]] void give_up(const libraft::Error &error) {
  std::fprintf(stderr, "memory: %s: %s\n", error.name(), error.what());
  std::exit(1);
}

template <typename Value>
Value must(libraft::Result<Value> result) {
  if (!result) {
    give_up(result.error());
  }
  return *std::move(result);
}

/// One future for a proposal, one for a batch, a callback for a batch, and an error: `batch_size`
/// proposals each, but for the last.
void round(libraft::Group &group, const libraft::Batch &batch) {
  std::vector<std::future<libraft::Result<libraft::Applied>>> single;
  for (std::size_t i = 0; i < batch_size; ++i) {
    single.push_back(group.propose("0123456789abcdef0123456789abcdef"));
  }
  auto together = group.propose_batch(batch);
  std::promise<bool> called;
  const auto accepted = group.propose_batch(batch, [&](const libraft::Completions &completions) {
    called.set_value(static_cast<bool>(completions[0]));
  });
  if (!accepted) {
    give_up(accepted.error());
  }
  for (auto &future : single) {
    must(future.get());
  }
  must(together.get());
  if (!called.get_future().get() || group.propose("").get()) {
    std::fputs("memory: a call did not end as it must\n", stderr);
    std::exit(1);
  }
}

}  // namespace

int main() {
  const char *given = std::getenv("LIBRAFT_MEMORY_PROPOSALS");
  const std::uint64_t proposals = given == nullptr ? 1000000 : std::strtoull(given, nullptr, 10);
  libraft::NodeOptions options;
  options.cluster = "memory";
  options.node_id = 1;
  options.directory = "data";
  options.segment_bytes = 1 << 20;
  libraft::Node node = must(libraft::Node::open(options));
  libraft::GroupOptions group_options;
  group_options.group_id = 1;
  group_options.initial_members = {{1, must(node.status()).address}};
  group_options.snapshot_entries = 20000;
  group_options.retained_entries = 1000;
  libraft::Group group = must(node.start_group(group_options, std::make_unique<Counter>()));
  if (const auto ready = group.wait_ready(std::chrono::seconds(60)); !ready) {
    give_up(ready.error());
  }
  libraft::Batch batch;
  for (std::size_t i = 0; i < batch_size; ++i) {
    batch.add("0123456789abcdef0123456789abcdef");
  }
  std::uint64_t done = 0, early = 0;
  while (done < proposals * 9 / 10) {
    round(group, batch);
    done += 3 * batch_size;
    if (early == 0 && done >= proposals * 3 / 10) {
      early = resident_bytes();
    }
  }
  const std::uint64_t late = resident_bytes(), allowed = early + early / 20 + (2 << 20);
  std::printf("%s memory: %llu KiB after 30%% of %llu proposals, %llu KiB after 90%%\n",
              late <= allowed ? "ok" : "FAILED", static_cast<unsigned long long>(early >> 10),
              static_cast<unsigned long long>(proposals),
              static_cast<unsigned long long>(late >> 10));
  return late <= allowed ? 0 : 1;
}
