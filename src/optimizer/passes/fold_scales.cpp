// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstring>
#include <optional>
#include <set>

#include "base/float_element.h"
#include "optimizer/passes/passes.h"
#include "optimizer/passes/rewrite.h"

namespace stator {
namespace {

/// A convolution, the scale and shift of its channels behind it, and what they end in.
struct Chain {
  size_t conv = 0;
  std::vector<size_t> layers;  // behind the convolution, all of which it takes in
  std::vector<float> scale, shift;
  TensorId end = -1;
};

class FoldScales {
 public:
  explicit FoldScales(const Network& network)
      : old_(network), rewriter_(network), count_(count_readers(network)) {
    reader_.assign(network.tensors.size(), -1);
    for (size_t i = 0; i < network.layers.size(); ++i) {
      for (const TensorId id : network.layers[i].inputs) {
        reader_[static_cast<size_t>(id)] = static_cast<int>(i);
      }
    }
  }

  int run(Network* result) {
    std::set<size_t> taken;
    int fired = 0;
    for (size_t i = 0; i < old_.layers.size(); ++i) {
      if (taken.count(i) != 0) continue;
      const std::optional<Chain> chain = find(i);
      if (!chain.has_value()) {
        rewriter_.copy(old_.layers[i]);
        continue;
      }
      taken.insert(chain->layers.begin(), chain->layers.end());
      replace(*chain);
      ++fired;
    }
    if (fired > 0) *result = rewriter_.finish();
    return fired;
  }

 private:
  static bool is_real(DType d) {
    return d == DType::kFloat32 || d == DType::kFloat16 || d == DType::kBFloat16;
  }

  /// The constant as one number a channel; nullopt when it varies along another axis.
  std::optional<std::vector<float>> by_channel(TensorId id, const std::vector<Expr>& shape,
                                               size_t axis) const {
    const NetworkTensor& t = old_.tensor(id);
    if (t.role != TensorRole::kConstant || !is_real(t.type.dtype) ||
        t.type.rank() > static_cast<int>(shape.size())) {
      return std::nullopt;
    }
    const size_t lead = shape.size() - t.type.shape.size();
    bool varies = false;
    for (size_t k = 0; k < t.type.shape.size(); ++k) {
      if (t.type.shape[k].is_constant(1)) continue;
      if (k + lead != axis) return std::nullopt;
      varies = true;
    }
    const int64_t channels = shape[axis].constant();
    std::vector<float> values;
    for (int64_t c = 0; c < channels; ++c) {
      values.push_back(load_float(t.data.data, t.type.dtype, varies ? c : 0));
    }
    return values;
  }

  std::optional<Chain> find(size_t i) const {
    const NetworkLayer& layer = old_.layers[i];
    const auto* conv = std::get_if<Convolution>(&layer.attributes);
    if (conv == nullptr || conv->transposed ||
        old_.tensor(layer.inputs[1]).role != TensorRole::kConstant ||
        !is_real(old_.type(layer.inputs[1]).dtype)) {
      return std::nullopt;
    }
    const std::vector<Expr>& shape = old_.type(layer.outputs[0]).shape;
    const size_t axis = conv->channels_last ? shape.size() - 1 : 1;
    Chain chain;
    chain.conv = i;
    chain.end = layer.outputs[0];
    const auto channels = static_cast<size_t>(shape[axis].constant());
    chain.scale.assign(channels, 1.0F);
    chain.shift.assign(channels, 0.0F);
    if (layer.inputs.size() == 3) {
      const NetworkTensor& bias = old_.tensor(layer.inputs[2]);
      if (bias.role != TensorRole::kConstant || !is_real(bias.type.dtype)) return std::nullopt;
      for (size_t c = 0; c < channels; ++c) {
        chain.shift[c] = load_float(bias.data.data, bias.type.dtype, static_cast<int64_t>(c));
      }
    }
    bool scaled = false;
    std::vector<size_t> passed;
    TensorId at = chain.end;
    while (count_[static_cast<size_t>(at)] == 1 && reader_[static_cast<size_t>(at)] >= 0) {
      const auto r = static_cast<size_t>(reader_[static_cast<size_t>(at)]);
      const NetworkLayer& next = old_.layers[r];
      passed.push_back(r);
      if (const auto* cast = std::get_if<Cast>(&next.attributes)) {
        if (cast->to != DType::kFloat32) break;  // a rounding that stays
      } else if (!take(next, at, shape, axis, &chain, &scaled)) {
        break;
      } else {
        chain.layers = passed;
        chain.end = next.outputs[0];
      }
      at = next.outputs[0];
    }
    // A shift alone is an epilogue already.
    return scaled ? std::optional(chain) : std::nullopt;
  }

  bool take(const NetworkLayer& layer, TensorId at, const std::vector<Expr>& shape, size_t axis,
            Chain* chain, bool* scaled) const {
    const auto* elementwise = std::get_if<Elementwise>(&layer.attributes);
    if (elementwise == nullptr || !(old_.type(layer.outputs[0]).shape == shape)) return false;
    const bool first = layer.inputs[0] == at;
    const auto values = by_channel(layer.inputs[first ? 1 : 0], shape, axis);
    if (!values.has_value()) return false;
    const ElementwiseOp op = elementwise->op;
    const bool multiplies = op == ElementwiseOp::kMul;
    const bool adds = op == ElementwiseOp::kAdd || (op == ElementwiseOp::kSub && first);
    if (!multiplies && !adds) return false;
    for (size_t c = 0; c < values->size(); ++c) {
      const float v = (*values)[c];
      if (!std::isfinite(v)) return false;
      if (multiplies) {
        chain->scale[c] *= v;
        chain->shift[c] *= v;
      } else {
        chain->shift[c] += op == ElementwiseOp::kSub ? -v : v;
      }
    }
    *scaled = *scaled || multiplies;
    return true;
  }

  void replace(const Chain& chain) {
    const NetworkLayer& layer = old_.layers[chain.conv];
    Network& to = rewriter_.network();
    to.current = layer.provenance;
    const NetworkTensor& weight = old_.tensor(layer.inputs[1]);
    const DType dtype = weight.type.dtype;
    const auto channels = static_cast<int64_t>(chain.scale.size());
    const int64_t each = product(weight.type.shape).constant() / channels;
    void* memory = nullptr;
    TensorData scaled = TensorData::allocate(weight.data.size_bytes, &memory);
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t k = c * each; k < (c + 1) * each; ++k) {
        store_float(memory, dtype, k,
                    load_float(weight.data.data, dtype, k) * chain.scale[static_cast<size_t>(c)]);
      }
    }
    TensorData shift = TensorData::allocate(channels * dtype_bytes(dtype), &memory);
    for (int64_t c = 0; c < channels; ++c) {
      store_float(memory, dtype, c, chain.shift[static_cast<size_t>(c)]);
    }
    const TensorId w = to.add_constant(weight.name + ".scaled", weight.type, scaled);
    const TensorId b =
        to.add_constant(weight.name + ".shift", {dtype, {Expr(channels)}}, std::move(shift));
    TensorId y = to.add_layer(layer.attributes, {rewriter_.map(layer.inputs[0]), w, b})[0];
    if (old_.type(chain.end).dtype != dtype) y = to.add_cast(y, old_.type(chain.end).dtype);
    rewriter_.bind(chain.end, y);
  }

  const Network& old_;
  Rewriter rewriter_;
  std::vector<int> count_;
  std::vector<int> reader_;  // the last layer that reads each tensor
};

}  // namespace

int fold_scales(Network& network, const OptimizerOptions& options) {
  if (!options.traits.fuses_epilogues) {
    return 0;
  }
  Network result;
  const int fired = FoldScales(network).run(&result);
  if (fired > 0) {
    network = std::move(result);
  }
  return fired;
}

}  // namespace stator
