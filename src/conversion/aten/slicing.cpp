// SPDX-License-Identifier: Apache-2.0
//
// Slices: slice, select, narrow, the splits, unbind, flip, roll, diagonal.
#include "conversion/aten/slicing.h"

#include <algorithm>

#include "base/check.h"

namespace stator::aten {

TensorId slice_axis(Conversion& c, TensorId x, int64_t axis, const Expr& start, const Expr& size,
                    int64_t step) {
  const Shape& shape = c.network().type(x).shape;
  Shape starts(shape.size(), Expr(0)), sizes = shape;
  std::vector<int64_t> steps(shape.size(), 1);
  const auto k = static_cast<size_t>(axis);
  starts[k] = start;
  sizes[k] = size;
  steps[k] = step;
  return c.network().add_slice(x, starts, sizes, steps);
}

std::optional<Expr> from_front(const Bounds& bounds, const Expr& index, const Expr& size) {
  if (bounds.proves_less_equal(0, index)) {
    return index;
  }
  if (bounds.proves_less(index, 0)) {
    return index + size;
  }
  return std::nullopt;
}

std::optional<Expr> slice_start(const Graph& graph, const Node& node, const Expr& size) {
  if (node.is_none("start")) {
    return Expr(0);
  }
  const Expr given = node.sym_int("start");
  const auto start = from_front(graph.bounds, given, size);
  if (!start) {
    return std::nullopt;
  }
  // Past the end nothing is read, so only the lower limit matters, and only to negative starts.
  const bool negative = graph.bounds.proves_less(given, 0);
  return negative ? simplify(max(*start, 0), graph.bounds) : *start;
}

Support known_start(const SupportContext& c, const Node& node) {
  const TensorMeta& meta = c.meta(node, "self");
  const auto axis = static_cast<size_t>(normalize_dim(node.integer("dim", 0), meta.rank()));
  return slice_start(c.graph, node, meta.shape[axis])
             ? Support::yes()
             : Support::no("its start " + node.sym_int("start").str() +
                           " may be negative or not, depending on the sizes");
}

namespace {

size_t axis_of(const Conversion& c, const Node& node, const char* arg = "dim") {
  return static_cast<size_t>(normalize_dim(node.integer(arg, 0), c.meta(node, "self").rank()));
}

TensorId slice(Conversion& c, const Node& node) {
  const TensorId x = c.tensor(node, "self");
  const size_t axis = axis_of(c, node);
  const auto start = slice_start(c.graph(), node, c.meta(node, "self").shape[axis]);
  return slice_axis(c, x, static_cast<int64_t>(axis), *start, c.output_meta(node).shape[axis],
                    node.integer("step", 1));
}

Support slice_support(const SupportContext& c, const Node& node) {
  return all_of({constant_arguments(node, {"step"}), known_start(c, node)});
}

TensorId narrow(Conversion& c, const Node& node) {
  const size_t axis = axis_of(c, node);
  const auto start = slice_start(c.graph(), node, c.meta(node, "self").shape[axis]);
  return slice_axis(c, c.tensor(node, "self"), static_cast<int64_t>(axis), *start,
                    c.output_meta(node).shape[axis]);
}

TensorId select(Conversion& c, const Node& node) {
  const size_t axis = axis_of(c, node);
  const Expr& size = c.meta(node, "self").shape[axis];
  const auto index = from_front(c.graph().bounds, node.sym_int("index"), size);
  const TensorId piece =
      slice_axis(c, c.tensor(node, "self"), static_cast<int64_t>(axis), *index, 1);
  return c.network().add_reshape(piece, c.output_meta(node).shape);
}

Support select_support(const SupportContext& c, const Node& node) {
  const TensorMeta& meta = c.meta(node, "self");
  const auto axis = static_cast<size_t>(normalize_dim(node.integer("dim", 0), meta.rank()));
  return from_front(c.graph.bounds, node.sym_int("index"), meta.shape[axis])
             ? Support::yes()
             : Support::no("its index " + node.sym_int("index").str() +
                           " may be negative or not, depending on the sizes");
}

/// The outputs lie one after the other along the axis: split, chunk, tensor_split. unbind's pieces
/// of one element lose the axis.
std::vector<TensorId> pieces_along(Conversion& c, const Node& node, size_t axis) {
  const TensorId x = c.tensor(node, "self");
  Expr start = 0;
  std::vector<TensorId> results;
  for (int i = 0; i < static_cast<int>(node.outputs.size()); ++i) {
    const Shape& shape = c.output_meta(node, i).shape;
    const bool axis_lost = static_cast<int>(shape.size()) < c.network().type(x).rank();
    const Expr size = axis_lost ? Expr(1) : shape[axis];
    if (c.used(node, i)) {
      const TensorId piece = slice_axis(c, x, static_cast<int64_t>(axis), start, size);
      results.push_back(c.network().add_reshape(piece, shape));
    } else {
      results.push_back(-1);
    }
    start = start + size;
  }
  return results;
}

std::vector<TensorId> pieces(Conversion& c, const Node& node) {
  return pieces_along(c, node, axis_of(c, node));
}

/// hsplit, vsplit, dsplit: along axis 1, 0 and 2; hsplit of a vector along its only one.
ComputeAll pieces_of(size_t axis) {
  return [axis](Conversion& c, const Node& node) {
    return pieces_along(c, node, c.meta(node, "self").rank() == 1 ? 0 : axis);
  };
}

TensorId flip_axis(Conversion& c, TensorId x, int64_t axis) {
  const Expr size = c.network().type(x).shape[static_cast<size_t>(axis)];
  return slice_axis(c, x, axis, size - 1, size, -1);
}

TensorId flip(Conversion& c, const Node& node) {
  TensorId x = c.tensor(node, "self");
  const int64_t rank = c.network().type(x).rank();
  if (rank > 0) {
    for (const int64_t dim : ints_of(node, "dims")) {
      x = flip_axis(c, x, normalize_dim(dim, rank));
    }
  }
  return x;
}

/// fliplr, flipud.
Compute flip_one(int64_t axis) {
  return [axis](Conversion& c, const Node& node) {
    return flip_axis(c, c.tensor(node, "self"), axis);
  };
}

/// The last `shift` (modulo the size) elements first, then the others.
TensorId roll_axis(Conversion& c, TensorId x, int64_t axis, const Expr& shift) {
  const Expr size = c.network().type(x).shape[static_cast<size_t>(axis)];
  if (size.is_constant(0)) {
    return x;
  }
  // Max(1, size): an empty axis has no remainder.
  const Expr moved = mod(shift, simplify(max(size, 1), c.graph().bounds));
  if (moved.is_constant(0)) {
    return x;
  }
  const TensorId back = slice_axis(c, x, axis, size - moved, moved);
  const TensorId front = slice_axis(c, x, axis, 0, size - moved);
  return c.network().add_concatenation({back, front}, axis);
}

TensorId roll(Conversion& c, const Node& node) {
  Network& n = c.network();
  TensorId x = c.tensor(node, "self");
  const Shape shape = n.type(x).shape;
  const std::vector<Expr> shifts = node.sym_ints("shifts");
  const std::vector<int64_t> dims = ints_of(node, "dims");
  if (shape.empty()) {
    return x;
  }
  if (dims.empty()) {
    const TensorId flat = n.add_reshape(x, {product(shape)});
    return n.add_reshape(roll_axis(c, flat, 0, shifts.front()), shape);
  }
  for (size_t i = 0; i < dims.size(); ++i) {
    x = roll_axis(c, x, normalize_dim(dims[i], static_cast<int64_t>(shape.size())), shifts[i]);
  }
  return x;
}

/// n times: every element less the one before it, of bool whether they differ.
TensorId diff(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType stored = c.output_meta(node).dtype;
  const DType dtype = compute_dtype(stored);
  TensorId x = c.operand(node, "self", dtype);
  const int64_t axis = normalize_dim(node.integer("dim", -1), n.type(x).rank());
  const Shape& result = c.output_meta(node).shape;
  if (result[static_cast<size_t>(axis)].is_constant(0)) {  // more steps than elements
    return n.add_expand(whole(c, 0, dtype), result);
  }
  std::vector<TensorId> parts;
  if (has_tensor(node, "prepend")) parts.push_back(c.operand(node, "prepend", dtype));
  parts.push_back(x);
  if (has_tensor(node, "append")) parts.push_back(c.operand(node, "append", dtype));
  x = n.add_concatenation(parts, axis);
  const ElementwiseOp op = dtype == DType::kBool ? ElementwiseOp::kXor : ElementwiseOp::kSub;
  const Expr elements = n.type(x).shape[static_cast<size_t>(axis)];
  for (int64_t i = 1; i <= node.integer("n", 1); ++i) {
    const Expr size = simplify(max(elements - i, 0), c.graph().bounds);
    const TensorId after = slice_axis(c, x, axis, 1, size);
    x = n.add_elementwise(after, slice_axis(c, x, axis, 0, size), op);
    if (is_floating_point(stored)) x = c.cast(c.cast(x, stored), dtype);  // rounded at each step
  }
  return x;
}

/// Quarter turns from the first of two axes to the second.
TensorId rot90(Conversion& c, const Node& node) {
  TensorId x = c.tensor(node, "self");
  const int64_t rank = c.network().type(x).rank();
  const std::vector<int64_t> dims = ints_of(node, "dims");
  const int64_t first = normalize_dim(dims[0], rank), second = normalize_dim(dims[1], rank);
  const int64_t turns = ((node.integer("k", 1) % 4) + 4) % 4;
  if (turns == 2) return flip_axis(c, flip_axis(c, x, first), second);
  if (turns == 0) return x;
  std::vector<int64_t> order;
  for (int64_t axis = 0; axis < rank; ++axis) order.push_back(axis);
  std::swap(order[static_cast<size_t>(first)], order[static_cast<size_t>(second)]);
  const TensorId flipped = turns == 1 ? flip_axis(c, x, second) : x;
  const TensorId turned = c.network().add_transpose(flipped, order);
  return turns == 1 ? turned : flip_axis(c, turned, second);
}

/// Pairs (i, i + offset) of two axes: that slice of them flattened which steps by columns + 1.
TensorId diagonal(Conversion& c, const Node& node) {
  Network& n = c.network();
  TensorId x = c.tensor(node, "self");
  const int64_t rank = n.type(x).rank();
  const int64_t first = normalize_dim(node.integer("dim1", 0), rank);
  const int64_t second = normalize_dim(node.integer("dim2", 1), rank);
  std::vector<int64_t> order;
  for (int64_t axis = 0; axis < rank; ++axis) {
    if (axis != first && axis != second) order.push_back(axis);
  }
  order.push_back(first);
  order.push_back(second);
  x = n.add_transpose(x, order);
  Shape shape = n.type(x).shape;
  const int64_t columns = shape.back().constant();
  const int64_t offset = node.integer("offset", 0);
  const Expr start = offset >= 0 ? Expr(offset) : Expr(-offset * columns);
  const Expr elements = shape[shape.size() - 2] * shape.back();
  shape.pop_back();
  shape.back() = elements;
  const Shape& result = c.output_meta(node).shape;
  return slice_axis(c, n.add_reshape(x, shape), rank - 2, start, result.back(), columns + 1);
}

Support diagonal_support(const SupportContext& c, const Node& node) {
  const TensorMeta& meta = c.meta(node, "self");
  const auto second = static_cast<size_t>(normalize_dim(node.integer("dim2", 1), meta.rank()));
  return meta.shape[second].is_constant()
             ? Support::yes()
             : Support::no("the number of columns is symbolic, and the diagonal steps by it");
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_slicing(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.slice.Tensor", single(slice, slice_support));
  r.add("aten.slice_copy.Tensor", single(slice, slice_support));
  r.add("aten.narrow.default", single(narrow, known_start));
  r.add("aten.narrow_copy.default", single(narrow, known_start));
  r.add("aten.select.int", single(aten::select, select_support));
  r.add("aten.select_copy.int", single(aten::select, select_support));
  for (const char* name :
       {"split.Tensor", "split.sizes", "split_with_sizes.default", "split_copy.Tensor",
        "split_with_sizes_copy.default", "unsafe_split.Tensor", "unsafe_split_with_sizes.default",
        "chunk.default", "unsafe_chunk.default", "tensor_split.sections", "tensor_split.indices",
        "unbind.int", "unbind_copy.int"}) {
    r.add(std::string("aten.") + name, several(pieces));
  }
  for (const char* overload : {".int", ".array"}) {
    r.add(std::string("aten.hsplit") + overload, several(pieces_of(1)));
    r.add(std::string("aten.vsplit") + overload, several(pieces_of(0)));
    r.add(std::string("aten.dsplit") + overload, several(pieces_of(2)));
  }
  r.add("aten.flip.default", single(flip));
  r.add("aten.fliplr.default", single(flip_one(1)));
  r.add("aten.flipud.default", single(flip_one(0)));
  r.add("aten.diff.default", single(diff));
  r.add("aten.rot90.default", single(rot90));
  r.add("aten.roll.default", single(roll));
  r.add("aten.diagonal.default", single(diagonal, diagonal_support));
  r.add("aten.diagonal_copy.default", single(diagonal, diagonal_support));
}

}  // namespace stator
