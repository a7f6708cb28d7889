// SPDX-License-Identifier: Apache-2.0
//
// Other products: inner, tensordot, vecdot, cross, Kronecker.
#include <algorithm>

#include "conversion/aten/slicing.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

Expr size_of(const Shape& shape, const std::vector<int64_t>& axes) {
  Expr size = 1;
  for (const int64_t axis : axes) size = size * shape[static_cast<size_t>(axis)];
  return size;
}

std::vector<int64_t> others(int64_t rank, const std::vector<int64_t>& axes) {
  std::vector<int64_t> rest;
  for (int64_t axis = 0; axis < rank; ++axis) {
    if (std::find(axes.begin(), axes.end(), axis) == axes.end()) rest.push_back(axis);
  }
  return rest;
}

/// x as a matrix: the axes `rows`, then the axes `columns`.
TensorId as_matrix(Conversion& c, TensorId x, const std::vector<int64_t>& rows,
                   const std::vector<int64_t>& columns) {
  std::vector<int64_t> order = rows;
  order.insert(order.end(), columns.begin(), columns.end());
  const Shape shape = c.network().type(x).shape;
  const TensorId moved = c.network().add_transpose(x, order);
  return c.network().add_reshape(moved, {size_of(shape, rows), size_of(shape, columns)});
}

/// Sums over axes of a and as many of b; the rest of a, then the rest of b.
TensorId contract(Conversion& c, const Node& node, TensorId a, std::vector<int64_t> a_axes,
                  TensorId b, std::vector<int64_t> b_axes) {
  Network& n = c.network();
  const int64_t a_rank = n.type(a).rank(), b_rank = n.type(b).rank();
  for (int64_t& axis : a_axes) axis = normalize_dim(axis, a_rank);
  for (int64_t& axis : b_axes) axis = normalize_dim(axis, b_rank);
  const TensorId x = as_matrix(c, a, others(a_rank, a_axes), a_axes);
  const TensorId y = as_matrix(c, b, b_axes, others(b_rank, b_axes));
  return n.add_reshape(n.add_matrix_multiply(x, false, y, false), c.output_meta(node).shape);
}

TensorId tensordot(Conversion& c, const Node& node) {
  const DType dtype = compute_dtype(c.output_meta(node).dtype);
  const TensorId a = c.operand(node, "self", dtype);
  return contract(c, node, a, ints_of(node, "dims_self"), c.operand(node, "other", dtype),
                  ints_of(node, "dims_other"));
}

/// Over the last axes; a number multiplies.
TensorId inner(Conversion& c, const Node& node) {
  const DType dtype = compute_dtype(c.output_meta(node).dtype);
  const TensorId a = c.operand(node, "self", dtype);
  const TensorId b = c.operand(node, "other", dtype);
  if (c.network().type(a).rank() == 0 || c.network().type(b).rank() == 0) {
    return c.network().add_elementwise(a, b, Op::kMul);
  }
  return contract(c, node, a, {-1}, b, {-1});
}

TensorId vecdot(Conversion& c, const Node& node) {
  const DType dtype = compute_dtype(c.output_meta(node).dtype);
  const TensorId product =
      elementwise(c, {c.operand(node, "x", dtype), c.operand(node, "y", dtype)}, Op::kMul);
  const int64_t axis = normalize_dim(node.integer("dim", -1), c.network().type(product).rank());
  return c.network().add_reduce(product, ReduceOp::kSum, {axis}, false);
}

/// a1 b2 - a2 b1 and so on: each factor is the vector rotated by one or two.
TensorId cross(Conversion& c, const Node& node) {
  const DType dtype = compute_dtype(c.output_meta(node).dtype);
  const Shape& shape = c.output_meta(node).shape;
  const int64_t axis = normalize_dim(node.integer("dim", -1), static_cast<int64_t>(shape.size()));
  const auto rotated = [&](const char* arg, int64_t by) {
    const TensorId x = c.network().add_expand(c.operand(node, arg, dtype), shape);
    const TensorId front = slice_axis(c, x, axis, by, 3 - by);
    return c.network().add_concatenation({front, slice_axis(c, x, axis, 0, by)}, axis);
  };
  const TensorId plus = elementwise(c, {rotated("self", 1), rotated("other", 2)}, Op::kMul);
  const TensorId minus = elementwise(c, {rotated("self", 2), rotated("other", 1)}, Op::kMul);
  return c.network().add_elementwise(plus, minus, Op::kSub);
}

/// Every element of self times all of other, axis by axis.
TensorId kron(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = compute_dtype(c.output_meta(node).dtype);
  const auto spaced = [&](const char* arg, bool first) {
    const TensorId x = c.operand(node, arg, dtype);
    Shape shape = n.type(x).shape, wide;
    shape.insert(shape.begin(), c.output_meta(node).shape.size() - shape.size(), Expr(1));
    for (const Expr& size : shape) {
      wide.push_back(first ? size : Expr(1));
      wide.push_back(first ? Expr(1) : size);
    }
    return n.add_reshape(x, wide);
  };
  const TensorId product = elementwise(c, {spaced("self", true), spaced("other", false)},
                                       dtype == DType::kBool ? Op::kAnd : Op::kMul);
  return n.add_reshape(product, c.output_meta(node).shape);
}

Support products_of_numbers(const SupportContext& c, const Node& node) {
  return c.graph.value(node.outputs[0]).tensor.dtype == DType::kBool
             ? Support::no("products of bool are not supported")
             : Support::yes();
}

/// An axis of one is broadcast by PyTorch; the matrix product wants equal sizes.
Support tensordot_support(const SupportContext& c, const Node& node) {
  const TensorMeta &a = c.meta(node, "self"), &b = c.meta(node, "other");
  const std::vector<int64_t> a_axes = ints_of(node, "dims_self");
  const std::vector<int64_t> b_axes = ints_of(node, "dims_other");
  for (size_t i = 0; i < a_axes.size(); ++i) {
    const Expr& x = a.shape[static_cast<size_t>(normalize_dim(a_axes[i], a.rank()))];
    const Expr& y = b.shape[static_cast<size_t>(normalize_dim(b_axes[i], b.rank()))];
    if (!c.graph.bounds.proves_equal(x, y)) {
      return Support::no("it sums over axes of the sizes " + x.str() + " and " + y.str());
    }
  }
  return products_of_numbers(c, node);
}

/// sum over i, j of input1[.., i] weight[o, i, j] input2[.., j], and the bias: a product over i for
/// every o and j, then a sum over j.
TensorId bilinear(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = compute_dtype(c.output_meta(node).dtype);
  const auto rows = [&](const char* arg) {
    const TensorId x = c.operand(node, arg, dtype);
    const Shape& shape = n.type(x).shape;
    return n.add_reshape(x, {product({shape.begin(), shape.end() - 1}), shape.back()});
  };
  const TensorId left = rows("input1"), right = rows("input2");
  const TensorId weight = c.operand(node, "weight", dtype);
  const Shape w = n.type(weight).shape;
  const TensorId by_left = n.add_reshape(n.add_transpose(weight, {1, 0, 2}), {w[1], w[0] * w[2]});
  const Expr count = n.type(left).shape[0];
  const TensorId products =
      n.add_reshape(n.add_matrix_multiply(left, false, by_left, false), {count, w[0], w[2]});
  const TensorId scaled =
      n.add_elementwise(products, n.add_reshape(right, {count, Expr(1), w[2]}), Op::kMul);
  TensorId sum = n.add_reduce(scaled, ReduceOp::kSum, {2}, false);
  if (has_tensor(node, "bias")) {
    sum = n.add_elementwise(sum, c.operand(node, "bias", dtype), Op::kAdd);
  }
  return n.add_reshape(sum, c.output_meta(node).shape);
}

Support bilinear_support(const SupportContext& c, const Node& node) {
  return floating_point_argument(c, node, "input1");
}

/// By squares: as many products as the exponent has bits, and ones.
TensorId matrix_power(Conversion& c, const Node& node) {
  Network& n = c.network();
  TensorId square = c.operand(node, "self", compute_dtype(c.meta(node, "self").dtype));
  TensorId result = -1;
  for (int64_t rest = node.integer("n"); rest > 0; rest /= 2) {
    if (rest % 2 == 1) {
      result = result < 0 ? square : n.add_matrix_multiply(result, false, square, false);
    }
    if (rest > 1) {
      square = n.add_matrix_multiply(square, false, square, false);
    }
  }
  return result;
}

Support matrix_power_support(const SupportContext& c, const Node& node) {
  if (Support constant = constant_arguments(node, {"n"}); !constant) {
    return constant;
  }
  return node.integer("n") >= 1 ? floating_point_argument(c, node, "self")
                                : Support::no("its exponent is below 1");
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_products(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.tensordot.default", single(tensordot, tensordot_support));
  r.add("aten.inner.default", single(inner, products_of_numbers));
  r.add("aten.linalg_vecdot.default", single(vecdot, products_of_numbers));
  r.add("aten.linalg_cross.default", single(cross, products_of_numbers));
  r.add("aten.bilinear.default", single(bilinear, bilinear_support));
  r.add("aten.matrix_power.default", single(matrix_power, matrix_power_support));
  r.add("aten.linalg_matrix_power.default", single(matrix_power, matrix_power_support));
  r.add("aten.kron.default", single(kron));
}

}  // namespace stator
