// SPDX-License-Identifier: Apache-2.0
//
// Elementwise choice: where, masked_fill, tril and triu.
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

TensorId where(Conversion& c, const Node& node) {
  const DType dtype = result_type(c.graph(), node, {"self", "other"});
  return choose(c, {c.operand(node, "condition", DType::kBool), c.operand(node, "self", dtype),
                    c.operand(node, "other", dtype)});
}

TensorId masked_fill(Conversion& c, const Node& node) {
  const DType dtype = c.meta(node, "self").dtype;
  return choose(c, {c.operand(node, "mask", DType::kBool), c.operand(node, "value", dtype),
                    c.tensor(node, "self")});
}

/// Column minus row of the last two axes: [rows, columns].
TensorId diagonal_number(Conversion& c, const Expr& rows, const Expr& columns) {
  Network& n = c.network();
  const TensorId row = n.add_reshape(n.add_iota(rows, 0, 1, DType::kInt64), {rows, Expr(1)});
  const TensorId column = n.add_iota(columns, 0, 1, DType::kInt64);
  return n.add_elementwise(column, row, Op::kSub);
}

/// tril keeps column - row <= diagonal, triu >=.
Compute triangle(Op kept) {
  return [kept](Conversion& c, const Node& node) {
    Network& n = c.network();
    const TensorId x = c.tensor(node, "self");
    const TensorType type = n.type(x);
    const size_t rank = type.shape.size();
    const TensorId number = diagonal_number(c, type.shape[rank - 2], type.shape[rank - 1]);
    const TensorId mask =
        n.add_elementwise(number, c.operand(node, "diagonal", DType::kInt64), kept);
    return n.add_select(mask, x, whole(c, 0, type.dtype));
  };
}

Support matrices(const SupportContext& c, const Node& node) {
  return at_least_axes(c, node, "self", 2);
}

TensorId eye(Conversion& c, const Node& node) {
  const TensorMeta& meta = c.output_meta(node);
  const TensorId number = diagonal_number(c, meta.shape[0], meta.shape[1]);
  return c.network().add_elementwise(number, whole(c, 0, DType::kInt64), Op::kEqual);
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_select(ConverterRegistry& r) {
  using namespace aten;
  for (const char* overload : {"self", "ScalarSelf", "ScalarOther", "Scalar"}) {
    r.add(std::string("aten.where.") + overload, single(where));
  }
  r.add("aten.masked_fill.Scalar", single(masked_fill));
  r.add("aten.masked_fill.Tensor", single(masked_fill));
  r.add("aten.tril.default", single(triangle(Op::kLessEqual), matrices));
  r.add("aten.triu.default", single(triangle(Op::kGreaterEqual), matrices));
  r.add("aten.eye.default", single(eye));
  r.add("aten.eye.m", single(eye));
}

}  // namespace stator
