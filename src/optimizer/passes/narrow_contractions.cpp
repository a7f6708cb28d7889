// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "base/float_element.h"
#include "optimizer/passes/passes.h"
#include "optimizer/passes/rewrite.h"

namespace stator {
namespace {

class Narrow {
 public:
  Narrow(const Network& source, const OptimizerOptions& options)
      : old_(source), options_(options), rewriter_(source) {}

  int run(Network* result) {
    for (const NetworkLayer& layer : old_.layers) {
      if (!narrow(layer) && !drop_round_trip(layer)) {
        rewriter_.copy(layer);
      }
    }
    if (fired_ > 0) {
      *result = rewriter_.finish();
    }
    return fired_;
  }

 private:
  /// What a tensor was before a cast from a half to float32; -1 when it is no such cast.
  TensorId half_source(TensorId id) const {
    const int32_t producer = old_.tensor(id).producer;
    if (producer < 0 || old_.type(id).dtype != DType::kFloat32) {
      return -1;
    }
    const NetworkLayer& layer = old_.layers[static_cast<size_t>(producer)];
    const bool widens =
        std::holds_alternative<Cast>(layer.attributes) && is_half(old_.type(layer.inputs[0]).dtype);
    return widens ? layer.inputs[0] : -1;
  }

  /// The operands as halves of one type, the mask of truth values as it is; nullopt when they are
  /// something else.
  std::optional<std::vector<TensorId>> half_operands(const NetworkLayer& layer) const {
    std::vector<TensorId> operands;
    std::optional<DType> half;
    for (const TensorId id : layer.inputs) {
      if (old_.type(id).dtype == DType::kBool) {
        operands.push_back(id);
        continue;
      }
      const TensorId source = half_source(id);
      if (source < 0 || (half.has_value() && *half != old_.type(source).dtype)) {
        return std::nullopt;
      }
      half = old_.type(source).dtype;
      operands.push_back(source);
    }
    return half.has_value() && options_.traits.math_dtype(*half) ? std::optional(operands)
                                                                 : std::nullopt;
  }

  bool narrow(const NetworkLayer& layer) {
    if (!std::holds_alternative<MatrixMultiply>(layer.attributes) &&
        !std::holds_alternative<Convolution>(layer.attributes) &&
        !std::holds_alternative<Attention>(layer.attributes)) {
      return false;
    }
    const auto operands = half_operands(layer);
    if (!operands.has_value()) {
      return false;
    }
    std::vector<TensorId> inputs;
    for (const TensorId id : *operands) {
      inputs.push_back(rewriter_.map(id));
    }
    Network& to = rewriter_.network();
    to.current = layer.provenance;
    const TensorId result = to.add_layer(layer.attributes, inputs)[0];
    rewriter_.bind(layer.outputs[0], to.add_cast(result, DType::kFloat32));
    ++fired_;
    return true;
  }

  /// half → float32 → the same half is nothing.
  bool drop_round_trip(const NetworkLayer& layer) {
    const auto* cast = std::get_if<Cast>(&layer.attributes);
    if (cast == nullptr || !is_half(cast->to) ||
        old_.type(layer.inputs[0]).dtype != DType::kFloat32) {
      return false;
    }
    const Network& to = rewriter_.network();
    const int32_t producer = to.tensor(rewriter_.map(layer.inputs[0])).producer;
    if (producer < 0) {
      return false;
    }
    const NetworkLayer& before = to.layers[static_cast<size_t>(producer)];
    if (!std::holds_alternative<Cast>(before.attributes) ||
        to.type(before.inputs[0]).dtype != cast->to) {
      return false;
    }
    rewriter_.bind(layer.outputs[0], before.inputs[0]);
    ++fired_;
    return true;
  }

  const Network& old_;
  const OptimizerOptions& options_;
  Rewriter rewriter_;
  int fired_ = 0;
};

}  // namespace

int narrow_contractions(Network& network, const OptimizerOptions& options) {
  if (options.traits.math_dtype == nullptr) {
    return 0;
  }
  Network result;
  const int fired = Narrow(network, options).run(&result);
  if (fired > 0) {
    network = std::move(result);
    remove_dead_layers(network, options);  // before anybody folds the casts of weights
  }
  return fired;
}

}  // namespace stator
