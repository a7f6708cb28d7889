// SPDX-License-Identifier: Apache-2.0
//
// Network: typed layers, what converters write and the optimizer reads. The add_* calls carry the
// names and meanings that authors of TensorRT converters know. Layer kinds and their attributes:
// include/stator/layer.h.
//
// Adding a layer infers its result types (and simplifies trivial cases: a reshape to the same shape
// returns its input). A misuse that a converter should have refused in support() is a STATOR_CHECK
// failure.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "stator/guard.h"
#include "stator/layer.h"
#include "stator/result.h"
#include "stator/source_line.h"
#include "stator/tensor_data.h"

namespace stator {

using TensorId = int32_t;

/// How a weight came to be: the state-dict name it was read from, or the layer that computes it
/// from others. Kept so that refit replays it: refit(W2) gives the bytes that build(W2) gives.
struct WeightOrigin {
  std::string name;  // "encoder.layers.0.weight"; "" when computed
};

enum class TensorRole : uint8_t { kIntermediate, kInput, kConstant };

struct NetworkTensor {
  std::string name;
  TensorType type;
  TensorRole role = TensorRole::kIntermediate;
  int32_t producer = -1;  // index into layers
  int32_t output_index = 0;
  TensorData data;      // kConstant: dense row-major bytes
  WeightOrigin origin;  // kConstant
};

struct NetworkLayer {
  LayerAttributes attributes;
  std::vector<TensorId> inputs;
  std::vector<TensorId> outputs;
  Provenance provenance;
};

class Network {
 public:
  std::string name;
  Bounds bounds;
  std::vector<Guard> guards;  // over its own symbols
  std::vector<NetworkTensor> tensors;
  std::vector<NetworkLayer> layers;  // in execution order
  std::vector<TensorId> inputs;      // in the order of a call
  std::vector<Expr>
      scalar_inputs;  // symbols that the caller gives after the tensors (SymInt inputs)
  std::vector<TensorId> outputs;
  Provenance current;  // stamped onto layers as they are added

  const TensorType& type(TensorId id) const { return tensors[static_cast<size_t>(id)].type; }
  NetworkTensor& tensor(TensorId id) { return tensors[static_cast<size_t>(id)]; }
  const NetworkTensor& tensor(TensorId id) const { return tensors[static_cast<size_t>(id)]; }

  TensorId add_input(std::string name, TensorType type);
  TensorId add_constant(std::string name, TensorType type, TensorData data,
                        WeightOrigin origin = {});
  TensorId add_scalar(Scalar value, DType dtype);  // 0-d constant
  void mark_output(TensorId id) { outputs.push_back(id); }

  /// Appends any layer. Returns its outputs.
  std::vector<TensorId> add_layer(LayerAttributes attributes, std::vector<TensorId> inputs);

  TensorId add_elementwise(TensorId a, TensorId b, ElementwiseOp op);
  TensorId add_unary(TensorId x, UnaryOp op);
  TensorId add_cast(TensorId x, DType to);
  TensorId add_select(TensorId condition, TensorId a, TensorId b);
  TensorId add_fill(std::vector<Expr> shape, DType dtype, Scalar value);
  TensorId add_iota(Expr length, Expr start, Expr step, DType dtype);
  TensorId add_size_value(Expr value);
  TensorId add_transpose(TensorId x, std::vector<int64_t> permutation);
  TensorId add_reshape(TensorId x, std::vector<Expr> shape);
  TensorId add_expand(TensorId x, std::vector<Expr> shape);
  TensorId add_slice(TensorId x, std::vector<Expr> start, std::vector<Expr> size,
                     std::vector<int64_t> step);
  TensorId add_concatenation(const std::vector<TensorId>& inputs, int64_t axis);
  TensorId add_pad(TensorId x, Pad pad);
  TensorId add_matrix_multiply(TensorId a, bool transpose_a, TensorId b, bool transpose_b,
                               TensorId bias = -1);
  TensorId add_convolution_nd(TensorId x, TensorId weight, TensorId bias_or_minus_1,
                              Convolution attributes);
  TensorId add_pooling_nd(TensorId x, Pooling attributes);
  TensorId add_adaptive_pooling(TensorId x, AdaptivePooling attributes);
  TensorId add_reduce(TensorId x, ReduceOp op, std::vector<int64_t> axes, bool keep_dims);
  TensorId add_softmax(TensorId x, int64_t axis, bool log = false);
  TensorId add_normalization(TensorId x, TensorId scale_or_minus_1, TensorId bias_or_minus_1,
                             std::vector<int64_t> axes, double epsilon, bool rms = false);
  TensorId add_attention(TensorId q, TensorId k, TensorId v, TensorId mask_or_minus_1, double scale,
                         bool causal);
  TensorId add_gather(TensorId x, TensorId indices, int64_t axis, bool wrap = false,
                      DataError error = DataError::kIndex);
};

/// One layer a line; parse_network reads it back (constants print as name and type, and where
/// `digests` with that of their bytes).
std::string print_network(const Network& network, bool digests = true);
Result<Network> parse_network(std::string_view text);
/// Order, ranks, dtypes, and that infer_types agrees with every stored type.
Status verify_network(const Network& network);

}  // namespace stator
