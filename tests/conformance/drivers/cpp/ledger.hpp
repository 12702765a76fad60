// The ledger: the state that all languages share, byte for byte.
#ifndef DRIVER_LEDGER_HPP
#define DRIVER_LEDGER_HPP

#include <cstdint>
#include <libraft.hpp>
#include <map>
#include <optional>
#include <string>

namespace driver {

struct Ledger {
  std::map<std::string, std::string> items;
  std::uint64_t count = 0, applied = 0, hash = 0xcbf29ce484222325;

  /// Applies an entry, and returns the count after it; what an `x` says, if it is one.
  libraft::Result<std::uint64_t> apply(const libraft::Entry &entry);
  std::string to_bytes() const;
  static std::optional<Ledger> from_bytes(libraft::bytes_view bytes);
};

/// An integer as 8 or 4 bytes, little-endian.
std::string little_endian(std::uint64_t value, std::size_t width);

}  // namespace driver

#endif
