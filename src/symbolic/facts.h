// SPDX-License-Identifier: Apache-2.0
//
// Named sizes and guards as lines of the printed forms:
//   size size0 = TruncToInt(1.7*ToFloat(s0))
//   guard s0 % 2 == 0 "x.shape[1] % 2 == 0" "model.py:12"
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "stator/guard.h"

namespace stator {

/// One line each, indented by two.
std::string print_facts(const Bounds& bounds, const std::vector<Guard>& guards);

/// Reads such a line into `bounds` or `guards`; false for a line of another kind.
Result<bool> read_fact(std::string_view line, Bounds* bounds, std::vector<Guard>* guards);

}  // namespace stator
