// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "optimizer/passes/expand/expand.h"

namespace stator::expand {

/// Windows of the whole image are a reduction, which may run along the image itself.
Results adaptive_pooling(const Expansion& e) {
  const auto& a = std::get<AdaptivePooling>(e.layer.attributes);
  const bool whole = std::all_of(a.output_size.begin(), a.output_size.end(),
                                 [](const Expr& size) { return size.is_constant(1); });
  if (!whole || !in_loops(e.traits, e.type(0).dtype)) {
    return std::nullopt;
  }
  std::vector<int64_t> axes;
  for (size_t k = 0; k < a.output_size.size(); ++k) {
    axes.push_back(static_cast<int64_t>(k) + (a.channels_last ? 1 : 2));
  }
  const ReduceOp op = a.op == PoolOp::kMax ? ReduceOp::kMax : ReduceOp::kMean;
  return std::vector{e.to().add_reduce(e.input(0), op, axes, true)};
}

}  // namespace stator::expand
