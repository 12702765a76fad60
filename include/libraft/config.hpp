// How the program is compiled: with exceptions or without.
#ifndef LIBRAFT_CONFIG_HPP
#define LIBRAFT_CONFIG_HPP

#include <libraft.h>

// 1 if errors can be thrown. A program may say 0 itself, though its compiler could.
#ifndef LIBRAFT_EXCEPTIONS
#ifdef __cpp_exceptions
#define LIBRAFT_EXCEPTIONS 1
#else
#define LIBRAFT_EXCEPTIONS 0
#endif
#endif

// Parts of one program may be compiled with exceptions and others without: what differs between
// them must have different names for the linker.
#if LIBRAFT_EXCEPTIONS
#define LIBRAFT_NAMESPACE_BEGIN namespace libraft {
#define LIBRAFT_NAMESPACE_END }
#else
#define LIBRAFT_NAMESPACE_BEGIN \
  namespace libraft {           \
  inline namespace not_throwing {
#define LIBRAFT_NAMESPACE_END \
  }                           \
  }
#endif

LIBRAFT_NAMESPACE_BEGIN

/// The version of the library that is loaded, such as "1.2.3". Threads: any; never blocks.
inline const char *version() noexcept {
  return libraft_version();
}

LIBRAFT_NAMESPACE_END

#endif
