// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/float_element.h"
#include "optimizer/passes/passes.h"
#include "optimizer/passes/rewrite.h"

namespace stator {
namespace {

constexpr int64_t kSlackBytes = 64 << 10;

/// A half that the backend computes with in float32 alone: its weights are converted once, not in
/// each run.
bool is_widened_weight(const Network& network, const NetworkLayer& layer,
                       const BackendTraits& traits) {
  if (!std::holds_alternative<Cast>(layer.attributes)) return false;
  const DType from = network.type(layer.inputs[0]).dtype;
  return is_half(from) && network.type(layer.outputs[0]).dtype == DType::kFloat32 &&
         (traits.math_dtype == nullptr || !traits.math_dtype(from));
}

/// The tensors that convolutions' weights are computed from: kernels take constants there, whatever
/// these weigh (integers, dequantized, become four times as many bytes).
std::vector<char> behind_kernels(const Network& network) {
  std::vector<char> wanted(network.tensors.size(), 0);
  for (size_t i = network.layers.size(); i-- > 0;) {
    const NetworkLayer& layer = network.layers[i];
    const bool passes = std::any_of(layer.outputs.begin(), layer.outputs.end(), [&](TensorId id) {
      return wanted[static_cast<size_t>(id)] != 0;
    });
    for (size_t k = 0; k < layer.inputs.size(); ++k) {
      if (passes || (k == 1 && std::holds_alternative<Convolution>(layer.attributes))) {
        wanted[static_cast<size_t>(layer.inputs[k])] = 1;
      }
    }
  }
  return wanted;
}

bool foldable(const Network& network, const NetworkLayer& layer, const BackendTraits& traits,
              const std::vector<char>& wanted) {
  int64_t in = 0, out = 0;
  for (const TensorId id : layer.inputs) {
    const NetworkTensor& t = network.tensor(id);
    if (t.role != TensorRole::kConstant) {
      return false;
    }
    in += t.data.size_bytes;
  }
  for (const TensorId id : layer.outputs) {
    const TensorType& type = network.type(id);
    const Expr count = product(type.shape);
    if (!count.is_constant()) {
      return false;
    }
    out += count.constant() * dtype_bytes(type.dtype);
  }
  if (wanted[static_cast<size_t>(layer.outputs[0])] != 0 && !layer.inputs.empty()) {
    return true;
  }
  const bool moves = std::holds_alternative<Transpose>(layer.attributes) ||
                     std::holds_alternative<Reshape>(layer.attributes) ||
                     std::holds_alternative<Expand>(layer.attributes);
  // Fills and counts cost nothing where they are read; only single numbers are worth a constant.
  const int64_t slack = layer.inputs.empty() ? 8 : kSlackBytes;
  return (out <= in + slack || is_widened_weight(network, layer, traits)) &&
         (!moves || in <= kSlackBytes);
}

}  // namespace

int fold_constant_layers(Network& network, const OptimizerOptions& options) {
  if (!options.evaluate_layer) {
    return 0;
  }
  const std::vector<char> wanted = behind_kernels(network);
  int fired = 0;
  // In place: a layer becomes constants, and later layers see them.
  std::vector<NetworkLayer> kept;
  for (NetworkLayer& layer : network.layers) {
    if (foldable(network, layer, options.traits, wanted)) {
      Result<std::vector<TensorData>> values = options.evaluate_layer(layer, network);
      if (values.ok() && values->size() == layer.outputs.size()) {
        for (size_t i = 0; i < layer.outputs.size(); ++i) {
          NetworkTensor& t = network.tensor(layer.outputs[i]);
          t.role = TensorRole::kConstant;
          t.producer = -1;
          t.data = (*values)[i];
        }
        ++fired;
        continue;
      }
    }
    kept.push_back(std::move(layer));
  }
  network.layers = std::move(kept);
  for (size_t i = 0; i < network.layers.size(); ++i) {
    for (const TensorId id : network.layers[i].outputs) {
      network.tensor(id).producer = static_cast<int32_t>(i);
    }
  }
  return fired;
}

int remove_dead_layers(Network& network, const OptimizerOptions&) {
  std::vector<char> used(network.tensors.size(), 0);
  for (const TensorId id : network.outputs) {
    used[static_cast<size_t>(id)] = 1;
  }
  int fired = 0;
  std::vector<char> live(network.layers.size(), 0);
  for (size_t i = network.layers.size(); i-- > 0;) {
    const NetworkLayer& layer = network.layers[i];
    for (const TensorId id : layer.outputs) {
      live[i] = live[i] != 0 || used[static_cast<size_t>(id)] != 0 ? 1 : 0;
    }
    if (live[i] != 0) {
      for (const TensorId id : layer.inputs) {
        used[static_cast<size_t>(id)] = 1;
      }
    } else {
      ++fired;
    }
  }
  if (fired == 0) {
    return 0;
  }
  Rewriter rewriter(network);
  for (size_t i = 0; i < network.layers.size(); ++i) {
    if (live[i] != 0) {
      rewriter.copy(network.layers[i]);
    }
  }
  network = rewriter.finish();
  return fired;
}

}  // namespace stator
