// SPDX-License-Identifier: Apache-2.0
//
// The functions that texts of size expressions call, by name.
#pragma once

#include <string_view>
#include <vector>

#include "stator/expr.h"

namespace stator {

enum class Comparison : uint8_t {
  kNone,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual
};
Expr compared(Comparison kind, const Expr& a, const Expr& b);

/// 1 where `e` is not 0.
Expr truth(const Expr& e);

/// `name` of `args`, at least one; the error's message goes on "size expression '…' ".
Result<Expr> call_by_name(std::string_view name, const std::vector<Expr>& args);

}  // namespace stator
