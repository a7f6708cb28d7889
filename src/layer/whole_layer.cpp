// SPDX-License-Identifier: Apache-2.0
#include "layer/whole_layer.h"

#include "layer/scan_places.h"

namespace stator {

bool is_whole_layer(const LayerAttributes& attributes, DType dtype) {
  const bool truth = dtype == DType::kBool;
  if (const auto* scan = std::get_if<Scan>(&attributes)) {
    if (scan->op == ScanOp::kLogSumExp) return is_floating_point(dtype);
    return !truth || has_places(scan->op);
  }
  if (const auto* scatter = std::get_if<ScatterElements>(&attributes)) {
    return !truth || (scatter->op != ScatterOp::kAdd && scatter->op != ScatterOp::kMul);
  }
  return std::holds_alternative<Sort>(attributes) || std::holds_alternative<TopK>(attributes);
}

}  // namespace stator
