// SPDX-License-Identifier: Apache-2.0
//
// STATOR_CHECK: what must hold unless Stator itself is wrong. A failure throws InternalError, which
// the border of a compilation (compiler/compile.cpp, tools, bindings) turns into
// ErrorCode::kInternal, so that a defect in one compilation becomes a fallback to PyTorch with a
// request to report it, and never a crash. Never used for what a user or a file can cause: that is
// Result (stator/result.h).
#pragma once

#include <stdexcept>
#include <string>

namespace stator {

class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] void check_failed(const char* condition, const char* file, int line,
                               const std::string& message);

}  // namespace stator

#define STATOR_CHECK(condition, message)                                 \
  do {                                                                   \
    if (!(condition)) [[unlikely]] {                                     \
      ::stator::check_failed(#condition, __FILE__, __LINE__, (message)); \
    }                                                                    \
  } while (false)
