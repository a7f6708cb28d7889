// SPDX-License-Identifier: Apache-2.0
//
// Losses whose operands PyTorch checks: classes of nll_loss, probabilities of binary_cross_entropy.
#include "conversion/aten/checks.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

constexpr int64_t kNone = 0, kMean = 1;  // reduction

std::vector<int64_t> all_axes(Conversion& c, TensorId x) {
  std::vector<int64_t> axes;
  for (int64_t k = 0; k < c.network().type(x).rank(); ++k) {
    axes.push_back(k);
  }
  return axes;
}

TensorId sum(Conversion& c, TensorId x) {
  const std::vector<int64_t> axes = all_axes(c, x);
  return axes.empty() ? x : c.network().add_reduce(x, ReduceOp::kSum, axes, false);
}

/// x [N, C, …] or [C] at each element's class; elements of the class ignore_index do not count.
TensorId nll_loss(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = compute_dtype(c.meta(node, "self").dtype);
  const TensorId x = c.operand(node, "self", dtype);
  const TensorId target = c.operand(node, "target", DType::kInt64);
  const int64_t axis = n.type(x).rank() == 1 ? 0 : 1;
  const Expr classes = n.type(x).shape[static_cast<size_t>(axis)];
  const Shape shape = n.type(target).shape;
  const TensorId zero = real(c, 0.0, dtype);

  const TensorId ignored =
      elementwise(c, {target, c.operand(node, "ignore_index", DType::kInt64)}, Op::kEqual);
  const TensorId place = checked_places(c, choose(c, {ignored, whole(c, 0, DType::kInt64), target}),
                                        classes, DataError::kTarget);
  Shape column = n.type(x).shape;
  column[static_cast<size_t>(axis)] = 1;
  const TensorId picked = n.add_reshape(
      n.add_layer(GatherElements{axis, DataError::kTarget}, {x, n.add_reshape(place, column)})[0],
      shape);
  TensorId weight = n.add_expand(real(c, 1.0, dtype), shape);
  if (has_tensor(node, "weight")) {
    weight = n.add_gather(c.operand(node, "weight", dtype), place, 0, false, DataError::kTarget);
  }
  weight = choose(c, {ignored, zero, weight});
  const TensorId each = elementwise(c, {n.add_unary(picked, UnaryOp::kNeg), weight}, Op::kMul);
  const TensorId loss = choose(c, {ignored, zero, each});
  const int64_t reduction = node.integer("reduction", kMean);
  if (reduction == kNone) {
    return loss;
  }
  return reduction == kMean ? elementwise(c, {sum(c, loss), sum(c, weight)}, Op::kDiv)
                            : sum(c, loss);
}

Support nll_loss_support(const SupportContext& c, const Node& node) {
  const TensorMeta& x = c.meta(node, "self");
  const TensorMeta& target = c.meta(node, "target");
  if (x.rank() == 0 || target.rank() != (x.rank() == 1 ? 0 : x.rank() - 1)) {
    return Support::no("its classes do not stand along axis 1, or its targets have other axes");
  }
  return all_of({floating_point_argument(c, node, "self"), only_outputs_before(c, node, 1)});
}

/// (target - 1) max(log(1 - x), -100) - target max(log x, -100).
TensorId binary_cross_entropy(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = compute_dtype(c.meta(node, "self").dtype);
  TensorId x = c.operand(node, "self", dtype);
  const TensorId target = c.operand(node, "target", dtype);
  const TensorId inside = elementwise(c,
                                      {elementwise(c, {x, real(c, 0.0, dtype)}, Op::kGreaterEqual),
                                       elementwise(c, {x, real(c, 1.0, dtype)}, Op::kLessEqual)},
                                      Op::kAnd);
  x = check_none(c, x, n.add_unary(inside, UnaryOp::kNot), DataError::kProbability);
  const auto log_of = [&](TensorId value, UnaryOp log) {
    return elementwise(c, {n.add_unary(value, log), real(c, -100.0, dtype)}, Op::kMax);
  };
  const TensorId others = log_of(n.add_unary(x, UnaryOp::kNeg), UnaryOp::kLog1p);
  const TensorId first =
      elementwise(c, {elementwise(c, {target, real(c, 1.0, dtype)}, Op::kSub), others}, Op::kMul);
  const TensorId second = elementwise(c, {target, log_of(x, UnaryOp::kLog)}, Op::kMul);
  TensorId loss = elementwise(c, {first, second}, Op::kSub);
  if (has_tensor(node, "weight")) {
    loss = elementwise(c, {loss, c.operand(node, "weight", dtype)}, Op::kMul);
  }
  const int64_t reduction = node.integer("reduction", kMean);
  if (reduction == kNone) {
    return loss;
  }
  return reduction == kMean ? n.add_reduce(loss, ReduceOp::kMean, all_axes(c, loss), false)
                            : sum(c, loss);
}

Support binary_cross_entropy_support(const SupportContext& c, const Node& node) {
  if (c.meta(node, "self").rank() == 0) {
    return Support::no("it is of one number");
  }
  return all_of(
      {floating_point_argument(c, node, "self"), floating_point_argument(c, node, "target")});
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_losses(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.nll_loss_forward.default", single(nll_loss, nll_loss_support));
  r.add("aten.nll_loss2d_forward.default", single(nll_loss, nll_loss_support));
  r.add("aten.binary_cross_entropy.default",
        single(binary_cross_entropy, binary_cross_entropy_support));
}

}  // namespace stator
