// SPDX-License-Identifier: Apache-2.0
//
// What tracing assumed of the sizes of the inputs ("x.shape[1] % 2 == 0"): where it does not hold,
// the traced graph is not what the model computes, and a call must be refused.
#pragma once

#include <string>

#include "stator/expr.h"

namespace stator {

struct Guard {
  Expr condition;      // holds where it is not 0
  std::string text;    // as a user would write it
  std::string source;  // the line of the model that it comes from; "" when unknown
};

}  // namespace stator
