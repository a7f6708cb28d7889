// SPDX-License-Identifier: Apache-2.0
//
// Batch normalization by running statistics: x * scale + shift, one pair a channel, which the
// optimizer computes from the constants and folds into a convolution before it.
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

TensorId batch_norm(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "input");
  const TensorType type = n.type(x);
  Shape per_channel(type.shape.size(), Expr(1));
  per_channel[1] = type.shape[1];

  const TensorId variance = c.operand(node, "running_var", type.dtype);
  const TensorId eps = real(c, node.number("eps", 1e-5), type.dtype);
  TensorId scale = n.add_unary(n.add_elementwise(variance, eps, Op::kAdd), UnaryOp::kSqrt);
  scale = n.add_unary(scale, UnaryOp::kReciprocal);
  if (has_tensor(node, "weight")) {
    scale = n.add_elementwise(c.operand(node, "weight", type.dtype), scale, Op::kMul);
  }
  const TensorId moved =
      n.add_elementwise(c.operand(node, "running_mean", type.dtype), scale, Op::kMul);
  const TensorId shift =
      has_tensor(node, "bias")
          ? n.add_elementwise(c.operand(node, "bias", type.dtype), moved, Op::kSub)
          : n.add_unary(moved, UnaryOp::kNeg);
  const TensorId scaled = n.add_elementwise(x, n.add_reshape(scale, per_channel), Op::kMul);
  return n.add_elementwise(scaled, n.add_reshape(shift, per_channel), Op::kAdd);
}

/// The native forms also return the batch's statistics, which are empty in eval mode.
std::vector<TensorId> native_batch_norm(Conversion& c, const Node& node) {
  std::vector<TensorId> results = {batch_norm(c, node)};
  for (int i = 1; i < static_cast<int>(node.outputs.size()); ++i) {
    const TensorMeta& meta = c.output_meta(node, i);
    results.push_back(c.used(node, i) ? c.network().add_fill(meta.shape, meta.dtype, Scalar{})
                                      : -1);
  }
  return results;
}

Support eval_mode(const SupportContext& c, const Node& node) {
  if (node.boolean("training") || !has_tensor(node, "running_mean") ||
      !has_tensor(node, "running_var")) {
    return Support::no("it is in training mode: its statistics come from the batch");
  }
  return all_of({floating_point_argument(c, node, "input"), at_least_axes(c, node, "input", 2)});
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_batch_norm(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.batch_norm.default", single(batch_norm, eval_mode));
  r.add("aten.native_batch_norm.default", several(native_batch_norm, eval_mode));
  r.add("aten._native_batch_norm_legit_no_training.default", several(native_batch_norm, eval_mode));
  r.add("aten._batch_norm_no_update.default", several(native_batch_norm, eval_mode));
}

}  // namespace stator
