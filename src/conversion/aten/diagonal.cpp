// SPDX-License-Identifier: Apache-2.0
//
// Diagonals put into matrices, and summed. (Taken out of them: slicing.cpp.)
#include <algorithm>

#include "conversion/aten/slicing.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

/// x [..., n] on the diagonal `offset` of [..., m, m], m = n + |offset|.
TensorId on_diagonal(Conversion& c, TensorId x, int64_t offset) {
  Network& n = c.network();
  const TensorType type = n.type(x);
  const Expr size = type.shape.back() + (offset < 0 ? -offset : offset);
  // The element of row r stands at r (from 0), or at r - |offset| below the diagonal.
  Pad pad;
  pad.before.assign(type.shape.size(), Expr(0));
  pad.after = pad.before;
  (offset < 0 ? pad.before : pad.after).back() = offset < 0 ? -offset : offset;
  pad.value = scalar_of(Argument{0.0}, type.dtype);
  Shape shape = type.shape;
  shape.back() = size;
  shape.push_back(Expr(1));
  const TensorId rows = n.add_reshape(n.add_pad(x, pad), shape);
  const TensorId row = n.add_reshape(n.add_iota(size, 0, 1, DType::kInt64), {size, Expr(1)});
  const TensorId number = elementwise(c, {n.add_iota(size, 0, 1, DType::kInt64), row}, Op::kSub);
  const TensorId mask = elementwise(c, {number, whole(c, offset, DType::kInt64)}, Op::kEqual);
  return choose(c, {mask, rows, whole(c, 0, type.dtype)});
}

/// diag_embed: the two new axes go to dim1 and dim2.
TensorId diag_embed(Conversion& c, const Node& node) {
  const TensorId y = on_diagonal(c, c.tensor(node, "self"), node.integer("offset", 0));
  const int64_t rank = c.network().type(y).rank();
  const int64_t first = normalize_dim(node.integer("dim1", -2), rank);
  const int64_t second = normalize_dim(node.integer("dim2", -1), rank);
  std::vector<int64_t> order;
  int64_t next = 0;
  for (int64_t axis = 0; axis < rank; ++axis) {
    order.push_back(axis == first ? rank - 2 : axis == second ? rank - 1 : next++);
  }
  return c.network().add_transpose(y, order);
}

/// The sum of the main diagonal: a slice of the flattened matrix by columns + 1.
TensorId trace(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = c.operand(node, "self", compute_dtype(c.output_meta(node).dtype));
  const int64_t rows = n.type(x).shape[0].constant(), columns = n.type(x).shape[1].constant();
  const TensorId flat = n.add_reshape(x, {Expr(rows * columns)});
  const TensorId diagonal = slice_axis(c, flat, 0, 0, std::min(rows, columns), columns + 1);
  return n.add_reduce(diagonal, ReduceOp::kSum, {0}, false);
}

Support constant_shape(const SupportContext& c, const Node& node) {
  for (const Expr& size : c.meta(node, "self").shape) {
    if (!size.is_constant()) {
      return Support::no("its matrix has the symbolic size " + size.str());
    }
  }
  return Support::yes();
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_diagonal(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.diag_embed.default", single(diag_embed));
  r.add("aten.trace.default", single(trace, constant_shape));
}

}  // namespace stator
