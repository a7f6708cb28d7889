// SPDX-License-Identifier: Apache-2.0
//
// Writing by index: scatter and its relatives, index_put, slices replaced.
#include <algorithm>

#include "conversion/aten/checks.h"
#include "conversion/aten/index.h"
#include "conversion/aten/slicing.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

/// `updates` put (or added) at `indices`; updates larger than the index are cut, as in PyTorch.
TensorId put(Conversion& c, TensorId x, TensorId indices, TensorId updates, int64_t axis,
             bool accumulate, DataError error = DataError::kElement) {
  Network& n = c.network();
  const Shape shape = n.type(indices).shape;
  const Shape whole = n.type(updates).shape;
  for (size_t k = 0; k < shape.size(); ++k) {
    if (!(whole[k] == shape[k])) {
      updates = slice_axis(c, updates, static_cast<int64_t>(k), 0, shape[k]);
    }
  }
  return n.add_layer(ScatterElements{axis, accumulate, error}, {x, indices, updates})[0];
}

struct Operands {
  TensorId x, index;
  int64_t axis;
  DType dtype;
};

/// self, index and dim, with at least one axis. Sums are computed in the wider dtype.
Operands operands(Conversion& c, const Node& node, bool accumulate) {
  const DType own = c.meta(node, "self").dtype;
  const DType dtype = accumulate ? compute_dtype(own) : own;
  const TensorId x = at_least_one_axis(c, c.operand(node, "self", dtype));
  return {x, at_least_one_axis(c, c.cast(c.tensor(node, "index"), DType::kInt64)),
          normalize_dim(node.integer("dim"), c.network().type(x).rank()), dtype};
}

TensorId restored(Conversion& c, const Node& node, TensorId x) {
  return c.network().add_reshape(x, c.output_meta(node).shape);
}

/// scatter.src, scatter.value, scatter_add.
Compute scatter(const char* source, bool accumulate) {
  return [source, accumulate](Conversion& c, const Node& node) {
    const Operands o = operands(c, node, accumulate);
    if (c.network().type(o.index).rank() != c.network().type(o.x).rank()) {
      return c.tensor(node, "self");  // allowed where the index has no elements
    }
    TensorId updates = c.operand(node, source, o.dtype);
    const bool is_number = !has_tensor(node, source);
    updates = is_number ? c.network().add_expand(updates, c.network().type(o.index).shape)
                        : at_least_one_axis(c, updates);
    return restored(c, node, put(c, o.x, o.index, updates, o.axis, accumulate));
  };
}

/// Truth values are put, not added up.
Support sums_of_numbers(const SupportContext& c, const Node& node) {
  return c.meta(node, "self").dtype == DType::kBool ? Support::no("sums of bool are not supported")
                                                    : places_along_dim(c, node);
}

Support adds(const SupportContext& c, const Node& node) {
  const std::string mode = node.string("reduce");
  if (mode != "sum" && mode != "add") {
    return Support::no("reduce is \"" + mode + "\", and only sums are supported");
  }
  return node.boolean("include_self", true)
             ? sums_of_numbers(c, node)
             : Support::no("include_self is False, which depends on which elements are written");
}

/// What eager raises for a place that is not there. Sums along the first and the last of several
/// dims take another way in PyTorch's CPU kernels.
DataError error_by_rows(Conversion& c, bool accumulate, const Operands& o) {
  if (!accumulate) {
    return DataError::kIndex;
  }
  const int64_t last = c.network().type(o.x).rank() - 1;
  return last > 0 && (o.axis == 0 || o.axis == last) ? DataError::kElement : DataError::kRow;
}

/// A vector of places along dim, for every row: index_add, index_copy, index_fill. The last counts
/// negative places from the end.
Compute by_rows(const char* source, bool accumulate, bool wrap = false) {
  return [source, accumulate, wrap](Conversion& c, const Node& node) {
    Network& n = c.network();
    Operands o = operands(c, node, accumulate);
    const auto k = static_cast<size_t>(o.axis);
    Shape rows = n.type(o.x).shape;
    if (wrap) {
      o.index = checked_places(c, o.index, rows[k], DataError::kIndex, o.axis, true);
    }
    rows[k] = n.type(o.index).shape[0];
    Shape column(rows.size(), Expr(1));
    column[k] = rows[k];
    const TensorId index = n.add_expand(n.add_reshape(o.index, column), rows);
    TensorId updates = c.operand(node, source, o.dtype);
    if (n.type(updates).rank() == 0) {
      updates = n.add_expand(updates, rows);
    }
    if (const auto alpha = constant_number(node, "alpha"); accumulate && alpha != 1.0) {
      updates = n.add_elementwise(updates, c.operand(node, "alpha", o.dtype), Op::kMul);
    }
    return restored(
        c, node, put(c, o.x, index, updates, o.axis, accumulate, error_by_rows(c, accumulate, o)));
  };
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
TensorId write_at(Conversion& c, const Indexed& indexed, TensorId values, bool accumulate) {
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
      put(c, n.add_reshape(indexed.x, {before, middle, after}), index, values, 1, accumulate);
  return n.add_transpose(n.add_reshape(written, shape), inverse(indexed.order));
}

namespace {

TensorId index_put(Conversion& c, const Node& node) {
  Indexed indexed = indexed_axes(c, node);
  const bool accumulate = node.boolean("accumulate");
  const DType own = c.network().type(indexed.x).dtype;
  const DType dtype = accumulate ? compute_dtype(own) : own;
  indexed.x = c.cast(indexed.x, dtype);
  return write_at(c, indexed, c.operand(node, "values", dtype), accumulate);
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
  r.add("aten.scatter.src", single(scatter("src", false), places_along_dim));
  r.add("aten.scatter.value", single(scatter("value", false), places_along_dim));
  r.add("aten.scatter_add.default", single(scatter("src", true), sums_of_numbers));
  r.add("aten.scatter.reduce", single(scatter("src", true), adds));
  r.add("aten.scatter.value_reduce", single(scatter("value", true), adds));
  r.add("aten.scatter_reduce.two", single(scatter("src", true), adds));
  r.add("aten.index_add.default", single(by_rows("source", true), sums_of_numbers));
  r.add("aten.index_copy.default", single(by_rows("source", false), places_along_dim));
  r.add("aten.index_fill.int_Scalar", single(by_rows("value", false, true), places_along_dim));
  r.add("aten.index_fill.int_Tensor", single(by_rows("value", false, true), places_along_dim));
  for (const char* name : {"index_put", "_unsafe_index_put"}) {
    r.add(std::string("aten.") + name + ".default", single(index_put, integer_indices));
  }
  r.add("aten.slice_scatter.default", single(slice_scatter, slice_scatter_support));
  r.add("aten.select_scatter.default", single(select_scatter, select_scatter_support));
}

}  // namespace stator
