#include "ledger.hpp"

namespace driver {

std::string little_endian(std::uint64_t value, std::size_t width) {
  std::string bytes;
  for (std::size_t at = 0; at < width; ++at) {
    bytes += static_cast<char>(value >> (8 * at));
  }
  return bytes;
}

libraft::Result<std::uint64_t> Ledger::apply(const libraft::Entry &entry) {
  const libraft::bytes_view data = entry.data;
  if (!data.empty() && data[0] == 'x') {
    return libraft::Error(libraft::Code::apply_failed, data.sub(1).string());
  }
  for (const char byte : little_endian(entry.index, 8) + data.string()) {
    hash = (hash ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3;
  }
  applied = entry.index;
  ++count;
  if (data.size() < 2 || data.size() - 2 < data[1]) {
    return count;
  }
  const std::string key = data.sub(2, data[1]).string();
  if (data[0] == 's') {
    items[key] = data.sub(2u + data[1]).string();
  } else if (data[0] == 'd') {
    items.erase(key);
  }
  return count;
}

std::string Ledger::to_bytes() const {
  std::string bytes = "LEDGER01" + little_endian(applied, 8) + little_endian(count, 8) +
                      little_endian(hash, 8) + little_endian(items.size(), 4);
  for (const auto &[key, value] : items) {  // in the order of their bytes, as std::string compares
    bytes += little_endian(key.size(), 4) + key + little_endian(value.size(), 4) + value;
  }
  return bytes;
}

namespace {

/// Takes a number, or a text with its length in front, from the beginning of bytes.
bool take(libraft::bytes_view &bytes, std::uint64_t &value, std::size_t width) {
  if (bytes.size() < width) {
    return false;
  }
  value = 0;
  for (std::size_t at = width; at > 0; --at) {
    value = value << 8 | bytes[at - 1];
  }
  bytes = bytes.sub(width);
  return true;
}

bool take(libraft::bytes_view &bytes, std::string &text) {
  std::uint64_t length = 0;
  if (!take(bytes, length, 4) || bytes.size() < length) {
    return false;
  }
  text = bytes.sub(0, length).string();
  bytes = bytes.sub(length);
  return true;
}

}  // namespace

std::optional<Ledger> Ledger::from_bytes(libraft::bytes_view bytes) {
  Ledger ledger;
  std::uint64_t keys = 0;
  if (bytes.sub(0, 8) != "LEDGER01") {
    return std::nullopt;
  }
  bytes = bytes.sub(8);
  if (!take(bytes, ledger.applied, 8) || !take(bytes, ledger.count, 8) ||
      !take(bytes, ledger.hash, 8) || !take(bytes, keys, 4)) {
    return std::nullopt;
  }
  for (std::string key, value; keys > 0; --keys) {
    if (!take(bytes, key) || !take(bytes, value)) {
      return std::nullopt;
    }
    ledger.items[key] = value;
  }
  return bytes.empty() ? std::optional<Ledger>(std::move(ledger)) : std::nullopt;
}

}  // namespace driver
