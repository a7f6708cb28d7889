// SPDX-License-Identifier: Apache-2.0
#include "optimizer/fusion/decide.h"
#include "optimizer/passes/expand/expand.h"

namespace stator::expand {
namespace {

constexpr size_t kParts = 4;  // that a loop reads under guards

}  // namespace

/// Parts of sizes that no chunks are made of (fusion/decide.h) are joined in fours, and those
/// again: every element is read under the guards of its own few parts.
Results concat(const Expansion& e) {
  if (e.layer.inputs.size() <= kParts || join_chunk(e.rewriter.source(), e.layer) ||
      !in_loops(e.traits, e.result().dtype) || e.result().rank() > 8) {
    return std::nullopt;
  }
  const int64_t axis = std::get<Concat>(e.layer.attributes).axis;
  std::vector<TensorId> parts;
  for (size_t k = 0; k < e.layer.inputs.size(); ++k) {
    parts.push_back(e.input(k));
  }
  while (parts.size() > 1) {
    std::vector<TensorId> joined;
    for (size_t k = 0; k < parts.size(); k += kParts) {
      const std::vector<TensorId> some(
          parts.begin() + static_cast<int64_t>(k),
          parts.begin() + static_cast<int64_t>(std::min(k + kParts, parts.size())));
      joined.push_back(some.size() == 1 ? some[0] : e.to().add_concatenation(some, axis));
    }
    parts = std::move(joined);
  }
  return parts;
}

}  // namespace stator::expand
