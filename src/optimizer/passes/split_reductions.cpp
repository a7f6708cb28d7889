// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "base/float_element.h"
#include "optimizer/passes/passes.h"
#include "optimizer/passes/rewrite.h"

namespace stator {
namespace {

/// What is known of a size; where nothing is, it is taken for large.
int64_t at_most(const Expr& size, const Bounds& bounds) {
  return bounds.greatest(size).value_or(INT32_MAX);
}

bool has_parts(ReduceOp op) { return op != ReduceOp::kArgMax && op != ReduceOp::kArgMin; }

class SplitReductions {
 public:
  SplitReductions(const Network& network, const BackendTraits& traits)
      : network_(network), traits_(traits), rewriter_(network) {}

  int run(Network* result) {
    int fired = 0;
    for (const NetworkLayer& layer : network_.layers) {
      const auto* reduce = std::get_if<Reduce>(&layer.attributes);
      if (reduce != nullptr && is_long(*reduce, network_.type(layer.inputs[0])) &&
          split(*reduce, layer)) {
        ++fired;
      } else {
        rewriter_.copy(layer);
      }
    }
    if (fired > 0) *result = rewriter_.finish();
    return fired;
  }

 private:
  /// Few results, each of many elements.
  bool is_long(const Reduce& reduce, const TensorType& x) const {
    if (!has_parts(reduce.op) || is_complex(x.dtype)) return false;
    Expr results = 1, elements = 1;
    for (size_t k = 0; k < x.shape.size(); ++k) {
      const bool reduced = std::count(reduce.axes.begin(), reduce.axes.end(), k) > 0;
      (reduced ? elements : results) = (reduced ? elements : results) * x.shape[k];
      // The greatest of nothing is an error, which the whole reduction tells.
      const bool is_extreme = reduce.op == ReduceOp::kMax || reduce.op == ReduceOp::kMin;
      if (reduced && is_extreme && network_.bounds.least(x.shape[k]).value_or(0) < 1) return false;
    }
    return at_most(results, network_.bounds) <= traits_.few_results &&
           at_most(elements, network_.bounds) >= traits_.long_reduction;
  }

  /// How often the first axes, all but the last, repeat it.
  int64_t count_of(const std::vector<int64_t>& axes, const TensorType& x) const {
    int64_t count = 1;
    for (const int64_t axis : axes) {
      count *= std::min<int64_t>(at_most(x.shape[static_cast<size_t>(axis)], network_.bounds),
                                 kEnoughParts);
    }
    return count;
  }

  bool split(const Reduce& reduce, const NetworkLayer& layer) {
    const TensorType& x = network_.type(layer.inputs[0]);
    std::vector<int64_t> parts = reduce.axes, rest;  // of the second step, and of the first
    std::sort(parts.begin(), parts.end());
    int64_t divisor = 0;
    while (parts.size() > 1 &&
           (rest.empty() || count_of(parts, x) >= kEnoughParts * kEnoughParts)) {
      rest.insert(rest.begin(), parts.back());
      parts.pop_back();
    }
    if (rest.empty() || count_of(parts, x) < kLeastParts) {
      parts = reduce.axes;
      std::sort(parts.begin(), parts.end());
      divisor = divisor_of(x.shape[static_cast<size_t>(parts.back())]);
      if (divisor == 0) return false;
    }
    rewrite(reduce, layer, parts, rest, divisor);
    return true;
  }

  void rewrite(const Reduce& reduce, const NetworkLayer& layer, const std::vector<int64_t>& parts,
               std::vector<int64_t> rest, int64_t divisor) {
    Network& n = rewriter_.network();
    n.current = layer.provenance;
    // Halves are rounded once, as by the whole reduction.
    const DType to = network_.type(layer.outputs[0]).dtype;
    const bool rounds = is_half(network_.type(layer.inputs[0]).dtype) && is_half(to);
    TensorId id = rewriter_.map(layer.inputs[0]);
    if (rounds) id = n.add_cast(id, DType::kFloat32);
    if (divisor > 0) {
      const int64_t axis = parts.back();
      std::vector<Expr> shape = n.type(id).shape;
      const int64_t length = shape[static_cast<size_t>(axis)].constant();
      shape[static_cast<size_t>(axis)] = Expr(divisor);
      shape.insert(shape.begin() + axis + 1, Expr(length / divisor));
      id = n.add_reduce(n.add_reshape(id, shape), reduce.op, {axis + 1}, false);
    } else {
      id = n.add_reduce(id, reduce.op, std::move(rest), true);
    }
    id = n.add_reduce(id, reduce.op, parts, true);
    if (rounds) id = n.add_cast(id, to);
    if (!reduce.keep_dims) id = n.add_reshape(id, network_.type(layer.outputs[0]).shape);
    n.tensor(id).name = network_.tensor(layer.outputs[0]).name;
    rewriter_.bind(layer.outputs[0], id);
  }

  /// Of an axis a number of equal parts, about as many as each has elements; 0: there is none.
  static int64_t divisor_of(const Expr& size) {
    if (!size.is_constant()) return 0;
    const int64_t length = size.constant();
    auto parts = static_cast<int64_t>(std::sqrt(static_cast<double>(length)));
    while (parts >= kLeastParts && length % parts != 0) --parts;
    return parts >= kLeastParts ? parts : 0;
  }

  static constexpr int64_t kEnoughParts = 128, kLeastParts = 32;

  const Network& network_;
  const BackendTraits& traits_;
  Rewriter rewriter_;
};

}  // namespace

int split_reductions(Network& network, const OptimizerOptions& options) {
  if (options.traits.few_results == 0) return 0;
  Network result;
  const int fired = SplitReductions(network, options.traits).run(&result);
  if (fired > 0) network = std::move(result);
  return fired;
}

}  // namespace stator
