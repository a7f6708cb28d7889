// SPDX-License-Identifier: Apache-2.0
//
// Writing by index: scatter and its relatives, index_put, slices replaced.
#include <algorithm>
#include <cmath>
#include <string>

#include "conversion/aten/checks.h"
#include "conversion/aten/index.h"
#include "conversion/aten/slicing.h"

namespace stator::aten {

DType stepwise_dtype(const Conversion& c, DType dtype) {
  return on_gpu(c.graph()) ? compute_dtype(dtype) : dtype;
}

namespace {

using Op = ElementwiseOp;

/// `updates` put (or added, …) at `indices`; updates larger than the index are cut, as in PyTorch.
TensorId put(Conversion& c, TensorId x, TensorId indices, TensorId updates, int64_t axis,
             ScatterOp op, DataError error = DataError::kElement) {
  Network& n = c.network();
  const Shape shape = n.type(indices).shape;
  const Shape whole = n.type(updates).shape;
  for (size_t k = 0; k < shape.size(); ++k) {
    if (!(whole[k] == shape[k])) {
      updates = slice_axis(c, updates, static_cast<int64_t>(k), 0, shape[k]);
    }
  }
  return n.add_layer(ScatterElements{axis, op, error}, {x, indices, updates})[0];
}

/// What a node makes of the updates of one place.
struct Rule {
  ScatterOp op = ScatterOp::kPut;
  bool include_self = true;  // else what is written counts from the updates alone
  bool mean = false;         // of sums: divided by how many there are
};
using RuleOf = Rule (*)(const Node&, DType);

Rule puts(const Node&, DType) { return {}; }
Rule adds(const Node&, DType dtype) { return {sum_op(dtype)}; }

/// By the argument "reduce". Truth values: a sum is whether any is set, a product whether all are.
Rule by_name(const Node& node, DType dtype) {
  const std::string mode = node.string("reduce");
  const bool truth = dtype == DType::kBool;
  Rule rule{sum_op(dtype), node.boolean("include_self", true), mode == "mean"};
  if (mode == "prod" || mode == "multiply") {
    rule.op = truth ? ScatterOp::kMin : ScatterOp::kMul;
  } else if (mode == "amax" || mode == "amin") {
    rule.op = mode == "amax" ? ScatterOp::kMax : ScatterOp::kMin;
  }
  return rule;
}

/// What leaves every update as it is.
TensorId neutral(Conversion& c, ScatterOp op, DType dtype, const Shape& shape) {
  const bool greatest = op == ScatterOp::kMin;
  if (op == ScatterOp::kAdd || op == ScatterOp::kMul) {
    return c.network().add_fill(shape, dtype, Scalar::of(int64_t{op == ScatterOp::kMul}));
  }
  if (is_floating_point(dtype)) {
    return c.network().add_fill(shape, dtype, Scalar::of(greatest ? HUGE_VAL : -HUGE_VAL));
  }
  int64_t least = 0, most = dtype == DType::kBool ? 1 : 255;
  if (dtype != DType::kBool && dtype != DType::kUInt8) {
    most = INT64_MAX >> (64 - 8 * dtype_bytes(dtype));
    least = -most - 1;
  }
  return c.network().add_fill(shape, dtype, Scalar::of(greatest ? most : least));
}

struct Operands {
  TensorId x, index;
  int64_t axis;
  DType dtype;
};

/// self, index and dim, with at least one axis.
Operands operands(Conversion& c, const Node& node, DType dtype) {
  const TensorId x = at_least_one_axis(c, c.operand(node, "self", dtype));
  return {x, at_least_one_axis(c, c.cast(c.tensor(node, "index"), DType::kInt64)),
          normalize_dim(node.integer("dim"), c.network().type(x).rank()), dtype};
}

TensorId restored(Conversion& c, const Node& node, TensorId x) {
  return c.network().add_reshape(x, c.output_meta(node).shape);
}

/// Sums over the number of their updates, counted in `dtype`; both are rounded to the result's type
/// before, and integers down after. A place without updates has its own value, or of none itself.
TensorId mean(Conversion& c, const Node& node, const Operands& o, TensorId sums, DType dtype,
              bool include_self) {
  Network& n = c.network();
  const DType own = c.output_meta(node).dtype;
  const TensorId start = n.add_fill(n.type(o.x).shape, dtype, Scalar::of(int64_t{include_self}));
  const TensorId ones = n.add_fill(n.type(o.index).shape, dtype, Scalar::of(int64_t{1}));
  TensorId counts = put(c, start, o.index, ones, o.axis, ScatterOp::kAdd);
  counts = c.cast(c.cast(counts, own), compute_dtype(own));
  if (!include_self || is_integral(own)) {  // integers may wrap around to zero
    const TensorId none_counted =
        elementwise(c, {counts, whole(c, 0, compute_dtype(own))}, Op::kEqual);
    counts = choose(c, {none_counted, whole(c, 1, compute_dtype(own)), counts});
  }
  sums = c.cast(c.cast(sums, own), compute_dtype(own));
  return n.add_elementwise(sums, counts, is_integral(own) ? Op::kFloorDiv : Op::kDiv);
}

/// scatter.src, scatter.value, scatter_add, scatter_reduce. Halves are added up in float32.
Compute scatter(const char* source, RuleOf rule_of) {
  return [source, rule_of](Conversion& c, const Node& node) {
    Network& n = c.network();
    const DType own = c.meta(node, "self").dtype;
    const Rule rule = rule_of(node, own);
    Operands o = operands(c, node, rule.op == ScatterOp::kPut ? own : compute_dtype(own));
    const Shape places = n.type(o.index).shape;
    if (places.size() != n.type(o.x).shape.size()) {
      return c.tensor(node, "self");  // allowed where the index has no elements
    }
    TensorId updates = c.operand(node, source, o.dtype);
    updates =
        has_tensor(node, source) ? at_least_one_axis(c, updates) : n.add_expand(updates, places);
    TensorId x = o.x;
    if (!rule.include_self) {
      x = put(c, x, o.index, neutral(c, rule.op, o.dtype, places), o.axis, ScatterOp::kPut);
    }
    TensorId y = put(c, x, o.index, updates, o.axis, rule.op);
    if (rule.mean) y = mean(c, node, o, y, o.dtype, rule.include_self);
    return restored(c, node, y);
  };
}

/// Of truth values PyTorch has no means, nor all ways of index_reduce.
Support reduces(const SupportContext& c, const Node& node) {
  const bool truth = c.meta(node, "self").dtype == DType::kBool;
  if (truth && (node.string("reduce") == "mean" || node.target == "aten.index_reduce.default")) {
    return Support::no("its elements are truth values");
  }
  return places_along_dim(c, node);
}

Support adds_rows(const SupportContext& c, const Node& node) {
  const std::optional<double> alpha = constant_number(node, "alpha");
  return c.meta(node, "self").dtype == DType::kBool && alpha.value_or(1.0) != 1.0
             ? Support::no("truth values are multiplied with alpha")
             : places_along_dim(c, node);
}

/// PyTorch's CPU kernels add up rows along the first and the last of several dims as scatter_add
/// does; elsewhere an update at a time.
bool adds_as_scatter(const Operands& o, int rank) {
  return rank > 1 && (o.axis == 0 || o.axis == rank - 1);
}

/// A vector of places along dim as an index for every element of the rows.
TensorId index_of_rows(Conversion& c, TensorId places, const Shape& rows, size_t axis) {
  Shape column(rows.size(), Expr(1));
  column[axis] = rows[axis];
  return c.network().add_expand(c.network().add_reshape(places, column), rows);
}

/// What index_add, index_copy, index_fill and index_reduce have in common.
struct RowUpdates {
  Operands o;  // the index for every element
  TensorId updates;
  Shape rows;
};

RowUpdates row_updates(Conversion& c, const Node& node, const char* source, Operands o) {
  Network& n = c.network();
  const auto k = static_cast<size_t>(o.axis);
  Shape rows = n.type(o.x).shape;
  rows[k] = n.type(o.index).shape[0];
  o.index = index_of_rows(c, o.index, rows, k);
  TensorId updates = c.operand(node, source, o.dtype);
  if (n.type(updates).rank() == 0) {
    updates = n.add_expand(updates, rows);
  }
  return {o, updates, rows};
}

/// index_copy, and index_fill, which counts negative places from the end.
Compute put_rows(const char* source, bool wrap) {
  return [source, wrap](Conversion& c, const Node& node) {
    Operands o = operands(c, node, c.meta(node, "self").dtype);
    if (wrap) {
      const Expr size = c.network().type(o.x).shape[static_cast<size_t>(o.axis)];
      o.index = checked_places(c, o.index, size, DataError::kIndex, o.axis, true);
    }
    const RowUpdates r = row_updates(c, node, source, o);
    return restored(
        c, node, put(c, r.o.x, r.o.index, r.updates, r.o.axis, ScatterOp::kPut, DataError::kIndex));
  };
}

TensorId index_add(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType own = c.meta(node, "self").dtype;
  Operands o = operands(c, node, own);
  const bool as_scatter = adds_as_scatter(o, n.type(o.x).rank());
  o.dtype = as_scatter ? compute_dtype(own) : stepwise_dtype(c, own);
  o.x = c.cast(o.x, o.dtype);
  RowUpdates r = row_updates(c, node, "source", o);
  if (const auto alpha = constant_number(node, "alpha"); alpha != 1.0) {
    const DType wide = compute_dtype(own);
    const TensorId factor = c.operand(node, "alpha", wide);
    r.updates = n.add_elementwise(c.cast(r.updates, wide), factor, Op::kMul);
    r.updates = c.cast(c.cast(r.updates, own), o.dtype);
  }
  const DataError error = as_scatter ? DataError::kElement : DataError::kRow;
  return restored(c, node, put(c, o.x, r.o.index, r.updates, o.axis, sum_op(own), error));
}

/// As index_add does it along inner dims. Without self the places are set to what is neutral
/// first, by index_fill, which has another error.
TensorId index_reduce(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType own = c.meta(node, "self").dtype;
  const Rule rule = by_name(node, own);
  const bool rounds = rule.op == ScatterOp::kAdd || rule.op == ScatterOp::kMul;
  const Operands o = operands(c, node, rounds ? stepwise_dtype(c, own) : compute_dtype(own));
  const RowUpdates r = row_updates(c, node, "source", o);
  const auto k = static_cast<size_t>(o.axis);
  TensorId x = o.x;
  if (!rule.include_self) {
    const TensorId places =
        checked_places(c, o.index, n.type(x).shape[k], DataError::kIndex, o.axis, true);
    x = put(c, x, index_of_rows(c, places, r.rows, k), neutral(c, rule.op, o.dtype, r.rows), o.axis,
            ScatterOp::kPut);
  }
  TensorId y = put(c, x, r.o.index, r.updates, o.axis, rule.op, DataError::kRow);
  if (rule.mean) {
    const bool as_scatter = adds_as_scatter(o, n.type(x).rank());
    y = mean(c, node, r.o, y, as_scatter ? compute_dtype(own) : o.dtype, rule.include_self);
  }
  return restored(c, node, y);
}

/// The indexed axes flattened into one: the place in it.
TensorId flat_index(Conversion& c, const Indexed& indexed, const Shape& shape) {
  Network& n = c.network();
  TensorId flat = -1;
  for (size_t i = 0; i < indexed.indices.size(); ++i) {
    const Expr size = shape[static_cast<size_t>(indexed.first_axis) + i];
    // Each by itself: what is too much for one axis would be an element of another row.
    const TensorId index = checked_places(c, indexed.indices[i], size, DataError::kIndex,
                                          static_cast<int64_t>(i), true);
    if (flat < 0) {
      flat = index;
      continue;
    }
    const TensorId extent = size_tensor(c, size);
    flat = n.add_elementwise(n.add_elementwise(flat, extent, Op::kMul), index, Op::kAdd);
  }
  return flat;
}

std::vector<int64_t> inverse(const std::vector<int64_t>& order) {
  std::vector<int64_t> back(order.size());
  for (size_t k = 0; k < order.size(); ++k) {
    back[static_cast<size_t>(order[k])] = static_cast<int64_t>(k);
  }
  return back;
}

}  // namespace

/// x as [before, indexed, after], the flat index along axis 1, the values over all of it.
TensorId write_at(Conversion& c, const Indexed& indexed, TensorId values, ScatterOp op) {
  Network& n = c.network();
  const Shape shape = n.type(indexed.x).shape;
  const TensorId flat = flat_index(c, indexed, shape);
  const Shape places = n.type(flat).shape;

  const auto first = shape.begin() + indexed.first_axis;
  const auto last = first + static_cast<int64_t>(indexed.indices.size());
  const Expr before = product({shape.begin(), first});
  const Expr middle = product({first, last});
  const Expr after = product({last, shape.end()});
  const Expr count = product(places);

  Shape result(shape.begin(), first);
  result.insert(result.end(), places.begin(), places.end());
  result.insert(result.end(), last, shape.end());
  values = n.add_reshape(n.add_expand(values, result), {before, count, after});
  const TensorId index =
      n.add_expand(n.add_reshape(flat, {Expr(1), count, Expr(1)}), {before, count, after});
  const TensorId written =
      put(c, n.add_reshape(indexed.x, {before, middle, after}), index, values, 1, op);
  return n.add_transpose(n.add_reshape(written, shape), inverse(indexed.order));
}

namespace {

TensorId index_put(Conversion& c, const Node& node) {
  Indexed indexed = indexed_axes(c, node);
  const bool accumulate = node.boolean("accumulate");
  const DType own = c.network().type(indexed.x).dtype;
  const DType dtype = accumulate ? stepwise_dtype(c, own) : own;
  indexed.x = c.cast(indexed.x, dtype);
  return write_at(c, indexed, c.operand(node, "values", dtype),
                  accumulate ? sum_op(own) : ScatterOp::kPut);
}

TensorId slice_scatter(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = c.tensor(node, "self");
  const TensorType type = n.type(x);
  const int64_t axis = normalize_dim(node.integer("dim", 0), type.rank());
  const auto start = slice_start(c.graph(), node, type.shape[static_cast<size_t>(axis)]);
  const TensorId source = c.operand(node, "src", type.dtype);
  return n.add_layer(SliceScatter{axis, *start, node.integer("step", 1)}, {x, source})[0];
}

Support slice_scatter_support(const SupportContext& c, const Node& node) {
  return all_of({constant_arguments(node, {"step"}), known_start(c, node)});
}

TensorId select_scatter(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = c.tensor(node, "self");
  const TensorType type = n.type(x);
  const int64_t axis = normalize_dim(node.integer("dim", 0), type.rank());
  const auto index =
      from_front(c.graph().bounds, node.sym_int("index"), type.shape[static_cast<size_t>(axis)]);
  Shape shape = type.shape;
  shape[static_cast<size_t>(axis)] = 1;
  const TensorId source = n.add_reshape(c.operand(node, "src", type.dtype), shape);
  return n.add_layer(SliceScatter{axis, *index, 1}, {x, source})[0];
}

Support select_scatter_support(const SupportContext& c, const Node& node) {
  const TensorMeta& meta = c.meta(node, "self");
  const auto axis = static_cast<size_t>(normalize_dim(node.integer("dim", 0), meta.rank()));
  return from_front(c.graph.bounds, node.sym_int("index"), meta.shape[axis])
             ? Support::yes()
             : Support::no("its index " + node.sym_int("index").str() +
                           " may be negative or not, depending on the sizes");
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_scatter(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.scatter.src", single(scatter("src", puts), places_along_dim));
  r.add("aten.scatter.value", single(scatter("value", puts), places_along_dim));
  r.add("aten.scatter_add.default", single(scatter("src", adds), places_along_dim));
  r.add("aten.scatter.reduce", single(scatter("src", by_name), reduces));
  r.add("aten.scatter.value_reduce", single(scatter("value", by_name), reduces));
  r.add("aten.scatter_reduce.two", single(scatter("src", by_name), reduces));
  r.add("aten.index_add.default", single(index_add, adds_rows));
  r.add("aten.index_reduce.default", single(index_reduce, reduces));
  r.add("aten.index_copy.default", single(put_rows("source", false), places_along_dim));
  r.add("aten.index_fill.int_Scalar", single(put_rows("value", true), places_along_dim));
  r.add("aten.index_fill.int_Tensor", single(put_rows("value", true), places_along_dim));
  for (const char* name : {"index_put", "_unsafe_index_put"}) {
    r.add(std::string("aten.") + name + ".default", single(index_put, integer_indices));
  }
  r.add("aten.slice_scatter.default", single(slice_scatter, slice_scatter_support));
  r.add("aten.select_scatter.default", single(select_scatter, select_scatter_support));
}

}  // namespace stator
