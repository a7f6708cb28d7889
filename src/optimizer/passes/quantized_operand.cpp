// SPDX-License-Identifier: Apache-2.0
#include "optimizer/passes/quantized_operand.h"

#include <algorithm>
#include <cmath>

#include "base/float_element.h"

namespace stator {
namespace {

const NetworkLayer* producer_of(const Network& network, TensorId id) {
  const int32_t producer = network.tensor(id).producer;
  return producer < 0 ? nullptr : &network.layers[static_cast<size_t>(producer)];
}

bool is_op(const NetworkLayer* layer, ElementwiseOp op) {
  const auto* elementwise =
      layer == nullptr ? nullptr : std::get_if<Elementwise>(&layer->attributes);
  return elementwise != nullptr && elementwise->op == op;
}

double element(const NetworkTensor& t, int64_t i) {
  switch (t.type.dtype) {
    case DType::kFloat64:
      return t.data.as<double>()[i];
    case DType::kInt8:
      return t.data.as<int8_t>()[i];
    case DType::kUInt8:
      return t.data.as<uint8_t>()[i];
    case DType::kInt32:
      return t.data.as<int32_t>()[i];
    case DType::kInt64:
      return static_cast<double>(t.data.as<int64_t>()[i]);
    case DType::kFloat16:
    case DType::kBFloat16:
    case DType::kFloat32:
      return load_float(t.data.data, t.type.dtype, i);
    default:
      return NAN;
  }
}

/// What only renames, repeats or converts elements.
bool passes_values(const NetworkLayer& layer) {
  return std::holds_alternative<Reshape>(layer.attributes) ||
         std::holds_alternative<Expand>(layer.attributes) ||
         std::holds_alternative<Cast>(layer.attributes);
}

/// Whether every element is a whole number.
bool is_whole(const Network& network, TensorId id) {
  if (is_integral(network.type(id).dtype)) return true;
  if (const auto value = constant_value(network, id)) return std::floor(*value) == *value;
  const NetworkLayer* layer = producer_of(network, id);
  if (layer == nullptr) return false;
  if (const auto* unary = std::get_if<Unary>(&layer->attributes))
    return unary->op == UnaryOp::kRound;
  if (is_op(layer, ElementwiseOp::kAdd)) {
    return is_whole(network, layer->inputs[0]) && is_whole(network, layer->inputs[1]);
  }
  return passes_values(*layer) && is_whole(network, layer->inputs[0]);
}

/// min(max(whole, low), high) in a range of 8 bits.
std::optional<DType> clamped_to_byte(const Network& network, TensorId id) {
  const NetworkLayer* upper = producer_of(network, id);
  if (!is_op(upper, ElementwiseOp::kMin)) return std::nullopt;
  const NetworkLayer* lower = producer_of(network, upper->inputs[0]);
  if (!is_op(lower, ElementwiseOp::kMax) || !is_whole(network, lower->inputs[0])) {
    return std::nullopt;
  }
  const auto high = constant_value(network, upper->inputs[1]);
  const auto low = constant_value(network, lower->inputs[1]);
  if (!low || !high || std::floor(*low) != *low || std::floor(*high) != *high) return std::nullopt;
  if (*low >= -128 && *high <= 127) return DType::kInt8;
  if (*low >= 0 && *high <= 255) return DType::kUInt8;
  return std::nullopt;
}

/// The whole numbers behind widening casts, and the zero point that is taken off on the way.
bool find_numbers(const Network& network, TensorId at, QuantizedOperand* found) {
  while (true) {
    const DType dtype = network.type(at).dtype;
    if (is_byte(dtype)) {
      found->q = at;
      found->dtype = dtype;
      return true;
    }
    if (const auto faked = clamped_to_byte(network, at)) {
      found->q = at;
      found->dtype = *faked;
      return true;
    }
    const NetworkLayer* layer = producer_of(network, at);
    if (layer == nullptr) return false;
    if (std::holds_alternative<Cast>(layer->attributes)) {
      // From a wider type than it gives, a cast may lose digits.
      const DType from = network.type(layer->inputs[0]).dtype;
      if (!is_integral(from)) return false;
      at = layer->inputs[0];
    } else if (is_op(layer, ElementwiseOp::kSub) && found->zero == -1 &&
               is_whole(network, layer->inputs[1])) {
      found->zero = layer->inputs[1];
      at = layer->inputs[0];
    } else {
      return false;
    }
  }
}

bool broadcasts_into(const Network& network, TensorId part, TensorId whole) {
  return network.type(part).rank() <= network.type(whole).rank();
}

}  // namespace

std::optional<double> constant_value(const Network& network, TensorId id) {
  const NetworkTensor& t = network.tensor(id);
  if (t.role == TensorRole::kConstant) {
    const Expr count = product(t.type.shape);
    if (!count.is_constant() || count.constant() == 0) return std::nullopt;
    const double first = element(t, 0);
    for (int64_t i = 1; i < count.constant(); ++i) {
      if (element(t, i) != first) return std::nullopt;
    }
    return std::isnan(first) ? std::nullopt : std::optional(first);
  }
  const NetworkLayer* layer = producer_of(network, id);
  if (layer == nullptr) return std::nullopt;
  if (const auto* fill = std::get_if<Fill>(&layer->attributes)) {
    return fill->value.is_integer ? static_cast<double>(fill->value.integer) : fill->value.real;
  }
  return passes_values(*layer) ? constant_value(network, layer->inputs[0]) : std::nullopt;
}

bool from_constants(const Network& network, TensorId id) {
  const NetworkTensor& t = network.tensor(id);
  if (t.role != TensorRole::kIntermediate) return t.role == TensorRole::kConstant;
  const NetworkLayer& layer = network.layers[static_cast<size_t>(t.producer)];
  return std::all_of(layer.inputs.begin(), layer.inputs.end(),
                     [&](TensorId input) { return from_constants(network, input); });
}

std::optional<QuantizedOperand> find_quantized(const Network& network, TensorId value) {
  QuantizedOperand found;
  const NetworkLayer* layer = producer_of(network, value);
  // A half may be rounded to what was dequantized in float32.
  if (layer != nullptr && std::holds_alternative<Cast>(layer->attributes) &&
      is_half(network.type(value).dtype) &&
      network.type(layer->inputs[0]).dtype == DType::kFloat32) {
    value = layer->inputs[0];
    layer = producer_of(network, value);
  }
  if (const auto* turn = layer == nullptr ? nullptr : std::get_if<Transpose>(&layer->attributes);
      turn != nullptr && turn->permutation == std::vector<int64_t>{1, 0}) {
    found.transposed = true;
    value = layer->inputs[0];
    layer = producer_of(network, value);
  }
  const bool multiplies = is_op(layer, ElementwiseOp::kMul);
  if (!multiplies && !is_op(layer, ElementwiseOp::kDiv)) return std::nullopt;
  found.divides = !multiplies;
  for (size_t numbers = 0; numbers < (multiplies ? 2 : 1); ++numbers) {
    QuantizedOperand candidate = found;
    candidate.scale = layer->inputs[1 - numbers];
    if (!find_numbers(network, layer->inputs[numbers], &candidate)) continue;
    if (!broadcasts_into(network, candidate.scale, candidate.q)) continue;
    if (candidate.zero != -1 && !broadcasts_into(network, candidate.zero, candidate.q)) continue;
    candidate.type = &network.type(candidate.q);
    if (!(network.type(value).shape == candidate.type->shape)) continue;
    return candidate;
  }
  return std::nullopt;
}

}  // namespace stator
