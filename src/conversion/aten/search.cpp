// SPDX-License-Identifier: Apache-2.0
//
// Places in sorted sequences, membership: comparisons with every candidate, counted.
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

/// How many of `sequence` [..., K] lie below each of `values` [..., V]: [..., V]. `right`: those
/// that are equal too. NaN is above all.
TensorId count_below(Conversion& c, TensorId sequence, TensorId values, bool right) {
  Network& n = c.network();
  Shape rows = n.type(values).shape;
  rows.push_back(Expr(1));
  Shape columns = n.type(sequence).shape;
  if (columns.size() > 1) {
    columns.insert(columns.end() - 1, Expr(1));
  }
  const TensorId above =
      elementwise(c, {n.add_reshape(sequence, columns), n.add_reshape(values, rows)},
                  right ? Op::kGreater : Op::kGreaterEqual);
  const TensorId below = c.cast(n.add_unary(above, UnaryOp::kNot), DType::kInt64);
  return n.add_reduce(below, ReduceOp::kSum, {static_cast<int64_t>(rows.size()) - 1}, false);
}

Compute places(const char* sequence, const char* values) {
  return [sequence, values](Conversion& c, const Node& node) {
    const DType dtype = compute_dtype(result_type(c.graph(), node, {sequence, values}));
    const bool right = node.boolean("right") || node.string("side") == "right";
    const TensorId sorted = c.operand(node, sequence, dtype);
    return count_below(c, sorted, c.operand(node, values, dtype), right);
  };
}

Support no_sorter(const SupportContext& c, const Node& node) {
  if (has_tensor(node, "sorter")) {
    return Support::no("it has a sorter");
  }
  const TensorMeta& sequence = c.meta(node, "sorted_sequence");
  const bool fits = sequence.rank() == 1 ||
                    (has_tensor(node, "self") && c.meta(node, "self").rank() == sequence.rank());
  return fits ? Support::yes() : Support::no("its sequences and values differ in axes");
}

/// Any of test_elements equal to each element.
TensorId isin(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType common = result_type(c.graph(), node, {"elements", "test_elements"});
  const DType dtype = common == DType::kBool ? DType::kUInt8 : compute_dtype(common);
  const TensorId elements = c.operand(node, "elements", dtype);
  const TensorId tests = c.operand(node, "test_elements", dtype);
  Shape rows = n.type(elements).shape;
  rows.push_back(Expr(1));
  const TensorId equal = elementwise(
      c, {n.add_reshape(elements, rows), n.add_reshape(tests, {product(n.type(tests).shape)})},
      Op::kEqual);
  const TensorId found =
      n.add_reduce(equal, ReduceOp::kAny, {static_cast<int64_t>(rows.size()) - 1}, false);
  return node.boolean("invert") ? n.add_unary(found, UnaryOp::kNot) : found;
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_search(ConverterRegistry& r) {
  using namespace aten;
  for (const char* overload : {"Tensor", "Scalar"}) {
    r.add(std::string("aten.bucketize.") + overload, single(places("boundaries", "self")));
    r.add(std::string("aten.searchsorted.") + overload,
          single(places("sorted_sequence", "self"), no_sorter));
  }
  r.add("aten.isin.Tensor_Tensor", single(isin));
}

}  // namespace stator
