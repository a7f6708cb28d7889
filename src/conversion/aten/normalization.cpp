// SPDX-License-Identifier: Apache-2.0
//
// Layer, RMS, group and instance normalization: one Normalization layer over trailing axes.
#include <limits>
#include <numeric>

#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

/// The axes of normalized_shape: the last ones.
std::vector<int64_t> trailing_axes(const Node& node, int rank) {
  std::vector<int64_t> axes(node.sym_ints("normalized_shape").size());
  std::iota(axes.begin(), axes.end(), rank - static_cast<int64_t>(axes.size()));
  return axes;
}

TensorId optional_operand(Conversion& c, const Node& node, const char* arg, DType dtype) {
  return has_tensor(node, arg) ? c.operand(node, arg, dtype) : -1;
}

TensorId normalized(Conversion& c, const Node& node, TensorId x, double eps, bool rms) {
  const TensorType type = c.network().type(x);
  const TensorId bias = rms ? -1 : optional_operand(c, node, "bias", type.dtype);
  return c.network().add_normalization(x, optional_operand(c, node, "weight", type.dtype), bias,
                                       trailing_axes(node, type.rank()), eps, rms);
}

TensorId layer_norm(Conversion& c, const Node& node) {
  return normalized(c, node, floating_operand(c, node, "input"), node.number("eps", 1e-5), false);
}

TensorId mean_over(Conversion& c, TensorId x, const std::vector<int64_t>& axes) {
  return c.network().add_reduce(x, ReduceOp::kMean, axes, true);
}

/// 1 / sqrt(x + eps)
TensorId reciprocal_root(Conversion& c, TensorId x, double eps) {
  Network& n = c.network();
  const TensorId shifted = n.add_elementwise(x, real(c, eps, n.type(x).dtype), Op::kAdd);
  return n.add_unary(shifted, UnaryOp::kRsqrt);
}

/// Mean of the squared distance from `mean`.
TensorId spread_around(Conversion& c, TensorId x, TensorId mean, const std::vector<int64_t>& axes) {
  const TensorId distance = c.network().add_elementwise(x, mean, Op::kSub);
  return mean_over(c, c.network().add_elementwise(distance, distance, Op::kMul), axes);
}

/// Mean and 1/sqrt(var + eps) of the rows, the outputs 1 and 2 of the native forms, where used.
std::vector<TensorId> with_statistics(Conversion& c, const Node& node, TensorId y, TensorId x,
                                      const std::vector<int64_t>& axes, double eps) {
  std::vector<TensorId> results = {y, -1, -1};
  if (c.used(node, 1) || c.used(node, 2)) {
    const TensorId mean = mean_over(c, x, axes);
    const TensorId root = reciprocal_root(c, spread_around(c, x, mean, axes), eps);
    results[1] = c.network().add_reshape(mean, c.output_meta(node, 1).shape);
    results[2] = c.network().add_reshape(root, c.output_meta(node, 2).shape);
  }
  return results;
}

std::vector<TensorId> native_layer_norm(Conversion& c, const Node& node) {
  const TensorId x = floating_operand(c, node, "input");
  const double eps = node.number("eps", 1e-5);
  return with_statistics(c, node, normalized(c, node, x, eps, false), x,
                         trailing_axes(node, c.network().type(x).rank()), eps);
}

/// Without eps PyTorch takes the dtype's own.
double rms_epsilon(const Conversion& c, const Node& node) {
  const double own = c.meta(node, "input").dtype == DType::kFloat64
                         ? std::numeric_limits<double>::epsilon()
                         : std::numeric_limits<float>::epsilon();
  return node.is_none("eps") ? own : node.number("eps");
}

TensorId rms_norm(Conversion& c, const Node& node) {
  return normalized(c, node, floating_operand(c, node, "input"), rms_epsilon(c, node), true);
}

std::vector<TensorId> fused_rms_norm(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "input");
  const double eps = rms_epsilon(c, node);
  std::vector<TensorId> results = {normalized(c, node, x, eps, true), -1};
  if (c.used(node, 1)) {
    const TensorId squares = n.add_elementwise(x, x, Op::kMul);
    const std::vector<int64_t> axes = trailing_axes(node, n.type(x).rank());
    results[1] = reciprocal_root(c, mean_over(c, squares, axes), eps);
  }
  return results;
}

/// A vector of one number a channel, shaped to broadcast over x (channels are axis 1).
TensorId per_channel(Conversion& c, const Node& node, const char* arg, const TensorType& x) {
  Shape shape(x.shape.size(), Expr(1));
  shape[1] = x.shape[1];
  return c.network().add_reshape(c.operand(node, arg, x.dtype), shape);
}

/// y * weight + bias, either absent.
TensorId affine(Conversion& c, const Node& node, TensorId y) {
  Network& n = c.network();
  const TensorType type = n.type(y);
  if (has_tensor(node, "weight")) {
    y = n.add_elementwise(y, per_channel(c, node, "weight", type), Op::kMul);
  }
  if (has_tensor(node, "bias")) {
    y = n.add_elementwise(y, per_channel(c, node, "bias", type), Op::kAdd);
  }
  return y;
}

/// x as rows of one group each: [batch, groups, everything else].
TensorId grouped_rows(Conversion& c, TensorId x, const Expr& groups) {
  const TensorType type = c.network().type(x);
  Expr rest = floor_div(type.shape[1], groups);
  for (size_t k = 2; k < type.shape.size(); ++k) {
    rest = rest * type.shape[k];
  }
  return c.network().add_reshape(x, {type.shape[0], groups, rest});
}

TensorId group_norm_of(Conversion& c, const Node& node, TensorId x, const Expr& groups,
                       double eps) {
  Network& n = c.network();
  const Shape shape = n.type(x).shape;
  const TensorId rows = n.add_normalization(grouped_rows(c, x, groups), -1, -1, {2}, eps);
  return affine(c, node, n.add_reshape(rows, shape));
}

TensorId group_norm(Conversion& c, const Node& node) {
  return group_norm_of(c, node, floating_operand(c, node, "input"), node.sym_int("num_groups"),
                       node.number("eps", 1e-5));
}

std::vector<TensorId> native_group_norm(Conversion& c, const Node& node) {
  const TensorId x = floating_operand(c, node, "input");
  const double eps = node.number("eps");
  const Expr groups = node.sym_int("group");
  const TensorId y = group_norm_of(c, node, x, groups, eps);
  if (!c.used(node, 1) && !c.used(node, 2)) {
    return {y, -1, -1};
  }
  return with_statistics(c, node, y, grouped_rows(c, x, groups), {2}, eps);
}

/// Every channel is a group of its own.
TensorId instance_norm(Conversion& c, const Node& node) {
  const TensorId x = floating_operand(c, node, "input");
  return group_norm_of(c, node, x, c.network().type(x).shape[1], node.number("eps", 1e-5));
}

/// By the batch's own mean and variance, one pair a channel: axes 0 and from 2 on. Outputs 1 and 2
/// are the mean and 1/sqrt(var + eps).
std::vector<TensorId> batch_norm_of_batch(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "input");
  const double eps = node.number("eps");
  std::vector<int64_t> axes = {0};
  for (int64_t axis = 2; axis < n.type(x).rank(); ++axis) axes.push_back(axis);
  const TensorId mean = mean_over(c, x, axes);
  const TensorId root = reciprocal_root(c, spread_around(c, x, mean, axes), eps);
  const TensorId centered = n.add_elementwise(x, mean, Op::kSub);
  const TensorId y = affine(c, node, n.add_elementwise(centered, root, Op::kMul));
  const Shape channels = {n.type(x).shape[1]};
  return {y, c.used(node, 1) ? n.add_reshape(mean, channels) : -1,
          c.used(node, 2) ? n.add_reshape(root, channels) : -1};
}

/// (1 - momentum) * running + momentum * statistic; of no elements, what was there.
TensorId moved_towards(Conversion& c, const Node& node, const char* running, TensorId statistic,
                       const Expr& count) {
  Network& n = c.network();
  const DType dtype = n.type(statistic).dtype;
  const double momentum = node.number("momentum");
  const TensorId old = c.operand(node, running, dtype);
  const TensorId kept = elementwise(c, {old, real(c, 1 - momentum, dtype)}, Op::kMul);
  const TensorId added = n.add_elementwise(statistic, real(c, momentum, dtype), Op::kMul);
  const TensorId moved = n.add_elementwise(kept, added, Op::kAdd);
  if (n.bounds.proves_not_equal(count, 0)) {
    return moved;
  }
  const TensorId nothing =
      elementwise(c, {n.add_size_value(count), whole(c, 0, DType::kInt64)}, Op::kEqual);
  return choose(c, {nothing, old, moved});
}

/// The running mean and variance after the batch, whose variance counts one element less.
std::vector<TensorId> running_statistics(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "input");
  const TensorType type = n.type(x);
  std::vector<int64_t> axes = {0};
  for (int64_t axis = 2; axis < type.rank(); ++axis) axes.push_back(axis);
  Expr count = 1;
  for (const int64_t axis : axes) count = count * type.shape[static_cast<size_t>(axis)];
  const Shape channels = {type.shape[1]};
  const TensorId mean = mean_over(c, x, axes);
  const TensorId distance = n.add_elementwise(x, mean, Op::kSub);
  const TensorId squares = n.add_elementwise(distance, distance, Op::kMul);
  const TensorId sum = n.add_reduce(squares, ReduceOp::kSum, axes, false);
  const TensorId rest = c.cast(n.add_size_value(count - 1), type.dtype);
  const TensorId variance = n.add_elementwise(sum, rest, Op::kDiv);
  return {moved_towards(c, node, "running_mean", n.add_reshape(mean, channels), count),
          moved_towards(c, node, "running_var", variance, count)};
}

/// Batch normalization in training with the new running statistics as results, not written: the
/// last two outputs. The form "with_update" has an empty one before them.
std::vector<TensorId> functional_batch_norm(Conversion& c, const Node& node) {
  std::vector<TensorId> results = batch_norm_of_batch(c, node);
  for (size_t i = results.size(); i + 2 < node.outputs.size(); ++i) {
    const TensorMeta& meta = c.output_meta(node, static_cast<int>(i));
    results.push_back(c.network().add_fill(meta.shape, meta.dtype, Scalar::of(int64_t{0})));
  }
  for (const TensorId id : running_statistics(c, node)) {
    results.push_back(id);
  }
  return results;
}

/// v * (g / |v|), the length over all axes but `dim`; and that length.
std::vector<TensorId> weight_norm(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId v = floating_operand(c, node, "v");
  const TensorType type = n.type(v);
  const int64_t dim = node.integer("dim", 0);
  std::vector<int64_t> axes;
  for (int64_t axis = 0; axis < type.rank(); ++axis) {
    if (axis != dim) axes.push_back(axis);
  }
  const TensorId squares = n.add_elementwise(v, v, Op::kMul);
  const TensorId sum = axes.empty() ? squares : n.add_reduce(squares, ReduceOp::kSum, axes, true);
  const TensorId length = n.add_unary(sum, UnaryOp::kSqrt);
  const TensorId factor = n.add_elementwise(c.operand(node, "g", type.dtype), length, Op::kDiv);
  return {n.add_elementwise(v, factor, Op::kMul), length};
}

Support weight_norm_support(const SupportContext& c, const Node& node) {
  const bool kept = node.outputs.size() < 2 ||
                    c.graph.value(node.outputs[1]).tensor.rank() == c.meta(node, "v").rank();
  return kept && node.integer("dim", 0) != -1 ? floating_point_argument(c, node, "v")
                                              : Support::no("its length is over all axes");
}

Support channels(const SupportContext& c, const Node& node) {
  return all_of({floating_point_argument(c, node, "input"), at_least_axes(c, node, "input", 2)});
}

Support instance_norm_support(const SupportContext& c, const Node& node) {
  if (!node.boolean("use_input_stats", true)) {
    return Support::no("it uses running statistics, which instance_norm keeps in PyTorch");
  }
  if (has_tensor(node, "running_mean") || has_tensor(node, "running_var")) {
    return Support::no("it updates running statistics");
  }
  return channels(c, node);
}

Support functional_support(const SupportContext& c, const Node& node) {
  if (node.find("training") != nullptr && !node.boolean("training")) {
    return Support::no("it is in evaluation mode");
  }
  if (!has_tensor(node, "running_mean") || !has_tensor(node, "running_var")) {
    return Support::no("it has no running statistics");
  }
  return all_of({floating_point_argument(c, node, "input"), at_least_axes(c, node, "input", 2)});
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_normalization(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.layer_norm.default", single(layer_norm, floats("input")));
  r.add("aten.native_layer_norm.default", several(native_layer_norm, floats("input")));
  r.add("aten.rms_norm.default", single(rms_norm, floats("input")));
  r.add("aten._fused_rms_norm.default", several(fused_rms_norm, floats("input")));
  r.add("aten.group_norm.default", single(group_norm, channels));
  r.add("aten.native_group_norm.default", several(native_group_norm, channels));
  r.add("aten._native_batch_norm_legit.no_stats", several(batch_norm_of_batch, channels));
  r.add("aten._weight_norm.default", several(weight_norm, weight_norm_support));
  r.add("aten._weight_norm_interface.default", several(weight_norm, weight_norm_support));
  for (const char* name : {"_native_batch_norm_legit_functional.default",
                           "_batch_norm_with_update_functional.default"}) {
    r.add(std::string("aten.") + name, several(functional_batch_norm, functional_support));
  }
  r.add("aten.instance_norm.default", single(instance_norm, instance_norm_support));
}

}  // namespace stator
