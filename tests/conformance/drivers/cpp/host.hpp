// The nodes and groups of this process, and what the commands do with them.
#ifndef DRIVER_HOST_HPP
#define DRIVER_HOST_HPP

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "line.hpp"
#include "machine.hpp"

namespace driver {

class Host {
 public:
  /// Starts what the line asks for. What blocks its thread gets one of its own.
  void serve(const Request &request);

 private:
  struct Started {
    std::shared_ptr<libraft::Group> group;
    std::shared_ptr<Shared> machine;
  };
  using Node = std::shared_ptr<libraft::Node>;

  /// Commands that have their answer at once.
  libraft::Result<Words> at_once(const Request &request);
  libraft::Result<Words> open(const Request &request);
  libraft::Result<Words> start_group(const Request &request);
  /// Commands for a group that take time.
  void call(const Request &request);
  void propose(const Request &request, const Started &started);
  void propose_batch(const Request &request, const Started &started);
  void close(const Request &request);
  void close_in_callback(const Request &request);
  libraft::Result<void> set_events(const Request &request);
  libraft::Result<void> set_machine(const Request &request);
  libraft::Result<Words> misuse(const Request &request);

  libraft::Result<Node> node(const Request &request);
  libraft::Result<Started> started(const Request &request);

  std::mutex mutex_;
  std::map<std::uint64_t, Node> nodes_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, Started> groups_;
};

/// What nodes, groups and members say of themselves, as words of the protocol.
libraft::Result<Words> describe(const libraft::Node &node);
libraft::Result<Words> describe(const libraft::Group &group);
libraft::Result<Words> describe_members(const libraft::Group &group);
/// The line of an event; empty for one that the protocol does not know.
std::string describe(std::uint64_t node_id, const libraft::Event &event);

}  // namespace driver

#endif
