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

/// self with src on the diagonal `offset` of the axes dim1 and dim2, which go to the end meanwhile.
/// Row r of a matrix has the element r of src, or r + offset below the main diagonal.
TensorId diagonal_scatter(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId self = c.tensor(node, "self");
  const int64_t rank = n.type(self).rank(), offset = node.integer("offset", 0);
  const int64_t first = normalize_dim(node.integer("dim1", 0), rank);
  const int64_t second = normalize_dim(node.integer("dim2", 1), rank);
  std::vector<int64_t> order, back(static_cast<size_t>(rank));
  for (int64_t axis = 0; axis < rank; ++axis) {
    if (axis != first && axis != second) order.push_back(axis);
  }
  order.push_back(first);
  order.push_back(second);
  for (size_t k = 0; k < order.size(); ++k) {
    back[static_cast<size_t>(order[k])] = static_cast<int64_t>(k);
  }
  const TensorId x = n.add_transpose(self, order);
  const Shape shape = n.type(x).shape;
  const TensorId source = c.operand(node, "src", n.type(x).dtype);
  const Expr& length = n.type(source).shape.back();
  const Expr rows = shape[shape.size() - 2], columns = shape.back();
  const TensorId row = n.add_iota(rows, 0, 1, DType::kInt64);
  const TensorId wanted =
      n.add_elementwise(row, whole(c, std::min<int64_t>(offset, 0), DType::kInt64), Op::kAdd);
  const TensorId last = length.is_constant() ? whole(c, length.constant() - 1, DType::kInt64)
                                             : n.add_size_value(length - 1);
  const TensorId place = n.add_elementwise(
      n.add_elementwise(wanted, whole(c, 0, DType::kInt64), Op::kMax), last, Op::kMin);
  const TensorId values = n.add_gather(source, place, n.type(source).rank() - 1);
  Shape column = n.type(values).shape;
  column.push_back(Expr(1));
  const TensorId number = elementwise(
      c, {n.add_iota(columns, 0, 1, DType::kInt64), n.add_reshape(row, {rows, Expr(1)})}, Op::kSub);
  const TensorId mask = elementwise(c, {number, whole(c, offset, DType::kInt64)}, Op::kEqual);
  return n.add_transpose(choose(c, {mask, n.add_reshape(values, column), x}), back);
}

Support some_diagonal(const SupportContext& c, const Node& node) {
  const Shape& shape = c.meta(node, "src").shape;
  return !shape.empty() && c.graph.bounds.proves_less_equal(1, shape.back())
             ? Support::yes()
             : Support::no("its diagonal may have no elements");
}

/// Places of the triangle below (or above) a diagonal: rows, then columns.
Compute triangle_indices(bool lower) {
  return [lower](Conversion& c, const Node& node) {
    const int64_t rows = node.integer("row"), columns = node.integer("col");
    const int64_t offset = node.integer("offset", 0);
    std::vector<int64_t> row, column;
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        if (lower ? j - i <= offset : j - i >= offset) {
          row.push_back(i);
          column.push_back(j);
        }
      }
    }
    const auto count = static_cast<int64_t>(row.size());
    row.insert(row.end(), column.begin(), column.end());
    return int64_table(c, row, {Expr(2), Expr(count)});
  };
}

Support small_matrix(const SupportContext&, const Node& node) {
  if (Support constant = constant_arguments(node, {"row", "col", "offset"}); !constant) {
    return constant;
  }
  return node.integer("row") <= 1024 && node.integer("col") <= 1024
             ? Support::yes()
             : Support::no("its places are too many for a table");
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
  r.add("aten.diagonal_scatter.default", single(diagonal_scatter, some_diagonal));
  r.add("aten.tril_indices.default", single(triangle_indices(true), small_matrix));
  r.add("aten.triu_indices.default", single(triangle_indices(false), small_matrix));
  r.add("aten.trace.default", single(trace, constant_shape));
}

}  // namespace stator
