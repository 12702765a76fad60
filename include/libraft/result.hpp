// Results: a value, or the error that came in its place.
#ifndef LIBRAFT_RESULT_HPP
#define LIBRAFT_RESULT_HPP

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "error.hpp"

LIBRAFT_NAMESPACE_BEGIN
namespace detail {

/// Somebody took a value that is not there.
[[noreturn]] inline void no_value(const Error &error) {
#if LIBRAFT_EXCEPTIONS
  error.raise();
#else
  std::fprintf(stderr, "libraft: the value of a failed call was used: %s: %s\n", error.name(),
               error.what());
  std::abort();
#endif
}

inline const Error &no_error() {
  static const Error none(Code::ok, "it worked");
  return none;
}

}  // namespace detail

/// What a call returns: a value, or an Error. It has the form of C++23's std::expected.
///
///     libraft::Node node = libraft::Node::open(options).value();  // or throws
///
///     auto opened = libraft::Node::open(options);                 // without exceptions
///     if (!opened) std::fputs(opened.error().what(), stderr);
///     libraft::Node node = std::move(*opened);
///
/// Whoever uses the value of a failed call, by value(), * or ->, gets its error thrown; in a
/// program without exceptions that is a defect of the program, which ends with a message.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : content_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const noexcept { return content_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  T &value() & { return *checked(); }
  const T &value() const & { return *const_cast<Result *>(this)->checked(); }
  T value() && { return std::move(*checked()); }
  T &operator*() & { return *checked(); }
  const T &operator*() const & { return value(); }
  T operator*() && { return std::move(*checked()); }
  T *operator->() { return checked(); }
  const T *operator->() const { return &value(); }
  T value_or(T other) && { return has_value() ? std::move(*checked()) : std::move(other); }

  /// Why it failed; Code::ok if it did not.
  const Error &error() const noexcept {
    const Error *error = std::get_if<1>(&content_);
    return error == nullptr ? detail::no_error() : *error;
  }

 private:
  T *checked() {
    T *value = std::get_if<0>(&content_);
    if (value == nullptr) {
      detail::no_value(error());
    }
    return value;
  }

  std::variant<T, Error> content_;
};

/// As above, of a call that returns nothing. `{}` is success.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() noexcept = default;
  Result(Error error) noexcept : error_(std::move(error)) {}

  bool has_value() const noexcept { return !error_.has_value(); }
  explicit operator bool() const noexcept { return has_value(); }
  /// Throws the error, if there is one.
  void value() const {
    if (error_) {
      detail::no_value(*error_);
    }
  }
  void operator*() const { value(); }
  /// Why it failed; Code::ok if it did not.
  const Error &error() const noexcept { return error_ ? *error_ : detail::no_error(); }

 private:
  std::optional<Error> error_;
};

namespace detail {

/// Makes a call of the C API: `call` gets the place for the error object.
template <typename Call>
Result<void> checked(Call &&call) {
  libraft_error *error = nullptr;
  const std::int32_t code = call(&error);
  if (code != LIBRAFT_OK) {
    return Error::take(error, code);
  }
  return {};
}

/// What Node::failure and Group::failure return: `asked` says whether the question was answered.
inline Result<std::optional<Error>> failure(const Result<void> &asked, libraft_error *failure) {
  if (!asked) {
    return asked.error();
  }
  if (failure == nullptr) {
    return std::optional<Error>();
  }
  return std::optional<Error>(Error::take(failure, libraft_error_code(failure)));
}

/// A handle of the C API, and the function that frees it.
template <typename T, void (*free)(T *)>
class Handle {
 public:
  Handle() noexcept = default;
  explicit Handle(T *handle) noexcept : handle_(handle) {}
  Handle(Handle &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Handle &operator=(Handle &&other) noexcept {
    Handle(std::move(other)).swap(*this);
    return *this;
  }
  ~Handle() { free(handle_); }

  T *get() const noexcept { return handle_; }
  T **out() noexcept { return &handle_; }
  void swap(Handle &other) noexcept { std::swap(handle_, other.handle_); }

 private:
  T *handle_ = nullptr;
};

}  // namespace detail
LIBRAFT_NAMESPACE_END

#endif
