#include "line.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <mutex>

namespace driver {

namespace {

constexpr auto driver_code = static_cast<libraft::Code>(-1);

unsigned digit(char letter) {
  return static_cast<unsigned>(letter <= '9' ? letter - '0' : letter - 'a' + 10);
}

}  // namespace

std::string hex(libraft::bytes_view bytes) {
  if (bytes.empty()) {
    return "-";
  }
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

std::string unhex(const std::string &text) {
  std::string bytes;
  for (std::size_t at = 0; text != "-" && at + 1 < text.size(); at += 2) {
    bytes += static_cast<char>(digit(text[at]) << 4 | digit(text[at + 1]));
  }
  return bytes;
}

std::vector<std::string> split(const std::string &text, char separator) {
  std::vector<std::string> parts;
  std::size_t start = 0;
  for (;;) {
    const std::size_t end = text.find(separator, start);
    parts.push_back(text.substr(start, end - start));
    if (end == std::string::npos) {
      return parts;
    }
    start = end + 1;
  }
}

std::pair<std::string, std::string> cut(const std::string &text, char separator) {
  const std::size_t at = text.find(separator);
  if (at == std::string::npos) {
    return {text, ""};
  }
  return {text.substr(0, at), text.substr(at + 1)};
}

Request Request::parse(const std::string &line) {
  const std::vector<std::string> words = split(line, ' ');
  Request request{words[0], words.size() > 1 ? words[1] : "", {}};
  for (std::size_t at = 2; at < words.size(); ++at) {
    request.arguments.push_back(cut(words[at], '='));
  }
  return request;
}

const std::string *Request::find(const std::string &name) const {
  for (const auto &[known, value] : arguments) {
    if (known == name) {
      return &value;
    }
  }
  return nullptr;
}

std::string Request::text(const std::string &name, const std::string &otherwise) const {
  const std::string *value = find(name);
  return value == nullptr ? otherwise : *value;
}

std::uint64_t Request::number(const std::string &name) const {
  return std::strtoull(text(name).c_str(), nullptr, 10);
}

void Request::set(const std::string &name, std::uint64_t &value) const {
  if (find(name) != nullptr) {
    value = number(name);
  }
}

void Request::set(const std::string &name, std::chrono::milliseconds &value) const {
  if (find(name) != nullptr) {
    value = std::chrono::milliseconds(number(name));
  }
}

std::vector<std::string> Request::list(const std::string &name) const {
  const std::string value = text(name, "-");
  return value == "-" ? std::vector<std::string>() : split(value, ',');
}

/// Without stdio: at exit it writes what is buffered a second time, when another thread is about to.
void say(const std::string &line) {
  static std::mutex mutex;
  const std::string whole = line + "\n";
  const std::lock_guard<std::mutex> lock(mutex);
  for (std::size_t said = 0; said < whole.size();) {
    const ssize_t count = write(STDOUT_FILENO, whole.data() + said, whole.size() - said);
    if (count < 0 && errno != EINTR) {
      break;  // nobody listens any more
    }
    said += count > 0 ? static_cast<std::size_t>(count) : 0;
  }
}

libraft::Error nonsense(const std::string &message) {
  return {driver_code, message};
}

const char *outcome_name(libraft::Outcome outcome) {
  switch (outcome) {
    case libraft::Outcome::applied:
      return "applied";
    case libraft::Outcome::rejected:
      return "rejected";
    case libraft::Outcome::unknown:
      break;
  }
  return "unknown";
}

const char *code_name(libraft::Code code) {
  return libraft_code_name(static_cast<std::int32_t>(code));
}

void answer(const std::string &id, const libraft::Error &error) {
  Words words;
  if (error.code() == driver_code) {
    words.add("code", "DRIVER").add("number", 0).add("outcome", 0).add("retriable", 0);
  } else {
    words.add("code", error.name())
        .add("number", static_cast<std::uint64_t>(error.code()))
        .add("outcome", outcome_name(error.outcome()))
        .add("retriable", error.retriable() ? 1 : 0);
  }
  const libraft::Leader leader = error.leader().value_or(libraft::Leader());
  words.add("leader", leader.node_id)
      .add("leader_address", hex(leader.address))
      .add("message", hex(error.message()));
  say(id + " error" + words.line());
}

void answer(const std::string &id, const libraft::Result<Words> &result) {
  if (result) {
    say(id + " ok" + result->line());
  } else {
    answer(id, result.error());
  }
}

void answer(const std::string &id, const libraft::Result<void> &result) {
  if (result) {
    say(id + " ok");
  } else {
    answer(id, result.error());
  }
}

}  // namespace driver
