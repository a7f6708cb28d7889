// SPDX-License-Identifier: Apache-2.0
//
// Matrix products: linear, matmul and its Core-ATen parts, products with an addend.
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

DType product_dtype(const Conversion& c, const Node& node) {
  return sum_dtype(c.output_meta(node).dtype);
}

TensorId reshape_to_output(Conversion& c, const Node& node, TensorId x) {
  return c.network().add_reshape(x, c.output_meta(node).shape);
}

/// A vector as a matrix of one row, or of one column.
TensorId as_row(Conversion& c, TensorId x) {
  return c.network().add_reshape(x, {Expr(1), c.network().type(x).shape[0]});
}
TensorId as_column(Conversion& c, TensorId x) {
  return c.network().add_reshape(x, {c.network().type(x).shape[0], Expr(1)});
}

/// torch.matmul: a vector on the left is a row, on the right a column, and their axis goes again.
TensorId product_of(Conversion& c, const Node& node, TensorId a, TensorId b) {
  Network& n = c.network();
  if (n.type(a).rank() == 1) a = as_row(c, a);
  if (n.type(b).rank() == 1) b = as_column(c, b);
  return reshape_to_output(c, node, n.add_matrix_multiply(a, false, b, false));
}

/// matmul, mm, bmm, mv, dot: the second argument's name differs.
Compute product(const char* first, const char* second) {
  return [first, second](Conversion& c, const Node& node) {
    const DType dtype = product_dtype(c, node);
    return product_of(c, node, c.operand(node, first, dtype), c.operand(node, second, dtype));
  };
}

TensorId linear(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = product_dtype(c, node);
  TensorId x = c.operand(node, "input", dtype);
  TensorId weight = c.operand(node, "weight", dtype);
  if (n.type(weight).rank() == 1) {
    weight = as_row(c, weight);
  }
  if (n.type(x).rank() == 1) {
    x = as_row(c, x);
  }
  const bool has_bias = has_tensor(node, "bias");
  const bool fused = has_bias && c.meta(node, "bias").rank() == 1;
  const TensorId bias = has_bias ? c.operand(node, "bias", dtype) : -1;
  const TensorId y =
      reshape_to_output(c, node, n.add_matrix_multiply(x, false, weight, true, fused ? bias : -1));
  return has_bias && !fused ? n.add_elementwise(y, bias, Op::kAdd) : y;
}

/// x * factor, x itself for a factor of one.
TensorId times(Conversion& c, const Node& node, TensorId x, const char* factor, DType dtype) {
  const auto value = constant_number(node, factor);
  if (node.is_none(factor) || (value && *value == 1.0)) {
    return x;
  }
  return c.network().add_elementwise(x, c.operand(node, factor, dtype), Op::kMul);
}

/// beta * self + alpha * product. self is not read where beta is 0, so that its NaN stay out.
TensorId plus_self(Conversion& c, const Node& node, TensorId product, DType dtype) {
  const TensorId scaled = times(c, node, product, "alpha", dtype);
  if (const auto beta = constant_number(node, "beta"); beta && *beta == 0.0) {
    return scaled;
  }
  const TensorId self = times(c, node, c.operand(node, "self", dtype), "beta", dtype);
  return c.network().add_elementwise(scaled, self, Op::kAdd);
}

bool is_one(const Node& node, const char* factor) {
  return node.is_none(factor) || constant_number(node, factor) == 1.0;
}

/// A row of exactly N numbers with factors of one is the product's own bias.
TensorId addmm(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = product_dtype(c, node);
  const TensorId a = c.operand(node, "mat1", dtype);
  const TensorId b = c.operand(node, "mat2", dtype);
  const TensorMeta& self = c.meta(node, "self");
  if (self.rank() == 1 && is_one(node, "alpha") && is_one(node, "beta") &&
      self.shape[0] == n.type(b).shape[1]) {
    return n.add_matrix_multiply(a, false, b, false, c.operand(node, "self", dtype));
  }
  return plus_self(c, node, n.add_matrix_multiply(a, false, b, false), dtype);
}

/// baddbmm: batches stay; addbmm: they are summed.
Compute batched_with_self(bool sum_batches) {
  return [sum_batches](Conversion& c, const Node& node) {
    Network& n = c.network();
    const DType dtype = product_dtype(c, node);
    TensorId y = n.add_matrix_multiply(c.operand(node, "batch1", dtype), false,
                                       c.operand(node, "batch2", dtype), false);
    if (sum_batches) {
      y = n.add_reduce(y, ReduceOp::kSum, {0}, false);
    }
    return plus_self(c, node, y, dtype);
  };
}

TensorId addmv(Conversion& c, const Node& node) {
  const DType dtype = product_dtype(c, node);
  const TensorId y =
      product_of(c, node, c.operand(node, "mat", dtype), c.operand(node, "vec", dtype));
  return plus_self(c, node, y, dtype);
}

TensorId outer_of(Conversion& c, const Node& node, const char* a, const char* b, DType dtype) {
  return elementwise(
      c, {as_column(c, c.operand(node, a, dtype)), as_row(c, c.operand(node, b, dtype))}, Op::kMul);
}

TensorId outer(Conversion& c, const Node& node) {
  return outer_of(c, node, "self", "vec2", product_dtype(c, node));
}

TensorId addr(Conversion& c, const Node& node) {
  const DType dtype = product_dtype(c, node);
  return plus_self(c, node, outer_of(c, node, "vec1", "vec2", dtype), dtype);
}

/// Truth values have no sum of products.
Support numbers(const SupportContext& c, const Node& node) {
  const DType dtype = c.graph.value(node.outputs[0]).tensor.dtype;
  return dtype == DType::kBool ? Support::no("matrix products of bool are not supported")
                               : Support::yes();
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_contraction(ConverterRegistry& r) {
  using namespace aten;
  const auto add = [&](const char* name, Compute compute) {
    r.add(std::string("aten.") + name + ".default", single(std::move(compute), numbers));
  };
  add("linear", linear);
  add("matmul", product("self", "other"));
  add("linalg_matmul", product("self", "other"));
  add("mm", product("self", "mat2"));
  add("bmm", product("self", "mat2"));
  add("mv", product("self", "vec"));
  add("dot", product("self", "tensor"));
  add("vdot", product("self", "other"));
  add("addmm", addmm);
  add("baddbmm", batched_with_self(false));
  add("addbmm", batched_with_self(true));
  add("addmv", addmv);
  add("outer", outer);
  add("ger", outer);
  add("addr", addr);
}

}  // namespace stator
