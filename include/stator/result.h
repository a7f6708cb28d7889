// SPDX-License-Identifier: Apache-2.0
//
// Errors as values. Everything that a user or a file can cause is a Result<T>: a value, or an Error
// with a code and a message that says what is wrong, where, and what to do. (What only Stator
// itself can cause is STATOR_CHECK in base/check.h.) Exceptions are made only at the public C++ and
// Python edge.
//
//   Result<Graph> read(const std::string& path) {
//     STATOR_TRY(MappedFile file, MappedFile::open(path));
//     if (file.size_bytes() < 22) return Error{ErrorCode::kInvalidFile, "..."};
//     ...
//   }
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace stator {

enum class ErrorCode {
  kInvalidArgument,  // a caller's value: a shape, a setting, a count
  kInvalidFile,      // a file that is damaged, truncated, or of another kind
  kUnsupported,      // well formed, but this build or backend cannot do it
  kIncompatible,     // made by or for another version, device or instruction set
  kIo,               // the operating system refused
  kOutOfRange,       // a run's data: an index that is not of what it indexes
  kInvalidData,      // a run's data: an integer division by zero, a reduction over nothing, …
  kInternal,         // a defect of Stator, caught at the border of a compilation
};

/// Lower-case word for a code: "invalid argument", "invalid file", …
const char* error_code_name(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;  // complete; may hold several lines; no trailing newline

  /// The same error with `where: ` in front of its message.
  Error in(const std::string& where) const { return Error{code, where + ": " + message}; }
};

/// kInvalidArgument: what was given cannot be used.
inline Error invalid_argument(std::string message) {
  return Error{ErrorCode::kInvalidArgument, std::move(message)};
}

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() { return value(); }
  T* operator->() { return &value(); }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

/// Success, or an error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit
  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};
using Status = Result<void>;

}  // namespace stator

#define STATOR_CONCAT_INNER(a, b) a##b
#define STATOR_CONCAT(a, b) STATOR_CONCAT_INNER(a, b)

/// Declares `declaration` from the value of `expression`, or returns its error.
#define STATOR_TRY(declaration, ...) \
  STATOR_TRY_(STATOR_CONCAT(result_, __LINE__), declaration, __VA_ARGS__)
#define STATOR_TRY_(tmp, declaration, ...) \
  auto tmp = (__VA_ARGS__);                \
  if (!tmp.ok()) {                         \
    return tmp.error();                    \
  }                                        \
  declaration = std::move(tmp).value()

/// Returns the error of a Status or Result expression, if it has one.
#define STATOR_RETURN_IF_ERROR(...)                    \
  do {                                                 \
    if (auto status_ = (__VA_ARGS__); !status_.ok()) { \
      return status_.error();                          \
    }                                                  \
  } while (false)
