// SPDX-License-Identifier: Apache-2.0
//
// Views that keep every element: reshapes, transposes, expansions. The recorded type of the result
// holds its sizes, -1 resolved, so most need no argument at all.
#include <algorithm>
#include <numeric>

#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

TensorId reshape(Conversion& c, const Node& node) {
  return c.network().add_reshape(c.tensor(node, "self"), c.output_meta(node).shape);
}

TensorId expand(Conversion& c, const Node& node) {
  return c.network().add_expand(c.tensor(node, "self"), c.output_meta(node).shape);
}

std::vector<int64_t> identity(int64_t rank) {
  std::vector<int64_t> order(static_cast<size_t>(rank));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

TensorId permute(Conversion& c, const Node& node) {
  const TensorId x = c.tensor(node, "self");
  std::vector<int64_t> order = node.integers("dims");
  for (int64_t& axis : order) {
    axis = normalize_dim(axis, c.network().type(x).rank());
  }
  return c.network().add_transpose(x, order);
}

/// Each operand over the shape that all of them have together.
std::vector<TensorId> broadcast_tensors(Conversion& c, const Node& node) {
  std::vector<TensorId> results;
  for (const ValueId id : node.tensors("tensors")) {
    const Shape& shape = c.output_meta(node, static_cast<int>(results.size())).shape;
    results.push_back(c.network().add_expand(c.tensor(id), shape));
  }
  return results;
}

TensorId swap_axes(Conversion& c, TensorId x, int64_t a, int64_t b) {
  const int64_t rank = c.network().type(x).rank();
  if (rank == 0) {
    return x;
  }
  std::vector<int64_t> order = identity(rank);
  std::swap(order[static_cast<size_t>(normalize_dim(a, rank))],
            order[static_cast<size_t>(normalize_dim(b, rank))]);
  return c.network().add_transpose(x, order);
}

/// transpose(dim0, dim1) and its aliases, which name the arguments differently.
Compute swap(const char* first, const char* second) {
  return [first, second](Conversion& c, const Node& node) {
    return swap_axes(c, c.tensor(node, "self"), node.integer(first), node.integer(second));
  };
}

/// t: a matrix transposed, a vector as it is.
TensorId transpose_matrix(Conversion& c, const Node& node) {
  const TensorId x = c.tensor(node, "self");
  return c.network().type(x).rank() < 2 ? x : swap_axes(c, x, -1, -2);
}

TensorId reverse_axes(Conversion& c, const Node& node) {
  const TensorId x = c.tensor(node, "self");
  std::vector<int64_t> order = identity(c.network().type(x).rank());
  std::reverse(order.begin(), order.end());
  return c.network().add_transpose(x, order);
}

/// The axes `source` go to `destination`, the others keep their order.
TensorId move_axes(Conversion& c, const Node& node) {
  const TensorId x = c.tensor(node, "self");
  const int64_t rank = c.network().type(x).rank();
  const std::vector<int64_t> source = ints_of(node, "source");
  const std::vector<int64_t> destination = ints_of(node, "destination");
  std::vector<int64_t> order(static_cast<size_t>(rank), -1);
  std::vector<int64_t> rest = identity(rank);
  for (size_t i = 0; i < source.size(); ++i) {
    const int64_t from = normalize_dim(source[i], rank);
    order[static_cast<size_t>(normalize_dim(destination[i], rank))] = from;
    rest.erase(std::find(rest.begin(), rest.end(), from));
  }
  auto next = rest.begin();
  for (int64_t& axis : order) {
    axis = axis < 0 ? *next++ : axis;
  }
  return c.network().add_transpose(x, order);
}

/// [N, C r r, H, W] → [N, C, H r, W r]; leading axes of any number.
TensorId pixel_shuffle(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = c.tensor(node, "self");
  const Expr r = node.sym_int("upscale_factor");
  const Shape& shape = n.type(x).shape;
  const size_t lead = shape.size() - 3;
  Shape split(shape.begin(), shape.begin() + static_cast<int64_t>(lead));
  const Expr channels = floor_div(shape[lead], r * r);
  for (const Expr& size : {channels, r, r, shape[lead + 1], shape[lead + 2]}) {
    split.push_back(size);
  }
  std::vector<int64_t> order = identity(static_cast<int64_t>(split.size()));
  const auto at = static_cast<int64_t>(lead);
  const std::vector<int64_t> tail = {at, at + 3, at + 1, at + 4, at + 2};
  std::copy(tail.begin(), tail.end(), order.begin() + at);
  const TensorId moved = n.add_transpose(n.add_reshape(x, split), order);
  return n.add_reshape(moved, c.output_meta(node).shape);
}

/// [N, C, H r, W r] → [N, C r r, H, W].
TensorId pixel_unshuffle(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = c.tensor(node, "self");
  const Expr r = node.sym_int("downscale_factor");
  const Shape& shape = n.type(x).shape;
  const size_t lead = shape.size() - 3;
  Shape split(shape.begin(), shape.begin() + static_cast<int64_t>(lead) + 1);
  for (const Expr& size : {floor_div(shape[lead + 1], r), r, floor_div(shape[lead + 2], r), r}) {
    split.push_back(size);
  }
  std::vector<int64_t> order = identity(static_cast<int64_t>(split.size()));
  const auto at = static_cast<int64_t>(lead);
  const std::vector<int64_t> tail = {at, at + 2, at + 4, at + 1, at + 3};
  std::copy(tail.begin(), tail.end(), order.begin() + at);
  const TensorId moved = n.add_transpose(n.add_reshape(x, split), order);
  return n.add_reshape(moved, c.output_meta(node).shape);
}

/// Channels as [groups, C / groups], these two swapped.
TensorId channel_shuffle(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = c.tensor(node, "self");
  const Expr groups = node.sym_int("groups");
  Shape split = n.type(x).shape;
  split[1] = floor_div(split[1], groups);
  split.insert(split.begin() + 1, groups);
  std::vector<int64_t> order = identity(static_cast<int64_t>(split.size()));
  std::swap(order[1], order[2]);
  const TensorId moved = n.add_transpose(n.add_reshape(x, split), order);
  return n.add_reshape(moved, c.output_meta(node).shape);
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_view(ConverterRegistry& r) {
  using namespace aten;
  for (const char* name :
       {"view.default",          "_unsafe_view.default", "reshape.default",
        "_reshape_copy.default", "view_copy.default",    "view_as.default",
        "reshape_as.default",    "flatten.using_ints",   "unflatten.int",
        "ravel.default",         "squeeze.default",      "squeeze.dim",
        "squeeze.dims",          "unsqueeze.default",    "squeeze_copy.default",
        "squeeze_copy.dim",      "squeeze_copy.dims",    "unsqueeze_copy.default",
        "atleast_1d.default",    "atleast_2d.default",   "atleast_3d.default"}) {
    r.add(std::string("aten.") + name, single(reshape));
  }
  for (const char* name :
       {"expand.default", "expand_copy.default", "expand_as.default", "broadcast_to.default"}) {
    r.add(std::string("aten.") + name, single(expand));
  }
  r.add("aten.broadcast_tensors.default", several(broadcast_tensors));
  r.add("aten.permute.default", single(permute));
  r.add("aten.permute_copy.default", single(permute));
  r.add("aten.transpose.int", single(swap("dim0", "dim1")));
  r.add("aten.transpose_copy.int", single(swap("dim0", "dim1")));
  r.add("aten.swapaxes.default", single(swap("axis0", "axis1")));
  r.add("aten.swapdims.default", single(swap("dim0", "dim1")));
  for (const char* name : {"t", "t_copy", "mT", "adjoint"}) {
    r.add(std::string("aten.") + name + ".default", single(transpose_matrix));
  }
  r.add("aten.numpy_T.default", single(reverse_axes));
  for (const char* name : {"movedim", "moveaxis"}) {
    r.add(std::string("aten.") + name + ".int", single(move_axes));
    r.add(std::string("aten.") + name + ".intlist", single(move_axes));
  }
  r.add("aten.pixel_shuffle.default", single(pixel_shuffle));
  r.add("aten.pixel_unshuffle.default", single(pixel_unshuffle));
  r.add("aten.channel_shuffle.default", single(channel_shuffle));
  r.add("aten.native_channel_shuffle.default", single(channel_shuffle));
}

}  // namespace stator
