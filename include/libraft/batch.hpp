// Batches: entries that are proposed together.
#ifndef LIBRAFT_BATCH_HPP
#define LIBRAFT_BATCH_HPP

#include <cstddef>
#include <string>
#include <vector>

#include "bytes.hpp"

LIBRAFT_NAMESPACE_BEGIN

/// Entries for Group::propose_batch, one behind the other. Proposing does not change it: it can be
/// proposed again, or cleared and filled anew, which allocates nothing.
class Batch {
 public:
  /// Copies an entry to the end of the batch.
  void add(bytes_view entry) {
    if (entry.data() == nullptr && !entry.empty()) {
      has_null_ = true;  // the library will refuse the batch, as it refuses such an entry
      return;
    }
    data_.append(entry.text());
    offsets_.push_back(data_.size());
  }
  void clear() noexcept {
    data_.clear();
    offsets_.resize(1);
    has_null_ = false;
  }
  /// Makes room for this many entries with this many bytes together.
  void reserve(std::size_t entries, std::size_t bytes) {
    data_.reserve(bytes);
    offsets_.reserve(entries + 1);
  }

  /// How many entries there are.
  std::size_t size() const noexcept { return offsets_.size() - 1; }
  bool empty() const noexcept { return size() == 0; }

  /// The bytes of all entries, and where each begins, and the last ends: as the C API wants them.
  const char *data() const noexcept { return has_null_ ? nullptr : data_.data(); }
  const std::size_t *offsets() const noexcept { return offsets_.data(); }

 private:
  std::string data_;
  std::vector<std::size_t> offsets_ = {0};
  bool has_null_ = false;
};

LIBRAFT_NAMESPACE_END

#endif
