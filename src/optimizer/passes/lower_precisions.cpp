// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <set>
#include <string>

#include "base/log.h"
#include "optimizer/passes/passes.h"
#include "optimizer/passes/rewrite.h"

namespace stator {
namespace {

class LowerPrecisions {
 public:
  LowerPrecisions(const Network& network, const OptimizerOptions& options)
      : network_(network), options_(options), low_(*options.low_precision), rewriter_(network) {}

  int run(Network* result) {
    find_slower();
    int fired = 0;
    for (const NetworkLayer& layer : network_.layers) {
      if (!may_gain(layer) || slower_.count(key_of(layer)) != 0) {
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
  bool may_gain(const NetworkLayer& layer) const {
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

  /// What a layer's time depends on.
  std::string key_of(const NetworkLayer& layer) const {
    std::string key = layer_kind_name(layer.attributes) + print_attributes(layer.attributes);
    for (const TensorId id : layer.inputs) {
      const NetworkTensor& t = network_.tensor(id);
      key += print_type(t.type) + (t.role == TensorRole::kConstant ? " constant" : "");
    }
    return key;
  }

  /// Times each kind of product both ways: as it is, and on halves that are there, with its result
  /// widened. Rounding the operands is not counted: mostly what makes them does it.
  void find_slower() {
    if (!options_.time_outputs) return;
    Network pieces;
    pieces.name = "precisions";
    std::map<std::string, size_t> places;
    for (const NetworkLayer& layer : network_.layers) {
      const std::string key = may_gain(layer) ? key_of(layer) : "";
      if (key.empty() || !places.emplace(key, places.size()).second) continue;
      add_piece(layer, DType::kFloat32, &pieces);
      add_piece(layer, low_, &pieces);
    }
    if (places.empty()) return;
    Result<std::vector<double>> us = options_.time_outputs(std::move(pieces));
    if (!us.ok()) {
      STATOR_LOG(kWarning, "products are computed in " + std::string(dtype_name(low_)) +
                               " without timing them: " + us.error().message);
      return;
    }
    for (const auto& [key, place] : places) {
      const double whole = (*us)[2 * place], half = (*us)[2 * place + 1];
      STATOR_LOG(kDebug, key + ": f32 " + std::to_string(whole) + " us, " + dtype_name(low_) + " " +
                             std::to_string(half) + " us");
      if (whole <= half) slower_.insert(key);
    }
  }

  /// The layer alone, at the sizes of timing, in `dtype`; its result is float32.
  void add_piece(const NetworkLayer& layer, DType dtype, Network* pieces) const {
    pieces->current.node = std::to_string(pieces->outputs.size());
    std::vector<TensorId> inputs;
    for (const TensorId id : layer.inputs) {
      const NetworkTensor& t = network_.tensor(id);
      if (t.role == TensorRole::kConstant) {
        inputs.push_back(pieces->add_cast(pieces->add_constant(t.name, t.type, t.data), dtype));
        continue;
      }
      TensorType type = t.type;
      if (type.dtype == DType::kFloat32) type.dtype = dtype;
      for (Expr& size : type.shape) size = size.evaluate(options_.timing_sizes).value_or(1);
      inputs.push_back(
          pieces->add_input("x" + std::to_string(pieces->inputs.size()), std::move(type)));
    }
    const TensorId y = pieces->add_layer(layer.attributes, std::move(inputs))[0];
    pieces->mark_output(pieces->add_cast(y, DType::kFloat32));
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
  const OptimizerOptions& options_;
  const DType low_;
  Rewriter rewriter_;
  std::set<std::string> slower_;  // kinds of layers
  std::map<TensorId, TensorId> casts_;
};

}  // namespace

int lower_precisions(Network& network, const OptimizerOptions& options) {
  if (!options.low_precision.has_value() || options.traits.fast_product == nullptr ||
      !options.traits.fast_product(*options.low_precision)) {
    return 0;
  }
  Network result;
  const int fired = LowerPrecisions(network, options).run(&result);
  if (fired > 0) network = std::move(result);
  return fired;
}

}  // namespace stator
