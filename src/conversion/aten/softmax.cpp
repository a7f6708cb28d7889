// SPDX-License-Identifier: Apache-2.0
//
// Softmax and log-softmax.
#include <limits>

#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

/// The operand cast to `dtype` where one is given, in the dtype to compute in.
TensorId operand(Conversion& c, const Node& node) {
  return c.operand(node, "self", compute_dtype(c.output_meta(node).dtype));
}

Compute softmax(bool log) {
  return [log](Conversion& c, const Node& node) {
    Network& n = c.network();
    const TensorId x = operand(c, node);
    const TensorType type = n.type(x);
    if (type.rank() == 0) {
      return n.add_reshape(n.add_softmax(n.add_reshape(x, {Expr(1)}), 0, log), {});
    }
    return n.add_softmax(x, normalize_dim(node.integer("dim"), type.rank()), log);
  };
}

/// Rows of -inf alone give 0 instead of NaN.
TensorId safe_softmax(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = operand(c, node);
  const TensorType type = n.type(x);
  const TensorId y = softmax(false)(c, node);
  if (type.rank() == 0) {
    return y;
  }
  const TensorId lowest = real(c, -std::numeric_limits<double>::infinity(), type.dtype);
  const TensorId masked = n.add_elementwise(x, lowest, ElementwiseOp::kEqual);
  const TensorId whole_row =
      n.add_reduce(masked, ReduceOp::kAll, {normalize_dim(node.integer("dim"), type.rank())}, true);
  return n.add_select(whole_row, real(c, 0.0, type.dtype), y);
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_softmax(ConverterRegistry& r) {
  using namespace aten;
  for (const char* name : {"softmax.int", "_softmax.default", "special_softmax.int"}) {
    r.add(std::string("aten.") + name, single(softmax(false)));
  }
  for (const char* name : {"log_softmax.int", "_log_softmax.default", "special_log_softmax.int"}) {
    r.add(std::string("aten.") + name, single(softmax(true)));
  }
  r.add("aten._safe_softmax.default", single(safe_softmax));
}

}  // namespace stator
