// SPDX-License-Identifier: Apache-2.0
//
// Reductions: sums, means, extremes with and without their places, any and all, norms.
#include <cmath>
#include <limits>

#include "conversion/aten/checks.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

bool keep_dims(const Node& node) { return node.boolean("keepdim"); }

TensorId reduce(Conversion& c, const Node& node, TensorId x, ReduceOp op) {
  const std::vector<int64_t> axes = axes_of(node, "dim", c.network().type(x).rank());
  if (axes.empty()) {
    return x;  // a 0-d tensor is its own sum, mean, product and extreme
  }
  return c.network().add_reduce(x, op, axes, keep_dims(node));
}

/// sum, mean and prod compute in the result's dtype: int64 for integers, dtype= where given.
Compute accumulate(ReduceOp op) {
  return [op](Conversion& c, const Node& node) {
    return reduce(c, node, c.operand(node, "self", compute_dtype(c.output_meta(node).dtype)), op);
  };
}

/// NaN count as zero: nansum.
TensorId nansum(Conversion& c, const Node& node) {
  Network& n = c.network();
  TensorId x = c.operand(node, "self", compute_dtype(c.output_meta(node).dtype));
  const DType dtype = n.type(x).dtype;
  if (is_floating_point(dtype)) {
    x = choose(c, {n.add_unary(x, UnaryOp::kIsNan), real(c, 0.0, dtype), x});
  }
  return reduce(c, node, x, ReduceOp::kSum);
}

/// The mean of what is no NaN.
TensorId nanmean(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = c.operand(node, "self", compute_dtype(c.output_meta(node).dtype));
  const DType dtype = n.type(x).dtype;
  const TensorId missing = n.add_unary(x, UnaryOp::kIsNan);
  const TensorId sum =
      reduce(c, node, choose(c, {missing, real(c, 0.0, dtype), x}), ReduceOp::kSum);
  const TensorId present = c.cast(n.add_unary(missing, UnaryOp::kNot), dtype);
  return n.add_elementwise(sum, reduce(c, node, present, ReduceOp::kSum), Op::kDiv);
}

/// Sums and means of truth values and integers into smaller integers have no kernel.
Support wide_result(const SupportContext& c, const Node& node) {
  const DType dtype = c.graph.value(node.outputs[0]).tensor.dtype;
  return is_floating_point(dtype) || dtype == DType::kInt64
             ? Support::yes()
             : Support::no(std::string("it accumulates in ") + torch_dtype_name(dtype));
}

TensorId truth(Conversion& c, const Node& node, ReduceOp op) {
  return reduce(c, node, c.operand(node, "self", DType::kBool), op);
}

TensorId any(Conversion& c, const Node& node) { return truth(c, node, ReduceOp::kAny); }
TensorId all(Conversion& c, const Node& node) { return truth(c, node, ReduceOp::kAll); }

/// `y`, reduced over what must have elements: nothing has no extreme.
TensorId of_some(Conversion& c, const Node& node, TensorId y, DataError of_all, DataError of_dim) {
  const Shape& shape = c.meta(node, "self").shape;
  if (ints_of(node, "dim").empty()) {
    return check_not_empty(c, y, product(shape), of_all);
  }
  for (const int64_t axis : axes_of(node, "dim", static_cast<int64_t>(shape.size()))) {
    y = check_not_empty(c, y, shape[static_cast<size_t>(axis)], of_dim, axis);
  }
  return y;
}

/// Of bool, the greatest is any and the least is all.
TensorId extreme_of(Conversion& c, const Node& node, ReduceOp op) {
  const TensorId x = c.tensor(node, "self");
  const DType dtype = c.network().type(x).dtype;
  const TensorId y = dtype == DType::kBool
                         ? truth(c, node, op == ReduceOp::kMax ? ReduceOp::kAny : ReduceOp::kAll)
                         : reduce(c, node, c.cast(x, compute_dtype(dtype)), op);
  return of_some(c, node, y, DataError::kEmpty, DataError::kEmptyDim);
}

Compute extreme(ReduceOp op) {
  return [op](Conversion& c, const Node& node) { return extreme_of(c, node, op); };
}

/// The place of the extreme along dim; of the flattened tensor where dim is None.
TensorId place_of(Conversion& c, const Node& node, ReduceOp op, int output) {
  Network& n = c.network();
  TensorId x = c.tensor(node, "self");
  const DType dtype = n.type(x).dtype;
  x = c.cast(x, dtype == DType::kBool ? DType::kUInt8 : compute_dtype(dtype));
  const Shape& result = c.output_meta(node, output).shape;
  const TensorType type = n.type(x);
  if (node.is_none("dim") || type.rank() == 0) {
    const TensorId flat = n.add_reshape(x, {product(type.shape)});
    const TensorId place = n.add_reshape(n.add_reduce(flat, op, {0}, false), result);
    return check_not_empty(c, place, product(type.shape), DataError::kEmptyPlace);
  }
  const int64_t axis = normalize_dim(node.integer("dim"), type.rank());
  return check_not_empty(c, n.add_reduce(x, op, {axis}, keep_dims(node)),
                         type.shape[static_cast<size_t>(axis)], DataError::kEmptyDim, axis);
}

Compute place(ReduceOp op) {
  return [op](Conversion& c, const Node& node) { return place_of(c, node, op, 0); };
}

/// max.dim and min.dim: the extreme and its place.
ComputeAll extreme_and_place(ReduceOp op, ReduceOp arg_op) {
  return [op, arg_op](Conversion& c, const Node& node) -> std::vector<TensorId> {
    return {extreme_of(c, node, op), c.used(node, 1) ? place_of(c, node, arg_op, 1) : -1};
  };
}

std::vector<TensorId> aminmax(Conversion& c, const Node& node) {
  return {extreme_of(c, node, ReduceOp::kMin), extreme_of(c, node, ReduceOp::kMax)};
}

TensorId count_nonzero(Conversion& c, const Node& node) {
  const TensorId flags = c.cast(c.operand(node, "self", DType::kBool), DType::kInt64);
  return reduce(c, node, flags, ReduceOp::kSum);
}

/// log(sum(exp(x - m))) + m, m the greatest (0 where that is infinite).
TensorId logsumexp(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "self");
  const TensorType type = n.type(x);
  const std::vector<int64_t> axes = axes_of(node, "dim", type.rank());
  if (axes.empty()) {
    return x;
  }
  const TensorId greatest = n.add_reduce(x, ReduceOp::kMax, axes, true);
  const TensorId moved =
      choose(c, {n.add_unary(greatest, UnaryOp::kIsInf), real(c, 0.0, type.dtype), greatest});
  const TensorId powers = n.add_unary(n.add_elementwise(x, moved, Op::kSub), UnaryOp::kExp);
  const TensorId sum = n.add_reduce(powers, ReduceOp::kSum, axes, true);
  const TensorId y = n.add_elementwise(n.add_unary(sum, UnaryOp::kLog), moved, Op::kAdd);
  return n.add_reshape(y, c.output_meta(node).shape);
}

/// (sum |x|^p)^(1/p) with the limits p = 0 (how many are not zero), inf and -inf.
TensorId norm_of(Conversion& c, const Node& node, TensorId x, double p) {
  Network& n = c.network();
  const DType dtype = n.type(x).dtype;
  const auto sum = [&](TensorId t) { return reduce(c, node, t, ReduceOp::kSum); };
  if (p == 2) {
    return n.add_unary(sum(n.add_elementwise(x, x, Op::kMul)), UnaryOp::kSqrt);
  }
  if (p == 0) {
    const TensorId other = n.add_elementwise(x, real(c, 0.0, dtype), Op::kNotEqual);
    return sum(c.cast(other, dtype));
  }
  const TensorId magnitude = n.add_unary(x, UnaryOp::kAbs);
  if (p == 1) {
    return sum(magnitude);
  }
  if (std::isinf(p)) {
    const TensorId y = reduce(c, node, magnitude, p > 0 ? ReduceOp::kMax : ReduceOp::kMin);
    return of_some(c, node, y, DataError::kEmptyNorm, DataError::kEmptyNorm);
  }
  const TensorId powers = n.add_elementwise(magnitude, real(c, p, dtype), Op::kPow);
  return elementwise(c, {sum(powers), real(c, 1.0 / p, dtype)}, Op::kPow);
}

Compute norm(const char* order) {
  return [order](Conversion& c, const Node& node) {
    const DType dtype = compute_dtype(floating_dtype(c.output_meta(node).dtype));
    return norm_of(c, node, c.operand(node, "self", dtype), node.number(order, 2.0));
  };
}

void add_overloads(ConverterRegistry& r, const char* name, std::initializer_list<const char*> all,
                   const Compute& compute, const Validate& support = {}) {
  for (const char* overload : all) {
    r.add(std::string("aten.") + name + "." + overload, single(compute, support));
  }
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_reduction(ConverterRegistry& r) {
  using namespace aten;
  add_overloads(r, "sum", {"default", "dim_IntList"}, accumulate(ReduceOp::kSum), wide_result);
  add_overloads(r, "mean", {"default", "dim"}, accumulate(ReduceOp::kMean));
  add_overloads(r, "prod", {"default", "dim_int"}, accumulate(ReduceOp::kProd), wide_result);
  add_overloads(r, "nansum", {"default"}, nansum, wide_result);
  add_overloads(r, "nanmean", {"default"}, nanmean);
  add_overloads(r, "any", {"default", "dim", "dims"}, any);
  add_overloads(r, "all", {"default", "dim", "dims"}, aten::all);
  add_overloads(r, "amax", {"default"}, extreme(ReduceOp::kMax));
  add_overloads(r, "amin", {"default"}, extreme(ReduceOp::kMin));
  add_overloads(r, "max", {"default"}, extreme(ReduceOp::kMax));
  add_overloads(r, "min", {"default"}, extreme(ReduceOp::kMin));
  r.add("aten.max.dim", several(extreme_and_place(ReduceOp::kMax, ReduceOp::kArgMax)));
  r.add("aten.min.dim", several(extreme_and_place(ReduceOp::kMin, ReduceOp::kArgMin)));
  r.add("aten.aminmax.default", several(aminmax));
  add_overloads(r, "argmax", {"default"}, place(ReduceOp::kArgMax));
  add_overloads(r, "argmin", {"default"}, place(ReduceOp::kArgMin));
  add_overloads(r, "count_nonzero", {"default", "dim_IntList"}, count_nonzero);
  add_overloads(r, "logsumexp", {"default"}, logsumexp);
  add_overloads(r, "linalg_vector_norm", {"default"}, norm("ord"), floats("self"));
  add_overloads(r, "norm", {"Scalar", "ScalarOpt_dim", "ScalarOpt_dtype", "ScalarOpt_dim_dtype"},
                norm("p"), floats("self"));
}

}  // namespace stator
