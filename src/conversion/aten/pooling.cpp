// SPDX-License-Identifier: Apache-2.0
//
// Pooling. The result's sizes are those that PyTorch recorded, so ceil_mode needs no rule here.
#include <algorithm>
#include <limits>
#include <optional>

#include "conversion/aten/formula.h"

namespace stator::aten {
namespace {

/// x with a batch axis: [N, C, spatial…].
TensorId batched(Conversion& c, const Node& node, size_t axes) {
  const DType dtype = compute_dtype(c.meta(node, "self").dtype);
  const TensorId x = c.operand(node, "self", dtype);
  Shape shape = c.network().type(x).shape;
  if (shape.size() == axes + 1) {
    shape.insert(shape.begin(), Expr(1));
  }
  return c.network().add_reshape(x, shape);
}

/// The last `axes` sizes of the result.
Shape spatial_sizes(const Conversion& c, const Node& node, size_t axes) {
  const Shape& shape = c.output_meta(node).shape;
  return {shape.end() - static_cast<int64_t>(axes), shape.end()};
}

std::vector<int64_t> list_or(const Node& node, const char* arg, size_t axes, int64_t otherwise) {
  std::vector<int64_t> values = ints_of(node, arg);
  return values.empty() ? std::vector<int64_t>(axes, otherwise) : spread(values, axes);
}

Pooling window(const Conversion& c, const Node& node, size_t axes, PoolOp op) {
  Pooling pool;
  pool.op = op;
  pool.kernel = spread(ints_of(node, "kernel_size"), axes);
  pool.stride =
      ints_of(node, "stride").empty() ? pool.kernel : spread(ints_of(node, "stride"), axes);
  pool.dilation = list_or(node, "dilation", axes, 1);
  pool.pad_before = pool.pad_after = list_or(node, "padding", axes, 0);
  pool.output_size = spatial_sizes(c, node, axes);
  pool.count_include_pad = node.boolean("count_include_pad", true);
  if (node.find("divisor_override") != nullptr && !node.is_none("divisor_override")) {
    pool.divisor = node.integer("divisor_override");
  }
  return pool;
}

Compute pool(size_t axes, PoolOp op) {
  return [axes, op](Conversion& c, const Node& node) {
    const TensorId y =
        c.network().add_pooling_nd(batched(c, node, axes), window(c, node, axes, op));
    return c.network().add_reshape(y, c.output_meta(node).shape);
  };
}

Compute adaptive_pool(size_t axes, PoolOp op) {
  return [axes, op](Conversion& c, const Node& node) {
    AdaptivePooling attributes{op, spatial_sizes(c, node, axes), false};
    const TensorId y =
        c.network().add_adaptive_pooling(batched(c, node, axes), std::move(attributes));
    return c.network().add_reshape(y, c.output_meta(node).shape);
  };
}

Support constant_window(const SupportContext& c, const Node& node) {
  return all_of({constant_arguments(
                     node, {"kernel_size", "stride", "padding", "dilation", "divisor_override"}),
                 floating_point_argument(c, node, "self")});
}

Support adaptive(const SupportContext& c, const Node& node) {
  return floating_point_argument(c, node, "self");
}

/// The elements that windows see, by their places: [windows, elements of one], int64. Where `valid`
/// is false a window has no such element.
struct Windows {
  Term place, valid;
};

Term size_of(Conversion& c, const Expr& size) {
  return {c, size.is_constant() ? whole(c, size.constant(), DType::kInt64)
                                : c.network().add_size_value(size)};
}

/// Axis k of `axes` windowed axes: [1.., outputs, 1.., kernel, 1..].
Term along(Conversion& c, size_t k, size_t axes, const Expr& outputs, const Expr& step,
           int64_t kernel, int64_t dilation) {
  Network& n = c.network();
  Shape first(2 * axes, Expr(1)), second = first;
  first[k] = outputs;
  second[axes + k] = kernel;
  const TensorId start = n.add_iota(outputs, 0, step, DType::kInt64);
  const TensorId offset = n.add_iota(kernel, 0, dilation, DType::kInt64);
  return Term(c, n.add_reshape(start, first)) + Term(c, n.add_reshape(offset, second));
}

Windows windows_of(Conversion& c, const Pooling& pool, const Shape& sizes) {
  const size_t axes = sizes.size();
  std::optional<Term> place, valid;
  for (size_t k = 0; k < axes; ++k) {
    const Term size = size_of(c, sizes[k]);
    const Term at =
        along(c, k, axes, pool.output_size[k], pool.stride[k], pool.kernel[k], pool.dilation[k]) -
        static_cast<double>(pool.pad_before[k]);
    const Term here = (at >= 0) & (at < size);
    place = place ? *place * size + at : at;
    valid = valid ? *valid & here : here;
  }
  Expr elements = 1;
  for (const int64_t kernel : pool.kernel) elements = elements * kernel;
  const Shape all = {product(pool.output_size), elements};
  const auto flat = [&](Term t) { return Term(c, c.network().add_reshape(t.id(), all)); };
  return {flat(where(*valid, *place, 0)), flat(*valid)};
}

/// The greatest of each window of x [N, C, spatial…] and its place: the first of equals, the last
/// NaN, as PyTorch's kernel finds them. [N, C, windows] both.
std::vector<TensorId> greatest(Conversion& c, TensorId x, const Windows& windows) {
  Network& n = c.network();
  const Shape& shape = n.type(x).shape;
  const Shape spatial(shape.begin() + 2, shape.end());
  const TensorId flat = n.add_reshape(x, {shape[0], shape[1], product(spatial)});
  const Term seen(c, n.add_gather(flat, windows.place.id(), 2));
  const Term inside = where(windows.valid, seen, -std::numeric_limits<double>::infinity());
  const Term best(c, n.add_reduce(inside.id(), ReduceOp::kMax, {3}, true));
  // Candidates: the place; for NaN its negative, so that the last one is the least.
  const Term place = where(is_nan(inside), -1.0 - windows.place, windows.place);
  const Term fits = windows.valid & ((inside == best) | is_nan(inside));
  const Term candidate = where(fits, place, 0x1p62);
  const Term least(c, n.add_reduce(candidate.id(), ReduceOp::kMin, {3}, false));
  return {n.add_reduce(inside.id(), ReduceOp::kMax, {3}, false),
          where(least < 0, -1.0 - least, least).id()};
}

std::vector<TensorId> as_recorded(Conversion& c, const Node& node, std::vector<TensorId> results) {
  for (size_t i = 0; i < results.size(); ++i) {
    const Shape& shape = c.output_meta(node, static_cast<int>(i)).shape;
    results[i] = c.network().add_reshape(results[i], shape);
  }
  return results;
}

ComputeAll pool_with_places(size_t axes) {
  return [axes](Conversion& c, const Node& node) -> std::vector<TensorId> {
    if (!c.used(node, 1)) {
      return {pool(axes, PoolOp::kMax)(c, node), -1};
    }
    const TensorId x = batched(c, node, axes);
    const Shape& shape = c.network().type(x).shape;
    const Pooling attributes = window(c, node, axes, PoolOp::kMax);
    const Windows windows = windows_of(c, attributes, {shape.begin() + 2, shape.end()});
    return as_recorded(c, node, greatest(c, x, windows));
  };
}

/// Windows of output i: floor(i in / out) to ceil((i + 1) in / out). All sizes are known, so that
/// the places are a table.
Windows adaptive_windows(Conversion& c, const Shape& sizes, const Shape& outputs) {
  std::vector<std::vector<int64_t>> lists(1);  // of one window each
  for (size_t k = 0; k < sizes.size(); ++k) {
    const int64_t in = sizes[k].constant(), out = outputs[k].constant();
    std::vector<std::vector<int64_t>> next;
    for (const std::vector<int64_t>& before : lists) {
      for (int64_t i = 0; i < out; ++i) {
        std::vector<int64_t>& list = next.emplace_back();
        const int64_t first = i * in / out, last = ((i + 1) * in + out - 1) / out;
        const std::vector<int64_t> outer = k == 0 ? std::vector<int64_t>{0} : before;
        for (const int64_t base : outer) {
          for (int64_t at = first; at < last; ++at) list.push_back(base * in + at);
        }
      }
    }
    lists = std::move(next);
  }
  size_t most = 0;
  for (const auto& list : lists) most = std::max(most, list.size());
  std::vector<int64_t> table;
  for (auto& list : lists) {
    list.resize(most, -1);
    table.insert(table.end(), list.begin(), list.end());
  }
  const Term place(
      c, int64_table(c, table,
                     {Expr(static_cast<int64_t>(lists.size())), Expr(static_cast<int64_t>(most))}));
  return {where(place < 0, 0, place), place >= 0};
}

ComputeAll adaptive_with_places(size_t axes) {
  return [axes](Conversion& c, const Node& node) -> std::vector<TensorId> {
    if (!c.used(node, 1)) {
      return {adaptive_pool(axes, PoolOp::kMax)(c, node), -1};
    }
    const TensorId x = batched(c, node, axes);
    const Shape& shape = c.network().type(x).shape;
    const Windows windows =
        adaptive_windows(c, {shape.begin() + 2, shape.end()}, spatial_sizes(c, node, axes));
    return as_recorded(c, node, greatest(c, x, windows));
  };
}

/// Places need sizes that are known, and a table that is not too large.
Validate known_places(size_t axes) {
  return [axes](const SupportContext& c, const Node& node) {
    if (only_outputs_before(c, node, 1)) {
      return adaptive(c, node);
    }
    double elements = 1;
    const Shape& in = c.meta(node, "self").shape;
    const Shape& out = c.graph.value(node.outputs[0]).tensor.shape;
    for (size_t k = 1; k <= axes; ++k) {
      const Expr& a = in[in.size() - k];
      const Expr& b = out[out.size() - k];
      if (!a.is_constant() || !b.is_constant()) {
        return Support::no("the places of its maxima are asked for, and its sizes are symbolic");
      }
      elements *= static_cast<double>(a.constant() + 2 * b.constant());
    }
    return elements > 1e6 ? Support::no("the places of its maxima are asked for, and it is large")
                          : adaptive(c, node);
  };
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_pooling(ConverterRegistry& r) {
  using namespace aten;
  for (size_t axes = 1; axes <= 3; ++axes) {
    const std::string d = std::to_string(axes) + "d";
    r.add("aten.max_pool" + d + ".default", single(pool(axes, PoolOp::kMax), constant_window));
    r.add("aten.max_pool" + d + "_with_indices.default",
          several(pool_with_places(axes), constant_window));
    r.add("aten.avg_pool" + d + ".default", single(pool(axes, PoolOp::kAverage), constant_window));
    r.add("aten.adaptive_avg_pool" + d + ".default",
          single(adaptive_pool(axes, PoolOp::kAverage), adaptive));
    r.add("aten._adaptive_avg_pool" + d + ".default",
          single(adaptive_pool(axes, PoolOp::kAverage), adaptive));
    r.add("aten.adaptive_max_pool" + d + ".default",
          several(adaptive_with_places(axes), known_places(axes)));
  }
}

}  // namespace stator
