// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>
#include <vector>

#include "base/float_element.h"
#include "optimizer/passes/passes.h"
#include "optimizer/passes/rewrite.h"

namespace stator {
namespace {

// Larger sums leave a GPU's caches, and would cost more time than the precision is worth.
constexpr int64_t kMostBytes = int64_t{8} << 20;

class WideSums {
 public:
  WideSums(const Network& network, const BackendTraits& traits)
      : network_(network), traits_(traits), readers_(layer_readers(network)), rewriter_(network) {
    for (const TensorId id : network.outputs) outputs_.insert(id);
  }

  int run(Network* result) {
    int fired = 0;
    for (const NetworkLayer& layer : network_.layers) {
      if (is_cast(layer) && rounded_.contains(layer.inputs[0])) {
        rewriter_.bind(layer.outputs[0], rewriter_.map(source_of(layer.inputs[0]).inputs[0]));
        wide_.insert(layer.outputs[0]);
        continue;
      }
      if (rounds_a_stream(layer)) {
        rounded_.insert(layer.outputs[0]);
        ++fired;
        continue;
      }
      rewriter_.copy(layer);
    }
    if (fired > 0) *result = rewriter_.finish();
    return fired;
  }

 private:
  static bool is_cast(const NetworkLayer& layer) {
    return std::holds_alternative<Cast>(layer.attributes);
  }
  static bool is_sum(const NetworkLayer& layer) {
    const auto* elementwise = std::get_if<Elementwise>(&layer.attributes);
    return elementwise != nullptr && elementwise->op == ElementwiseOp::kAdd;
  }
  const NetworkLayer& source_of(TensorId id) const {
    return network_.layers[static_cast<size_t>(network_.tensor(id).producer)];
  }
  const std::vector<size_t>& readers_of(TensorId id) const {
    return readers_[static_cast<size_t>(id)];
  }

  /// A cast to a half of a sum that other sums take up again: its readers all widen it, and one of
  /// them for a sum; or the sum has a term that is such a sum.
  bool rounds_a_stream(const NetworkLayer& cast) const {
    if (!is_cast(cast)) return false;
    const TensorId sum = cast.inputs[0], half = cast.outputs[0];
    const DType to = network_.type(half).dtype;
    const bool rounds =
        is_half(to) && network_.type(sum).dtype == DType::kFloat32 && traits_.math_dtype(to);
    if (!rounds || outputs_.contains(half) || network_.tensor(sum).producer < 0 ||
        !is_sum(source_of(sum)) || is_large(network_.type(sum))) {
      return false;
    }
    bool is_term = false;
    for (const size_t reader : readers_of(half)) {
      const NetworkLayer& widens = network_.layers[reader];
      if (!is_cast(widens) || network_.type(widens.outputs[0]).dtype != DType::kFloat32) {
        return false;
      }
      for (const size_t next : readers_of(widens.outputs[0])) {
        is_term = is_term || is_sum(network_.layers[next]);
      }
    }
    const std::vector<TensorId>& terms = source_of(sum).inputs;
    return is_term || std::any_of(terms.begin(), terms.end(),
                                  [&](TensorId term) { return wide_.contains(term); });
  }

  static bool is_large(const TensorType& type) {
    const Expr elements = product(type.shape);
    return elements.is_constant() && elements.constant() * dtype_bytes(type.dtype) > kMostBytes;
  }

  const Network& network_;
  const BackendTraits& traits_;
  std::vector<std::vector<size_t>> readers_;
  Rewriter rewriter_;
  std::set<TensorId> outputs_, rounded_, wide_;
};

}  // namespace

int keep_sums_wide(Network& network, const OptimizerOptions& options) {
  if (options.traits.math_dtype == nullptr) {
    return 0;
  }
  Network result;
  const int fired = WideSums(network, options.traits).run(&result);
  if (fired > 0) network = std::move(result);
  return fired;
}

}  // namespace stator
