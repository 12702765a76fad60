#include <iostream>
#include <libraft.hpp>

// Says the version of the library, and that a call without a node is refused, not followed.
int main() {
  const libraft::Error error = libraft::Node().status().error();
  std::cout << "libraft " << libraft::version() << "\n";
  return error.code() == libraft::Code::invalid_argument ? 0 : 1;
}
