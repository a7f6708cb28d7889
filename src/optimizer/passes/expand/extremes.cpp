// SPDX-License-Identifier: Apache-2.0
#include "optimizer/passes/expand/expand.h"

namespace stator::expand {

/// A reduction over no axes is the element itself, or whether it is there.
Results reduce_nothing(const Expansion& e) {
  const auto& a = std::get<Reduce>(e.layer.attributes);
  if (!a.axes.empty()) {
    return std::nullopt;
  }
  return std::vector{e.to().add_cast(e.input(0), e.result().dtype)};
}

}  // namespace stator::expand
