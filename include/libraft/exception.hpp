// Exceptions of the program's, which become errors with what was thrown.
#ifndef LIBRAFT_EXCEPTION_HPP
#define LIBRAFT_EXCEPTION_HPP

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "result.hpp"

#if LIBRAFT_EXCEPTIONS && defined(__GNUC__)
#include <cxxabi.h>

#include <typeinfo>
#endif

LIBRAFT_NAMESPACE_BEGIN
namespace detail {

#if LIBRAFT_EXCEPTIONS

/// The name of the type of what was thrown, as "std::runtime_error: ", if the compiler tells.
inline std::string current_exception_type() {
#if defined(__GNUC__)
  const std::type_info *type = abi::__cxa_current_exception_type();
  if (type != nullptr) {
    const std::unique_ptr<char, void (*)(void *)> name(
        abi::__cxa_demangle(type->name(), nullptr, nullptr, nullptr), std::free);
    return std::string(name ? name.get() : type->name()) + ": ";
  }
#endif
  return {};
}

/// What was thrown: type and text, and the same of what is nested in it.
inline std::string describe_current_exception() {
  const std::string type = current_exception_type();
  try {
    throw;
  } catch (const std::exception &thrown) {
    std::string text = type + thrown.what();
    try {
      std::rethrow_if_nested(thrown);
    } catch (...) {
      text += "; because of " + describe_current_exception();
    }
    return text;
  } catch (const std::string &thrown) {
    return type + thrown;
  } catch (const char *thrown) {
    return type + thrown;
  } catch (...) {
    return type + "not a std::exception, so it has no text";
  }
}

/// The error that an exception of a state machine is.
inline Error current_exception_error(Code otherwise) {
  try {
    throw;
  } catch (const Error &error) {
    return Error(error.code(), describe_current_exception());
  } catch (...) {
    return Error(otherwise, describe_current_exception());
  }
}

#endif

/// What `body` returns; what it throws becomes an error.
template <typename Body>
Result<void> caught(Code otherwise, Body &&body) {
#if LIBRAFT_EXCEPTIONS
  try {
    return body();
  } catch (...) {
    return current_exception_error(otherwise);
  }
#else
  (void)otherwise;
  return body();
#endif
}

}  // namespace detail
LIBRAFT_NAMESPACE_END

#endif
