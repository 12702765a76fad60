// The lines of the protocol: requests, and answers.
#ifndef DRIVER_LINE_HPP
#define DRIVER_LINE_HPP

#include <cstdint>
#include <libraft.hpp>
#include <string>
#include <utility>
#include <vector>

namespace driver {

/// Bytes in hexadecimal; `-` for none.
std::string hex(libraft::bytes_view bytes);
std::string unhex(const std::string &text);

std::vector<std::string> split(const std::string &text, char separator);

/// Before and behind the first `separator`.
std::pair<std::string, std::string> cut(const std::string &text, char separator);

/// What the suite asks.
struct Request {
  std::string id, command;
  std::vector<std::pair<std::string, std::string>> arguments;

  static Request parse(const std::string &line);
  /// The argument, or NULL.
  const std::string *find(const std::string &name) const;
  /// The argument; `otherwise` if it is missing.
  std::string text(const std::string &name, const std::string &otherwise = "") const;
  /// As text, in hexadecimal.
  std::string bytes(const std::string &name) const { return unhex(text(name)); }
  std::uint64_t number(const std::string &name) const;
  /// Replaces a default, if the argument is there.
  void set(const std::string &name, std::uint64_t &value) const;
  void set(const std::string &name, std::chrono::milliseconds &value) const;
  bool is_on(const std::string &name) const { return text(name) == "1"; }
  /// The parts of a list; `-` is the empty one.
  std::vector<std::string> list(const std::string &name) const;
};

/// Named values, for an answer.
class Words {
 public:
  Words &add(const std::string &name, const std::string &value) {
    line_ += " " + name + "=" + value;
    return *this;
  }
  Words &add(const std::string &name, std::uint64_t value) {
    return add(name, std::to_string(value));
  }
  const std::string &line() const { return line_; }

 private:
  std::string line_;
};

/// Writes a line, whole.
void say(const std::string &line);

/// A request that the driver cannot make sense of.
libraft::Error nonsense(const std::string &message);

/// Answers a request.
void answer(const std::string &id, const libraft::Result<Words> &result);
void answer(const std::string &id, const libraft::Result<void> &result);
void answer(const std::string &id, const libraft::Error &error);

const char *outcome_name(libraft::Outcome outcome);
const char *code_name(libraft::Code code);

}  // namespace driver

#endif
