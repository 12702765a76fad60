// What the driver can be besides a server of the line protocol.
#ifndef DRIVER_MODES_HPP
#define DRIVER_MODES_HPP

#include <cstdint>
#include <string>

namespace driver {

/// One case of the exit matrix; returns what the program ends with.
int run_exit(const std::string &name, const std::string &directory);

/// A member of the benchmark's cluster.
int run_bench_member(std::uint64_t node_id, const std::string &directory);

}  // namespace driver

#endif
