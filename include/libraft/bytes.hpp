// A view of bytes: what proposals, results and snapshots are made of.
#ifndef LIBRAFT_BYTES_HPP
#define LIBRAFT_BYTES_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "config.hpp"

LIBRAFT_NAMESPACE_BEGIN

/// A pointer to bytes of somebody else, and their number. Made from a text, a string, or any
/// container of bytes that lie one behind the other (std::vector<std::uint8_t>, std::array...).
///
/// It owns nothing: whoever gives one away says for how long it may be read. What a function of the
/// library is given, is copied before the function returns.
class bytes_view {
 public:
  using value_type = std::uint8_t;
  using const_iterator = const std::uint8_t *;

  constexpr bytes_view() noexcept = default;
  bytes_view(const void *data, std::size_t size) noexcept
      : data_(static_cast<const std::uint8_t *>(data)), size_(size) {}
  bytes_view(std::string_view text) noexcept : bytes_view(text.data(), text.size()) {}
  /// A text that ends with a zero byte; NULL is no bytes.
  bytes_view(const char *text) noexcept
      : bytes_view(text == nullptr ? std::string_view() : std::string_view(text)) {}

  template <typename Container,
            typename Pointer = decltype(std::declval<const Container &>().data()),
            typename = std::enable_if_t<sizeof(std::remove_pointer_t<Pointer>) == 1>,
            typename = decltype(std::declval<const Container &>().size())>
  bytes_view(const Container &container) noexcept
      : bytes_view(container.data(), container.size()) {}

  constexpr const std::uint8_t *data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }
  constexpr const_iterator begin() const noexcept { return data_; }
  constexpr const_iterator end() const noexcept { return data_ + size_; }
  /// The byte at `position`, which must be less than size().
  constexpr std::uint8_t operator[](std::size_t position) const noexcept { return data_[position]; }

  /// The bytes from `offset` on, `length` at most; none if there are not so many.
  bytes_view sub(std::size_t offset, std::size_t length = SIZE_MAX) const noexcept {
    offset = offset < size_ ? offset : size_;
    return {data_ + offset, length < size_ - offset ? length : size_ - offset};
  }

  /// The same bytes, seen as a text.
  std::string_view text() const noexcept { return {reinterpret_cast<const char *>(data_), size_}; }
  /// A copy.
  std::string string() const { return std::string(text()); }

 private:
  const std::uint8_t *data_ = nullptr;
  std::size_t size_ = 0;
};

inline bool operator==(bytes_view one, bytes_view other) noexcept {
  return one.text() == other.text();
}
inline bool operator!=(bytes_view one, bytes_view other) noexcept {
  return !(one == other);
}

LIBRAFT_NAMESPACE_END

#endif
