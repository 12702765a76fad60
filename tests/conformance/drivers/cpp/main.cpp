// The driver of C++: see tests/conformance/PROTOCOL.md.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "host.hpp"
#include "modes.hpp"

namespace {

std::string executable() {
  char path[4096];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  return length > 0 ? std::string(path, static_cast<std::size_t>(length)) : std::string();
}

/// Serves the lines of the input until it ends; then the process ends at once.
[[noreturn]] void serve() {
  const char *language = LIBRAFT_EXCEPTIONS ? "cpp" : "cpp-noexcept";
  driver::say(std::string("! driver language=") + language +
              " runtime=" + driver::hex(executable()) + " protocol=1");
  driver::Host &host = *new driver::Host;
  for (std::string line; std::getline(std::cin, line);) {
    host.serve(driver::Request::parse(line));
  }
  std::_Exit(0);
}

}  // namespace

int main(int argc, char **argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (argc == 1) {
    serve();
  }
  if (mode == "exit" && argc == 4) {
    return driver::run_exit(argv[2], argv[3]);
  }
  if (mode == "bench-member" && argc == 4) {
    return driver::run_bench_member(std::strtoull(argv[2], nullptr, 10), argv[3]);
  }
  std::fputs("usage: driver [exit CASE DIRECTORY | bench-member ID DIRECTORY]\n", stderr);
  return 2;
}
