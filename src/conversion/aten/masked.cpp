// SPDX-License-Identifier: Apache-2.0
//
// Reading and writing where a mask says so, and at places of the flattened tensor: masked_scatter,
// the masked indexing that vmap and export make of clamped indices, put.
#include "conversion/aten/checks.h"
#include "conversion/aten/index.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

/// The k-th one of the mask takes the k-th element of the source.
TensorId masked_scatter(Conversion& c, const Node& node) {
  Network& n = c.network();
  const Shape& shape = c.output_meta(node).shape;
  const Expr count = product(shape);
  const TensorId x = n.add_expand(c.tensor(node, "self"), shape);
  const TensorId mask = n.add_expand(c.cast(c.tensor(node, "mask"), DType::kBool), shape);
  const TensorId source = c.tensor(node, "source");
  const Expr elements = product(n.type(source).shape);

  const TensorId ones = c.cast(n.add_reshape(mask, {count}), DType::kInt64);
  const TensorId seen = n.add_layer(Scan{ScanOp::kSum, 0}, {ones})[0];
  const TensorId first = n.add_elementwise(seen, whole(c, 1, DType::kInt64), Op::kSub);
  // Places of zeros may be beyond the source; they are not read.
  const TensorId place = n.add_elementwise(first, ones, Op::kMul);
  const TensorId known = checked_places(c, place, elements, DataError::kMaskElement);
  const TensorId taken = n.add_gather(n.add_reshape(source, {elements}), known, 0, false);
  return n.add_select(mask, n.add_reshape(taken, shape), x);
}

Support source_of_elements(const SupportContext& c, const Node& node) {
  const Expr elements = product(c.meta(node, "source").shape);
  if (!c.graph.bounds.proves_less_equal(1, elements)) {
    return Support::no("its source may have no elements");
  }
  constexpr int64_t kMostCounted = 16384;
  return rows_for_one_block(c, product(c.meta(node, "mask").shape), kMostCounted);
}

/// What lies outside of an axis is its first or last element, or one counted from the end.
Indexed clamped_axes(Conversion& c, const Node& node) {
  Network& n = c.network();
  Indexed indexed = indexed_axes(c, node);
  for (size_t i = 0; i < indexed.indices.size(); ++i) {
    const Expr size = n.type(indexed.x).shape[static_cast<size_t>(indexed.first_axis) + i];
    const TensorId raised = n.add_elementwise(indexed.indices[i], size_tensor(c, -size), Op::kMax);
    indexed.indices[i] = n.add_elementwise(raised, size_tensor(c, size - 1), Op::kMin);
  }
  return indexed;
}

Support axes_of_elements(const SupportContext& c, const Node& node) {
  const std::vector<ValueId> indices = node.tensors("indices");
  const Shape& shape = c.meta(node, "self").shape;
  for (const Expr& size : shape) {
    if (!c.graph.bounds.proves_less_equal(1, size)) {
      return Support::no("self may have no elements");
    }
  }
  return integer_indices(c, node);
}

TensorId masked_index(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = c.meta(node, "self").dtype;
  const TensorId mask = c.cast(c.tensor(node, "mask"), DType::kBool);
  return n.add_select(mask, read_at(c, clamped_axes(c, node)), c.operand(node, "fill", dtype));
}

TensorId masked_index_put(Conversion& c, const Node& node) {
  Network& n = c.network();
  Indexed indexed = clamped_axes(c, node);
  const DType dtype = compute_dtype(n.type(indexed.x).dtype);
  indexed.x = c.cast(indexed.x, dtype);
  const TensorId mask = c.cast(c.tensor(node, "mask"), DType::kBool);
  const TensorId values = c.operand(node, "values", dtype);
  const TensorId zero = n.add_fill({}, dtype, Scalar::of(int64_t{0}));
  return write_at(c, indexed, n.add_select(mask, values, zero), sum_op(dtype));
}

/// Elements of the flattened tensor; negative places count from its end.
TensorId put(Conversion& c, const Node& node) {
  Network& n = c.network();
  const bool accumulate = node.boolean("accumulate");
  const DType own = c.meta(node, "self").dtype;
  const DType dtype = accumulate ? stepwise_dtype(c, own) : own;
  const TensorId x = c.operand(node, "self", dtype);
  const Expr elements = product(n.type(x).shape);
  const TensorId index = c.tensor(node, "index");
  const Expr count = product(n.type(index).shape);
  const TensorId places =
      checked_places(c, n.add_reshape(index, {count}), elements, DataError::kPlace, 0, true);
  const TensorId values = n.add_reshape(c.operand(node, "source", dtype), {count});
  const TensorId written =
      n.add_layer(ScatterElements{0, accumulate ? sum_op(own) : ScatterOp::kPut, DataError::kPlace},
                  {n.add_reshape(x, {elements}), places, values})[0];
  return n.add_reshape(written, c.output_meta(node).shape);
}

Support put_support(const SupportContext& c, const Node& node) {
  const TensorMeta& self = c.meta(node, "self");
  const Expr sources = product(c.meta(node, "source").shape);
  if (!c.graph.bounds.proves_equal(sources, product(c.meta(node, "index").shape))) {
    return Support::no("source and index may have different numbers of elements");
  }
  return constant_places(c, node.tensor("index"), product(self.shape), true);
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_masked(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.masked_scatter.default", single(masked_scatter, source_of_elements));
  r.add("aten._unsafe_masked_index.default", single(masked_index, axes_of_elements));
  r.add("aten._unsafe_masked_index_put_accumulate.default",
        single(masked_index_put, axes_of_elements));
  r.add("aten.put.default", single(aten::put, put_support));
}

}  // namespace stator
