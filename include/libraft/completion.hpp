// Completions: how calls tell that they are done, by a callback or by a future.
#ifndef LIBRAFT_COMPLETION_HPP
#define LIBRAFT_COMPLETION_HPP

#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "trampoline.hpp"

LIBRAFT_NAMESPACE_BEGIN

/// What became of a proposal that was applied.
struct Applied {
  /// The index and term of its entry.
  std::uint64_t index = 0;
  std::uint64_t term = 0;
  /// What the state machine set as its result.
  std::string result;
};

/// As a last argument of a call with a callback: the callback takes microseconds and never blocks,
/// so it may run on the event loop, which saves a wake-up. Else it runs on the node's completion
/// thread.
struct quick_t {};
inline constexpr quick_t quick{};

/// What became of one call, or of one entry of a batch, as a callback gets it. Borrowed until the
/// callback returns.
class Completion {
 public:
  explicit Completion(const libraft_completion &completion) noexcept : completion_(&completion) {}

  /// Whether it was done: Code::ok, Outcome::applied.
  explicit operator bool() const noexcept { return completion_->code == LIBRAFT_OK; }
  Code code() const noexcept { return static_cast<Code>(completion_->code); }
  Outcome outcome() const noexcept { return static_cast<Outcome>(completion_->outcome); }
  /// Of a proposal: the index of its entry. Of a read: the index up to which the state machine has
  /// applied at least. Of a snapshot: the snapshot's index.
  std::uint64_t index() const noexcept { return completion_->index; }
  /// The term of the entry; 0 for other calls.
  std::uint64_t term() const noexcept { return completion_->term; }
  /// What the state machine set as the entry's result.
  bytes_view result() const noexcept { return {completion_->result, completion_->result_len}; }
  /// The position of the entry in its batch; 0 for other calls.
  std::size_t position() const noexcept { return static_cast<std::size_t>(completion_->position); }

  /// Why it failed; Code::ok if it did not.
  Error error() const {
    return *this ? detail::no_error() : Error::copy(completion_->error, completion_->code);
  }
  /// A copy of what the call was for.
  Result<Applied> applied() const {
    return *this ? Result<Applied>(Applied{index(), term(), result().string()}) : error();
  }

 private:
  const libraft_completion *completion_;
};

/// What became of the entries of a batch, in order. Borrowed until the callback returns.
class Completions {
 public:
  class iterator {
   public:
    explicit iterator(const libraft_completion *at) noexcept : at_(at) {}
    Completion operator*() const noexcept { return Completion(*at_); }
    iterator &operator++() noexcept {
      ++at_;
      return *this;
    }
    bool operator!=(const iterator &other) const noexcept { return at_ != other.at_; }

   private:
    const libraft_completion *at_;
  };

  Completions(const libraft_completion *completions, std::size_t count) noexcept
      : completions_(completions), count_(count) {}

  std::size_t size() const noexcept { return count_; }
  iterator begin() const noexcept { return iterator(completions_); }
  iterator end() const noexcept { return iterator(completions_ + count_); }
  /// The completion at `position`, which must be less than size().
  Completion operator[](std::size_t position) const noexcept {
    return Completion(completions_[position]);
  }

 private:
  const libraft_completion *completions_;
  std::size_t count_;
};

namespace detail {

inline libraft_completer completer(libraft_completion_callback callback, bool is_quick) noexcept {
  libraft_completer completer;
  libraft_completer_init(&completer);
  completer.callback = callback;
  completer.quick = is_quick ? 1 : 0;
  return completer;
}

/// Completes a future. `Convert` makes its value of the completions.
template <typename Convert>
struct Promise {
  using Value = decltype(Convert::convert(nullptr, 0));
  std::promise<Value> promise;

  static void complete(void *user_data, const libraft_completion *completions,
                       std::size_t count) noexcept {
    const std::unique_ptr<Promise> self(static_cast<Promise *>(user_data));
#if LIBRAFT_EXCEPTIONS
    try {
      self->promise.set_value(Convert::convert(completions, count));
    } catch (...) {  // no memory for the copy
      self->promise.set_exception(std::current_exception());
    }
#else
    self->promise.set_value(Convert::convert(completions, count));
#endif
  }
};

struct ToApplied {
  static Result<Applied> convert(const libraft_completion *completions, std::size_t) {
    return Completion(*completions).applied();
  }
};

struct ToIndex {
  static Result<std::uint64_t> convert(const libraft_completion *completions, std::size_t) {
    const Completion completion(*completions);
    return completion ? Result<std::uint64_t>(completion.index()) : completion.error();
  }
};

struct ToNothing {
  static Result<void> convert(const libraft_completion *completions, std::size_t) {
    const Completion completion(*completions);
    return completion ? Result<void>() : completion.error();
  }
};

struct ToBatch {
  static Result<std::vector<Result<Applied>>> convert(const libraft_completion *completions,
                                                      std::size_t count) {
    std::vector<Result<Applied>> results;
    results.reserve(count);
    for (const Completion completion : Completions(completions, count)) {
      results.push_back(completion.applied());
    }
    return results;
  }
};

/// Makes an asynchronous call of the C API, and returns the future that it completes: at once, if
/// the call is refused. `call` gets the completer, its user_data, and the place for the error.
template <typename Convert, typename Call>
auto promised(Call &&call) {
  auto pending = std::make_unique<Promise<Convert>>();
  auto future = pending->promise.get_future();
  const libraft_completer completer = detail::completer(Promise<Convert>::complete, true);
  libraft_error *error = nullptr;
  const std::int32_t code = call(&completer, pending.get(), &error);
  if (code == LIBRAFT_OK) {
    (void)pending.release();  // the completion frees it, or has done so already
  } else {
    pending->promise.set_value(Error::take(error, code));
  }
  return future;
}

/// Calls back once, with one completion or with those of a batch.
template <typename Callback>
struct Once {
  Callback callback;

  static void complete(void *user_data, const libraft_completion *completions,
                       std::size_t count) noexcept {
    const std::unique_ptr<Once> self(static_cast<Once *>(user_data));
    call_back([&] {
      if constexpr (std::is_invocable_v<Callback &, Completions>) {
        self->callback(Completions(completions, count));
      } else {
        (void)count;
        self->callback(Completion(*completions));
      }
    });
  }
};

/// Makes an asynchronous call of the C API that calls `callback` when it is done.
template <typename Callback, typename Call>
Result<void> called_back(Callback &&callback, bool is_quick, Call &&call) {
  using Pending = Once<std::decay_t<Callback>>;
  std::unique_ptr<Pending> pending(new Pending{std::forward<Callback>(callback)});
  const libraft_completer completer = detail::completer(Pending::complete, is_quick);
  Result<void> accepted =
      checked([&](libraft_error **error) { return call(&completer, pending.get(), error); });
  if (accepted) {
    (void)pending.release();  // the completion frees it, or has done so already
  }
  return accepted;
}

/// What a call with a callback may be given.
template <typename Callback>
using if_completion_callback =
    std::enable_if_t<std::is_invocable_v<std::decay_t<Callback> &, Completion>>;
template <typename Callback>
using if_batch_callback =
    std::enable_if_t<std::is_invocable_v<std::decay_t<Callback> &, Completions>>;

/// Tells that something was closed or stopped.
template <typename Callback>
struct Done {
  Callback callback;

  static void done(void *user_data, std::int32_t code, const libraft_error *error) noexcept {
    const std::unique_ptr<Done> self(static_cast<Done *>(user_data));
    call_back(
        [&] { self->callback(code == LIBRAFT_OK ? Result<void>() : Error::copy(error, code)); });
  }
};

/// Begins to close or to stop something: `call` gets the callback, its user_data, and the place for
/// the error.
template <typename Callback, typename Call>
Result<void> begin(Callback &&callback, Call &&call) {
  using Pending = Done<std::decay_t<Callback>>;
  std::unique_ptr<Pending> pending(new Pending{std::forward<Callback>(callback)});
  Result<void> begun =
      checked([&](libraft_error **error) { return call(Pending::done, pending.get(), error); });
  if (begun) {
    (void)pending.release();  // `done` frees it, or has done so already
  }
  return begun;
}

}  // namespace detail
LIBRAFT_NAMESPACE_END

#endif
