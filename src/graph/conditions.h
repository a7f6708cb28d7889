// SPDX-License-Identifier: Apache-2.0
//
// Whether conditions on sizes hold whatever the sizes are.
#pragma once

#include "stator/expr.h"

namespace stator {

/// True where a condition is proved for all values that the bounds admit: by rewriting; where there
/// are few, by trying them all; and where symbols are divided by small constants, by trying all
/// remainders.
bool holds_for_all(const Expr& condition, const Bounds& bounds);

}  // namespace stator
