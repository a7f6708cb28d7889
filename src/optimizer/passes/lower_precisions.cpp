// SPDX-License-Identifier: Apache-2.0
#include <map>

#include "optimizer/passes/passes.h"
#include "optimizer/passes/rewrite.h"

namespace stator {
namespace {

class LowerPrecisions {
 public:
  LowerPrecisions(const Network& network, DType low)
      : network_(network), low_(low), rewriter_(network) {}

  int run(Network* result) {
    int fired = 0;
    for (const NetworkLayer& layer : network_.layers) {
      if (!gains(layer)) {
        rewriter_.copy(layer);
        continue;
      }
      lower(layer);
      ++fired;
    }
    if (fired > 0) *result = rewriter_.finish();
    return fired;
  }

 private:
  /// Products of float32 alone. Attention keeps float32 under a mask that is added: a half has no
  /// room for the large negative numbers that stand for "not at all" there.
  bool gains(const NetworkLayer& layer) const {
    const bool attention = std::holds_alternative<Attention>(layer.attributes);
    if (!attention && !std::holds_alternative<MatrixMultiply>(layer.attributes) &&
        !std::holds_alternative<Convolution>(layer.attributes)) {
      return false;
    }
    for (size_t i = 0; i < layer.inputs.size(); ++i) {
      const DType dtype = network_.type(layer.inputs[i]).dtype;
      const bool mask = attention && i == 3;
      if (mask ? dtype != DType::kBool : dtype != DType::kFloat32) return false;
    }
    return true;
  }

  void lower(const NetworkLayer& layer) {
    Network& to = rewriter_.network();
    std::vector<TensorId> inputs;
    for (const TensorId id : layer.inputs) {
      const TensorId whole = rewriter_.map(id);
      to.current = layer.provenance;
      inputs.push_back(network_.type(id).dtype == DType::kBool ? whole : lowered(id, whole));
    }
    const TensorId low = to.add_layer(layer.attributes, std::move(inputs))[0];
    const TensorId result = to.add_cast(low, DType::kFloat32);
    to.tensor(result).type = network_.type(layer.outputs[0]);
    to.tensor(result).name = network_.tensor(layer.outputs[0]).name;
    rewriter_.bind(layer.outputs[0], result);
  }

  /// One cast for all readers.
  TensorId lowered(TensorId id, TensorId whole) {
    const auto [place, is_new] = casts_.emplace(id, -1);
    if (is_new) place->second = rewriter_.network().add_cast(whole, low_);
    return place->second;
  }

  const Network& network_;
  const DType low_;
  Rewriter rewriter_;
  std::map<TensorId, TensorId> casts_;
};

}  // namespace

int lower_precisions(Network& network, const OptimizerOptions& options) {
  if (!options.low_precision.has_value() || options.traits.fast_product == nullptr ||
      !options.traits.fast_product(*options.low_precision)) {
    return 0;
  }
  Network result;
  const int fired = LowerPrecisions(network, *options.low_precision).run(&result);
  if (fired > 0) network = std::move(result);
  return fired;
}

}  // namespace stator
