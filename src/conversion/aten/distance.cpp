// SPDX-License-Identifier: Apache-2.0
//
// Distances and similarities between rows.
#include <cmath>

#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

/// (sum |x|^p)^(1/p) along an axis.
TensorId norm_along(Conversion& c, TensorId x, double p, int64_t axis, bool keep) {
  Network& n = c.network();
  const DType dtype = n.type(x).dtype;
  const auto reduce = [&](TensorId t, ReduceOp op) { return n.add_reduce(t, op, {axis}, keep); };
  if (p == 2) {
    const TensorId squares = n.add_elementwise(x, x, Op::kMul);
    return n.add_unary(reduce(squares, ReduceOp::kSum), UnaryOp::kSqrt);
  }
  if (p == 0) {
    const TensorId other = n.add_elementwise(x, real(c, 0.0, dtype), Op::kNotEqual);
    return reduce(c.cast(other, dtype), ReduceOp::kSum);
  }
  const TensorId magnitude = n.add_unary(x, UnaryOp::kAbs);
  if (std::isinf(p)) return reduce(magnitude, ReduceOp::kMax);
  if (p == 1) return reduce(magnitude, ReduceOp::kSum);
  const TensorId powers = n.add_elementwise(magnitude, real(c, p, dtype), Op::kPow);
  const TensorId sum = reduce(powers, ReduceOp::kSum);
  return n.add_elementwise(sum, real(c, 1.0 / p, dtype), Op::kPow);
}

DType floating_result(const Conversion& c, const Node& node, Names args) {
  return compute_dtype(floating_dtype(result_type(c.graph(), node, args)));
}

/// The product of both, each divided by its length (eps at least), summed along dim.
TensorId cosine_similarity(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = floating_result(c, node, {"x1", "x2"});
  const int64_t rank = c.output_meta(node).rank() + 1;
  const int64_t axis = normalize_dim(node.integer("dim", 1), rank);
  const auto unit = [&](const char* arg) {
    Shape shape = c.meta(node, arg).shape;
    shape.insert(shape.begin(), static_cast<size_t>(rank) - shape.size(), Expr(1));
    const TensorId x = n.add_reshape(c.operand(node, arg, dtype), shape);
    const TensorId length = norm_along(c, x, 2, axis, true);
    const TensorId least = real(c, node.number("eps", 1e-8), dtype);
    return n.add_elementwise(x, n.add_elementwise(length, least, Op::kMax), Op::kDiv);
  };
  const TensorId both = elementwise(c, {unit("x1"), unit("x2")}, Op::kMul);
  return n.add_reduce(both, ReduceOp::kSum, {axis}, false);
}

/// Rows of x1 [..., P, M] against rows of x2 [..., R, M]: [..., P, R].
TensorId cdist(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = floating_result(c, node, {"x1", "x2"});
  const auto with_axis = [&](const char* arg, int64_t from_end) {
    const TensorId x = c.operand(node, arg, dtype);
    Shape shape = n.type(x).shape;
    shape.insert(shape.end() - from_end, Expr(1));
    return n.add_reshape(x, shape);
  };
  const TensorId difference = elementwise(c, {with_axis("x1", 1), with_axis("x2", 2)}, Op::kSub);
  const int64_t last = n.type(difference).rank() - 1;
  return norm_along(c, difference, node.number("p", 2.0), last, false);
}

TensorId pairwise_distance(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = floating_result(c, node, {"x1", "x2"});
  // Integers are subtracted as integers, which wrap around.
  const DType given = result_type(c.graph(), node, {"x1", "x2"});
  const DType own = is_integral(given) ? given : dtype;
  const TensorId difference = c.cast(
      elementwise(c, {c.operand(node, "x1", own), c.operand(node, "x2", own)}, Op::kSub), dtype);
  const TensorId moved =
      n.add_elementwise(difference, real(c, node.number("eps", 1e-6), dtype), Op::kAdd);
  return norm_along(c, moved, node.number("p", 2.0), n.type(moved).rank() - 1,
                    node.boolean("keepdim"));
}

/// The norm of the difference, taken as one vector.
TensorId dist(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = floating_result(c, node, {"self", "other"});
  const TensorId difference =
      elementwise(c, {c.operand(node, "self", dtype), c.operand(node, "other", dtype)}, Op::kSub);
  const TensorId flat = n.add_reshape(difference, {product(n.type(difference).shape)});
  return norm_along(c, flat, node.number("p", 2.0), 0, false);
}

/// Each row against all later ones, as two lists of rows.
TensorId pdist(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "self");
  const int64_t rows = n.type(x).shape[0].constant();
  std::vector<int64_t> first, second;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = i + 1; j < rows; ++j) {
      first.push_back(i);
      second.push_back(j);
    }
  }
  const Shape pairs = {Expr(static_cast<int64_t>(first.size()))};
  const TensorId left = n.add_gather(x, int64_table(c, first, pairs), 0);
  const TensorId right = n.add_gather(x, int64_table(c, second, pairs), 0);
  return norm_along(c, n.add_elementwise(left, right, Op::kSub), node.number("p", 2.0), 1, false);
}

Support some_elements(const SupportContext& c, const Node& node) {
  const DType dtype = result_type(c.graph, node, {"self", "other"});
  return is_floating_point(dtype) && node.number("p", 2.0) >= 0
             ? Support::yes()
             : Support::no("it is no norm of floating point numbers with p >= 0");
}

Support pdist_support(const SupportContext& c, const Node& node) {
  const Shape& shape = c.meta(node, "self").shape;
  if (!shape[0].is_constant() || shape[0].constant() < 2 || shape[0].constant() > 1024) {
    return Support::no("its number of rows is " + shape[0].str());
  }
  return all_of({floating_point_argument(c, node, "self"),
                 node.number("p", 2.0) >= 0 ? Support::yes() : Support::no("its p is negative")});
}

/// A negative order has no kernel.
Support positive_order(const SupportContext&, const Node& node) {
  return node.number("p", 2.0) >= 0 ? Support::yes() : Support::no("its p is negative");
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_distance(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.cosine_similarity.default", single(cosine_similarity));
  r.add("aten.cdist.default", single(cdist, positive_order));
  r.add("aten._cdist_forward.default", single(cdist, positive_order));
  r.add("aten.dist.default", single(dist, some_elements));
  r.add("aten.pdist.default", single(pdist, pdist_support));
  r.add("aten._pdist_forward.default", single(pdist, pdist_support));
  r.add("aten.pairwise_distance.default", single(pairwise_distance, positive_order));
}

}  // namespace stator
