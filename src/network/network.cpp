// SPDX-License-Identifier: Apache-2.0
#include "stator/network.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace stator {
namespace {

/// Writes `value` as one element of `dtype`.
void store_scalar(const Scalar& value, DType dtype, void* out) {
  const auto put = [out](auto v) { std::memcpy(out, &v, sizeof(v)); };
  switch (dtype) {
    case DType::kFloat32:
      return put(static_cast<float>(value.real));
    case DType::kFloat64:
      return put(value.real);
    case DType::kFloat16:
      return put(static_cast<_Float16>(value.real));
    case DType::kBFloat16: {
      const auto single = static_cast<float>(value.real);
      uint32_t bits = 0;
      std::memcpy(&bits, &single, 4);
      // Round to nearest, ties to even; NaN stays NaN.
      bits = single != single ? 0x7fc00000u : bits + 0x7fffu + ((bits >> 16) & 1u);
      return put(static_cast<uint16_t>(bits >> 16));
    }
    case DType::kInt8:
      return put(static_cast<int8_t>(value.integer));
    case DType::kUInt8:
      return put(static_cast<uint8_t>(value.integer));
    case DType::kInt16:
      return put(static_cast<int16_t>(value.integer));
    case DType::kInt32:
      return put(static_cast<int32_t>(value.integer));
    case DType::kInt64:
      return put(value.integer);
    case DType::kBool:
      return put(static_cast<uint8_t>(value.is_integer ? value.integer != 0 : value.real != 0));
    default:
      STATOR_CHECK(false, std::string("a scalar of ") + dtype_name(dtype) + " cannot be stored");
  }
}

}  // namespace

TensorId Network::add_input(std::string tensor_name, TensorType type) {
  NetworkTensor t;
  t.name = std::move(tensor_name);
  t.type = std::move(type);
  t.role = TensorRole::kInput;
  tensors.push_back(std::move(t));
  inputs.push_back(static_cast<TensorId>(tensors.size() - 1));
  return inputs.back();
}

TensorId Network::add_constant(std::string tensor_name, TensorType type, TensorData data,
                               WeightOrigin origin) {
  NetworkTensor t;
  t.name = std::move(tensor_name);
  t.type = std::move(type);
  t.role = TensorRole::kConstant;
  t.data = std::move(data);
  t.origin = std::move(origin);
  tensors.push_back(std::move(t));
  return static_cast<TensorId>(tensors.size() - 1);
}

TensorId Network::add_scalar(Scalar value, DType dtype) {
  void* writable = nullptr;
  TensorData data = TensorData::allocate(dtype_bytes(dtype), &writable);
  store_scalar(value, dtype, writable);
  return add_constant("scalar_" + std::to_string(tensors.size()), TensorType{dtype, {}},
                      std::move(data));
}

std::vector<TensorId> Network::add_layer(LayerAttributes attributes,
                                         std::vector<TensorId> layer_inputs) {
  std::vector<TensorType> types;
  types.reserve(layer_inputs.size());
  for (const TensorId id : layer_inputs) {
    STATOR_CHECK(id >= 0 && static_cast<size_t>(id) < tensors.size(),
                 "a layer's input is not in the network");
    types.push_back(type(id));
  }
  Result<std::vector<TensorType>> results = infer_types(attributes, types, bounds);
  STATOR_CHECK(results.ok(), results.error().message);
  NetworkLayer layer{std::move(attributes), std::move(layer_inputs), {}, current};
  const std::string base =
      (current.node.empty() ? layer_kind_name(layer.attributes) : current.node.c_str());
  for (size_t i = 0; i < results->size(); ++i) {
    NetworkTensor t;
    t.name = base + "." + std::to_string(tensors.size());
    t.type = std::move((*results)[i]);
    for (Expr& size : t.type.shape) {
      size = simplify(size, bounds);
    }
    t.producer = static_cast<int32_t>(layers.size());
    t.output_index = static_cast<int32_t>(i);
    tensors.push_back(std::move(t));
    layer.outputs.push_back(static_cast<TensorId>(tensors.size() - 1));
  }
  layers.push_back(std::move(layer));
  return layers.back().outputs;
}

TensorId Network::add_elementwise(TensorId a, TensorId b, ElementwiseOp op) {
  return add_layer(Elementwise{op}, {a, b})[0];
}
TensorId Network::add_unary(TensorId x, UnaryOp op) { return add_layer(Unary{op}, {x})[0]; }
TensorId Network::add_cast(TensorId x, DType to) {
  return type(x).dtype == to ? x : add_layer(Cast{to}, {x})[0];
}
TensorId Network::add_select(TensorId condition, TensorId a, TensorId b) {
  return add_layer(Select{}, {condition, a, b})[0];
}
TensorId Network::add_fill(std::vector<Expr> shape, DType dtype, Scalar value) {
  return add_layer(Fill{std::move(shape), dtype, value}, {})[0];
}
TensorId Network::add_iota(Expr length, Expr start, Expr step, DType dtype) {
  return add_layer(Iota{std::move(length), std::move(start), std::move(step), dtype}, {})[0];
}
TensorId Network::add_size_value(Expr value) {
  return add_layer(SizeValue{std::move(value)}, {})[0];
}
TensorId Network::add_transpose(TensorId x, std::vector<int64_t> permutation) {
  const int32_t producer = tensor(x).producer;
  const auto* inner =
      producer < 0 ? nullptr
                   : std::get_if<Transpose>(&layers[static_cast<size_t>(producer)].attributes);
  if (inner != nullptr && inner->permutation.size() == permutation.size()) {
    for (int64_t& axis : permutation) {
      axis = inner->permutation[static_cast<size_t>(axis)];
    }
    return add_transpose(layers[static_cast<size_t>(producer)].inputs[0], std::move(permutation));
  }
  const bool identity = static_cast<int>(permutation.size()) == type(x).rank() &&
                        std::is_sorted(permutation.begin(), permutation.end());
  return identity ? x : add_layer(Transpose{std::move(permutation)}, {x})[0];
}
TensorId Network::add_reshape(TensorId x, std::vector<Expr> shape) {
  return type(x).shape == shape ? x : add_layer(Reshape{std::move(shape)}, {x})[0];
}
TensorId Network::add_expand(TensorId x, std::vector<Expr> shape) {
  return type(x).shape == shape ? x : add_layer(Expand{std::move(shape)}, {x})[0];
}
TensorId Network::add_slice(TensorId x, std::vector<Expr> start, std::vector<Expr> size,
                            std::vector<int64_t> step) {
  const bool whole = size == type(x).shape &&
                     std::all_of(step.begin(), step.end(), [](int64_t s) { return s == 1; });
  return whole ? x : add_layer(Slice{std::move(start), std::move(size), std::move(step)}, {x})[0];
}
TensorId Network::add_concatenation(const std::vector<TensorId>& parts, int64_t axis) {
  return parts.size() == 1 ? parts[0] : add_layer(Concat{axis}, parts)[0];
}
TensorId Network::add_pad(TensorId x, Pad pad) { return add_layer(std::move(pad), {x})[0]; }

TensorId Network::add_matrix_multiply(TensorId a, bool transpose_a, TensorId b, bool transpose_b,
                                      TensorId bias) {
  std::vector<TensorId> operands = {a, b};
  if (bias != -1) {
    operands.push_back(bias);
  }
  return add_layer(MatrixMultiply{transpose_a, transpose_b}, std::move(operands))[0];
}
TensorId Network::add_convolution_nd(TensorId x, TensorId weight, TensorId bias_or_minus_1,
                                     Convolution attributes) {
  std::vector<TensorId> operands = {x, weight};
  if (bias_or_minus_1 != -1) {
    operands.push_back(bias_or_minus_1);
  }
  return add_layer(std::move(attributes), std::move(operands))[0];
}
TensorId Network::add_pooling_nd(TensorId x, Pooling attributes) {
  return add_layer(std::move(attributes), {x})[0];
}
TensorId Network::add_adaptive_pooling(TensorId x, AdaptivePooling attributes) {
  return add_layer(std::move(attributes), {x})[0];
}
TensorId Network::add_reduce(TensorId x, ReduceOp op, std::vector<int64_t> axes, bool keep_dims) {
  return add_layer(Reduce{op, std::move(axes), keep_dims}, {x})[0];
}
TensorId Network::add_softmax(TensorId x, int64_t axis, bool log) {
  return add_layer(Softmax{axis, log}, {x})[0];
}
TensorId Network::add_normalization(TensorId x, TensorId scale_or_minus_1, TensorId bias_or_minus_1,
                                    std::vector<int64_t> axes, double epsilon, bool rms) {
  Normalization layer{std::move(axes), epsilon, rms, scale_or_minus_1 != -1, bias_or_minus_1 != -1};
  std::vector<TensorId> operands = {x};
  for (const TensorId id : {scale_or_minus_1, bias_or_minus_1}) {
    if (id != -1) {
      operands.push_back(id);
    }
  }
  return add_layer(std::move(layer), std::move(operands))[0];
}
TensorId Network::add_attention(TensorId q, TensorId k, TensorId v, TensorId mask_or_minus_1,
                                double scale, bool causal) {
  std::vector<TensorId> operands = {q, k, v};
  if (mask_or_minus_1 != -1) {
    operands.push_back(mask_or_minus_1);
  }
  return add_layer(Attention{scale, causal, mask_or_minus_1 != -1}, std::move(operands))[0];
}
TensorId Network::add_gather(TensorId x, TensorId indices, int64_t axis, bool wrap,
                             DataError error) {
  return add_layer(Gather{axis, wrap, error}, {x, indices})[0];
}

}  // namespace stator
