// SPDX-License-Identifier: Apache-2.0
//
// Sorting, top-k and running sums.
#include <algorithm>
#include <numeric>

#include "conversion/aten/index.h"
#include "conversion/aten/slicing.h"

namespace stator::aten {
namespace {

/// A running sum, product or logarithm of sums in the result's dtype (int64 for integers).
Compute scan(ScanOp op) {
  return [op](Conversion& c, const Node& node) {
    Network& n = c.network();
    const TensorId x = c.operand(node, "self", compute_dtype(c.output_meta(node).dtype));
    const int64_t rank = n.type(x).rank();
    return rank == 0 ? x : n.add_layer(Scan{op, normalize_dim(node.integer("dim"), rank)}, {x})[0];
  };
}

/// Of values that have an order in every backend: bool as uint8, half precision as float32.
TensorId ordered(Conversion& c, const Node& node) {
  const DType dtype = c.meta(node, "self").dtype;
  const TensorId x =
      c.operand(node, "self", dtype == DType::kBool ? DType::kUInt8 : compute_dtype(dtype));
  return at_least_one_axis(c, x);
}

/// Values and places in the shapes that PyTorch recorded.
std::vector<TensorId> as_recorded(Conversion& c, const Node& node, std::vector<TensorId> results) {
  for (size_t i = 0; i < results.size() && i < node.outputs.size(); ++i) {
    const Shape& shape = c.output_meta(node, static_cast<int>(i)).shape;
    results[i] = c.network().add_reshape(results[i], shape);
  }
  return results;
}

/// A running extreme and its places.
ComputeAll running_extreme(ScanOp op) {
  return [op](Conversion& c, const Node& node) {
    const TensorId x = ordered(c, node);
    const int64_t axis = normalize_dim(node.integer("dim"), c.network().type(x).rank());
    return as_recorded(c, node, c.network().add_layer(Scan{op, axis}, {x}));
  };
}

constexpr int64_t kSortedByRadix = 32768;  // integers of one axis, from so many on, by PyTorch

/// Whether equal elements stand as they stood: asked for, or on a GPU; PyTorch's CPU kernels have
/// an order of their own, which the layers know.
bool stable(const Conversion& c, const Node& node) {
  return node.boolean("stable") || on_gpu(c.graph());
}

bool sorts_stably(const Conversion& c, const Node& node) {
  const TensorMeta& meta = c.meta(node, "self");
  return stable(c, node) ||
         (is_integral(meta.dtype) && meta.rank() == 1 && !node.boolean("descending") &&
          meta.shape[0].is_constant() && meta.shape[0].constant() >= kSortedByRadix);
}

std::vector<TensorId> topk(Conversion& c, const Node& node) {
  const TensorId x = ordered(c, node);
  const int64_t axis = normalize_dim(node.integer("dim", -1), c.network().type(x).rank());
  const TopK layer{axis, node.sym_int("k"), node.boolean("largest", true), stable(c, node),
                   node.boolean("sorted", true)};
  return as_recorded(c, node, c.network().add_layer(layer, {x}));
}

std::vector<TensorId> sorted(Conversion& c, const Node& node) {
  const TensorId x = ordered(c, node);
  const int64_t axis = normalize_dim(node.integer("dim", -1), c.network().type(x).rank());
  return c.network().add_layer(Sort{axis, node.boolean("descending"), sorts_stably(c, node)}, {x});
}

std::vector<TensorId> sort(Conversion& c, const Node& node) {
  return as_recorded(c, node, sorted(c, node));
}

/// The smallest `count` along axis, of which the greatest comes last, with their places; else in
/// any order.
std::vector<TensorId> smallest(Conversion& c, const Node& node, TensorId x, int64_t axis,
                               const Expr& count) {
  return c.network().add_layer(TopK{axis, count, false, stable(c, node), false}, {x});
}

/// The k-th smallest along dim (from 1) and its place.
std::vector<TensorId> kthvalue(Conversion& c, const Node& node) {
  const TensorId x = ordered(c, node);
  const int64_t axis = normalize_dim(node.integer("dim", -1), c.network().type(x).rank());
  const Expr k = node.sym_int("k");
  std::vector<TensorId> results = smallest(c, node, x, axis, k);
  for (TensorId& result : results) {
    result = slice_axis(c, result, axis, k - 1, 1);
  }
  return as_recorded(c, node, results);
}

/// The lower middle of all elements; NaN where one is NaN.
TensorId median(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = ordered(c, node);
  const Expr count = product(n.type(x).shape);
  const TensorId flat = n.add_reshape(x, {count});
  const Expr middle = floor_div(count - 1, 2);
  const TensorId lower = smallest(c, node, flat, 0, middle + 1)[0];
  const TensorId result = slice_axis(c, lower, 0, middle, 1);
  if (!is_floating_point(n.type(x).dtype)) {
    return n.add_reshape(result, {});
  }
  const TensorId most = n.add_reduce(flat, ReduceOp::kMax, {0}, true);  // NaN where one is
  return n.add_reshape(n.add_select(n.add_unary(most, UnaryOp::kIsNan), most, result), {});
}

/// The lower middle along dim and its place, of equals in the order of their places; or the first
/// NaN.
std::vector<TensorId> median_along(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = ordered(c, node);
  const int64_t axis = normalize_dim(node.integer("dim"), n.type(x).rank());
  const Expr middle = floor_div(n.type(x).shape[static_cast<size_t>(axis)] - 1, 2);
  std::vector<TensorId> results = n.add_layer(TopK{axis, middle + 1, false, true, false}, {x});
  for (TensorId& result : results) {
    result = slice_axis(c, result, axis, middle, 1);
  }
  if (is_floating_point(n.type(x).dtype)) {
    const TensorId most = n.add_reduce(x, ReduceOp::kMax, {axis}, true);  // NaN where one is
    const TensorId is_nan = n.add_unary(most, UnaryOp::kIsNan);
    results[0] = n.add_select(is_nan, most, results[0]);
    if (c.used(node, 1)) {
      const TensorId first = n.add_reduce(x, ReduceOp::kArgMax, {axis}, true);
      results[1] = n.add_select(is_nan, first, results[1]);
    }
  }
  return as_recorded(c, node, results);
}

/// Which of so many NaN and nothing else PyTorch's CPU kernel takes for the middle: no comparison
/// holds, and the C++ library's selection moves them all the same.
int64_t middle_of_nan(int64_t size) {
  std::vector<int64_t> places(static_cast<size_t>(size));
  std::iota(places.begin(), places.end(), int64_t{0});
  std::nth_element(places.begin(), places.begin(), places.end(),
                   [](int64_t, int64_t) { return false; });
  return places[0];
}

/// The lower middle of what is a number along axis, and its place; NaN, the greatest, is behind it.
std::vector<TensorId> middle_number(Conversion& c, TensorId x, int64_t axis) {
  Network& n = c.network();
  const Expr size = n.type(x).shape[static_cast<size_t>(axis)];
  const Expr middle = floor_div(size - 1, 2);
  std::vector<TensorId> results = n.add_layer(Sort{axis, false, true}, {x});
  if (!is_floating_point(n.type(x).dtype)) {
    for (TensorId& result : results) result = slice_axis(c, result, axis, middle, 1);
    return results;
  }
  const TensorId is_nan = c.cast(n.add_unary(x, UnaryOp::kIsNan), DType::kInt64);
  const TensorId none = n.add_reduce(is_nan, ReduceOp::kSum, {axis}, true);
  const TensorId last = elementwise(c, {size_tensor(c, size - 1), none}, ElementwiseOp::kSub);
  const TensorId half =
      elementwise(c, {last, whole(c, 2, DType::kInt64)}, ElementwiseOp::kFloorDiv);
  const TensorId place = elementwise(c, {half, whole(c, 0, DType::kInt64)}, ElementwiseOp::kMax);
  for (TensorId& result : results) {
    result = n.add_layer(GatherElements{axis}, {result, place})[0];
  }
  if (size.is_constant()) {
    const TensorId all = elementwise(c, {none, size_tensor(c, size)}, ElementwiseOp::kEqual);
    const TensorId of_nan = whole(c, middle_of_nan(size.constant()), DType::kInt64);
    results[1] = choose(c, {all, of_nan, results[1]});
  }
  return results;
}

TensorId nanmedian(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = ordered(c, node);
  return n.add_reshape(middle_number(c, n.add_reshape(x, {product(n.type(x).shape)}), 0)[0], {});
}

std::vector<TensorId> nanmedian_along(Conversion& c, const Node& node) {
  const TensorId x = ordered(c, node);
  const int64_t axis = normalize_dim(node.integer("dim"), c.network().type(x).rank());
  return as_recorded(c, node, middle_number(c, x, axis));
}

/// The least of the most frequent values along dim, and the place that comes last of it in the
/// order: runs of equals are counted from where they begin to where they end.
std::vector<TensorId> mode(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = ordered(c, node);
  const int64_t axis = normalize_dim(node.integer("dim", -1), n.type(x).rank());
  const Expr size = n.type(x).shape[static_cast<size_t>(axis)];
  const std::vector<TensorId> order = n.add_layer(Sort{axis, false, stable(c, node)}, {x});
  const TensorId before = slice_axis(c, order[0], axis, 0, size - 1);
  const TensorId behind = slice_axis(c, order[0], axis, 1, size - 1);
  const TensorId changes = n.add_elementwise(before, behind, ElementwiseOp::kNotEqual);
  Shape edge = n.type(x).shape;
  edge[static_cast<size_t>(axis)] = 1;
  const TensorId yes = n.add_expand(c.cast(whole(c, 1, DType::kInt64), DType::kBool), edge);
  const TensorId begins = n.add_concatenation({yes, changes}, axis);
  const TensorId ends = n.add_concatenation({changes, yes}, axis);
  const TensorId place =
      iota_along(c, size, 0, 1, static_cast<size_t>(axis), n.type(x).shape.size());
  const TensorId zero = whole(c, 0, DType::kInt64);
  const TensorId begin =
      n.add_layer(Scan{ScanOp::kMax, axis}, {n.add_select(begins, place, zero)})[0];
  const TensorId before_end = n.add_elementwise(place, begin, ElementwiseOp::kSub);
  const TensorId count =
      n.add_elementwise(before_end, whole(c, 1, DType::kInt64), ElementwiseOp::kAdd);
  const TensorId best =
      n.add_reduce(n.add_select(ends, count, zero), ReduceOp::kArgMax, {axis}, true);
  std::vector<TensorId> results;
  for (const TensorId sequence : order) {
    results.push_back(n.add_layer(GatherElements{axis}, {sequence, best})[0]);
  }
  return as_recorded(c, node, results);
}

/// The size along dim; 1 of a number.
Expr length_along_dim(const SupportContext& c, const Node& node, int64_t otherwise) {
  const TensorMeta& meta = c.meta(node, "self");
  if (meta.rank() == 0) return 1;
  return meta
      .shape[static_cast<size_t>(normalize_dim(node.integer("dim", otherwise), meta.rank()))];
}

constexpr int64_t kMostInABlock = 4096;  // elements that a GPU's block sorts in its own memory

Support short_rows(const SupportContext& c, const Node& node) {
  return rows_for_one_block(c, length_along_dim(c, node, -1), kMostInABlock);
}

Support short_columns(const SupportContext& c, const Node& node) {
  return rows_for_one_block(c, length_along_dim(c, node, 0), kMostInABlock);
}

/// Of few and long rows a block, or of columns a thread, would take each by itself.
Support many_rows(const SupportContext& c, const Node& node) {
  const TensorMeta& meta = c.meta(node, "self");
  const Expr length = length_along_dim(c, node, -1), all = product(meta.shape);
  const bool rows =
      meta.rank() == 0 || normalize_dim(node.integer("dim"), meta.rank()) == meta.rank() - 1;
  const int64_t enough = rows ? 64 : 2048;
  const std::optional<int64_t> most = c.graph.bounds.greatest(length);
  if (!most || c.graph.bounds.greatest(all).value_or(INT64_MAX) >= enough * *most) {
    return Support::yes();
  }
  return rows_for_one_block(c, length, rows ? 65536 : 8192);
}

Support some_along_dim(const SupportContext& c, const Node& node) {
  const TensorMeta& meta = c.meta(node, "self");
  if (meta.rank() == 0) return Support::yes();
  const auto axis = static_cast<size_t>(normalize_dim(node.integer("dim", -1), meta.rank()));
  return c.graph.bounds.proves_less_equal(1, meta.shape[axis])
             ? Support::yes()
             : Support::no("there may be no elements along dim, for which PyTorch raises an error");
}

/// Of no elements PyTorch raises an error; among values as frequent as others its GPU kernel takes
/// one by no rule.
Support mode_support(const SupportContext& c, const Node& node) {
  if (on_gpu(c.graph)) {
    return Support::no("which of the most frequent values it is depends on PyTorch's own kernel");
  }
  return some_along_dim(c, node);
}

/// Where there may be fewer than k, PyTorch raises one of two errors.
Support enough_elements(const SupportContext& c, const Node& node) {
  const TensorMeta& meta = c.meta(node, "self");
  const auto axis = static_cast<size_t>(normalize_dim(node.integer("dim", -1), meta.rank()));
  const Expr size = meta.rank() == 0 ? Expr(1) : meta.shape[axis];
  return c.graph.bounds.proves_less_equal(node.sym_int("k"), size)
             ? Support::yes()
             : Support::no("there may be fewer than k elements, for which PyTorch raises an error");
}

/// Of nothing PyTorch gives NaN.
Support some_elements(const SupportContext& c, const Node& node) {
  const Expr count = product(c.meta(node, "self").shape);
  return c.graph.bounds.proves_less_equal(1, count) ? Support::yes()
                                                    : Support::no("it may be of no elements");
}

constexpr int64_t kMostSorted = 16384;

/// What sorts all of many elements is slower than PyTorch's selection.
Support few_elements(const SupportContext& c, const Node& node) {
  const Expr count = product(c.meta(node, "self").shape);
  return c.graph.bounds.proves_less_equal(count, kMostSorted)
             ? some_elements(c, node)
             : Support::no("it may be of so many elements that PyTorch is faster");
}

Support value_alone(const SupportContext& c, const Node& node) {
  return only_outputs_before(c, node, 1);
}

Support some_value_alone(const SupportContext& c, const Node& node) {
  const Support enough = enough_elements(c, node);
  return enough ? value_alone(c, node) : enough;
}

/// Which of the equal middles a GPU's kernel finds has no rule.
Support median_support(const SupportContext& c, const Node& node) {
  const Support some = all_of({some_along_dim(c, node), short_rows(c, node)});
  return some && on_gpu(c.graph) ? value_alone(c, node) : some;
}

/// The place among NaN alone is known where their number is.
Support nanmedian_support(const SupportContext& c, const Node& node) {
  const TensorMeta& meta = c.meta(node, "self");
  const auto axis = static_cast<size_t>(normalize_dim(node.integer("dim"), meta.rank()));
  const bool known =
      meta.rank() == 0 || !is_floating_point(meta.dtype) || meta.shape[axis].is_constant();
  const Support median = median_support(c, node);
  return median && !known ? value_alone(c, node) : median;
}

TensorId argsort(Conversion& c, const Node& node) {
  return c.network().add_reshape(sorted(c, node)[1], c.output_meta(node).shape);
}

TensorId msort(Conversion& c, const Node& node) {
  const TensorId x = ordered(c, node);
  return c.network().add_reshape(c.network().add_layer(Sort{0, false}, {x})[0],
                                 c.output_meta(node).shape);
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_order(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.cumsum.default", single(scan(ScanOp::kSum), many_rows));
  r.add("aten.cumprod.default", single(scan(ScanOp::kProd), many_rows));
  r.add("aten.logcumsumexp.default", single(scan(ScanOp::kLogSumExp), many_rows));
  r.add("aten.cummax.default", several(running_extreme(ScanOp::kMax), many_rows));
  r.add("aten.cummin.default", several(running_extreme(ScanOp::kMin), many_rows));
  r.add("aten.topk.default", several(topk));
  r.add("aten.sort.default", several(sort, short_rows));
  r.add("aten.sort.stable", several(sort, short_rows));
  // Which of equal elements PyTorch's own selection finds has no simpler rule than its steps.
  r.add("aten.kthvalue.default", several(kthvalue, some_value_alone));
  r.add("aten.mode.default", several(aten::mode, mode_support));
  r.add("aten.median.default", single(median, some_elements));
  r.add("aten.median.dim", several(median_along, median_support));
  r.add("aten.nanmedian.default", single(nanmedian, few_elements));
  r.add("aten.nanmedian.dim", several(nanmedian_along, nanmedian_support));
  r.add("aten.argsort.default", single(argsort, short_rows));
  r.add("aten.argsort.stable", single(argsort, short_rows));
  r.add("aten.msort.default", single(msort, short_columns));
}

}  // namespace stator
