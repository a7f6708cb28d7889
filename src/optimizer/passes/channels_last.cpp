// SPDX-License-Identifier: Apache-2.0
//
// Every tensor of the new network is known in one or both orders: as PyTorch has it, and with the
// channels last. A layer that works on images takes its operands channels last and gives its result
// so; the other order is made by a transpose when somebody asks for it.
#include <algorithm>

#include "optimizer/passes/passes.h"
#include "optimizer/passes/rewrite.h"

namespace stator {
namespace {

/// NCHW → NHWC, for any number of spatial axes.
std::vector<int64_t> to_last(int rank) {
  std::vector<int64_t> p = {0};
  for (int k = 2; k < rank; ++k) {
    p.push_back(k);
  }
  p.push_back(1);
  return p;
}
std::vector<int64_t> from_last(int rank) {
  std::vector<int64_t> p = {0, rank - 1};
  for (int k = 1; k < rank - 1; ++k) {
    p.push_back(k);
  }
  return p;
}

class ChannelsLast {
 public:
  ChannelsLast(const Network& network, const BackendTraits& traits)
      : old_(network), traits_(traits), rewriter_(network), last_(network.tensors.size(), -1) {}

  Network run() {
    for (const NetworkLayer& layer : old_.layers) {
      rewriter_.network().current = layer.provenance;
      if (!turned(layer) && !window(layer) && !pointwise(layer) && !reduction(layer) &&
          !concat(layer) && !pad(layer)) {
        for (const TensorId id : layer.inputs) {
          (void)first(id);
        }
        rewriter_.copy(layer);
      }
    }
    for (const TensorId id : old_.outputs) {
      (void)first(id);
    }
    return rewriter_.finish();
  }
  int fired() const { return fired_; }

 private:
  Network& net() { return rewriter_.network(); }
  int rank(TensorId id) const { return old_.type(id).rank(); }
  bool known_last(TensorId id) const { return last_[static_cast<size_t>(id)] != -1; }

  /// PyTorch's order.
  TensorId first(TensorId id) {
    if (!rewriter_.mapped(id) && known_last(id)) {
      rewriter_.bind(id, net().add_transpose(last_[static_cast<size_t>(id)], from_last(rank(id))));
    }
    return rewriter_.map(id);
  }
  TensorId last(TensorId id) {
    TensorId& known = last_[static_cast<size_t>(id)];
    if (known == -1) {
      known = net().add_transpose(rewriter_.map(id), to_last(rank(id)));
    }
    return known;
  }
  void give_last(const NetworkLayer& layer, TensorId result) {
    last_[static_cast<size_t>(layer.outputs[0])] = result;
  }

  bool is_math_dtype(DType dtype) const {
    return traits_.math_dtype != nullptr ? traits_.math_dtype(dtype) : dtype == DType::kFloat32;
  }
  bool is_convolved(const Convolution& conv, const TensorType& x, const TensorType& w) const {
    return is_math_dtype(x.dtype) || traits_.convolves_bytes(conv, x, w);
  }
  bool is_constant(TensorId id) const { return old_.tensor(id).role == TensorRole::kConstant; }

  /// The caller's tensors that lie in memory with the channels last are taken and given as they
  /// are.
  bool turned(const NetworkLayer& layer) {
    const auto* transpose = std::get_if<Transpose>(&layer.attributes);
    if (transpose == nullptr || transpose->permutation.size() < 4) return false;
    const TensorId from = layer.inputs[0], to = layer.outputs[0];
    if (transpose->permutation == from_last(rank(from)) &&
        old_.tensor(from).role == TensorRole::kInput) {
      last_[static_cast<size_t>(to)] = first(from);
      return true;
    }
    const bool leaves =
        std::find(old_.outputs.begin(), old_.outputs.end(), to) != old_.outputs.end();
    if (transpose->permutation == to_last(rank(from)) && leaves && known_last(from)) {
      rewriter_.bind(to, last(from));
      return true;
    }
    return false;
  }

  bool window(const NetworkLayer& layer) {
    LayerAttributes attributes = layer.attributes;
    if (auto* conv = std::get_if<Convolution>(&attributes)) {
      if (conv->channels_last || conv->transposed || !is_constant(layer.inputs[1]) ||
          !is_convolved(*conv, old_.type(layer.inputs[0]), old_.type(layer.inputs[1]))) {
        return false;
      }
      conv->channels_last = true;
    } else if (auto* pooling = std::get_if<Pooling>(&attributes)) {
      if (pooling->channels_last || !known_last(layer.inputs[0])) {
        return false;  // loops take windows in either order
      }
      pooling->channels_last = true;
    } else if (auto* adaptive = std::get_if<AdaptivePooling>(&attributes)) {
      if (adaptive->channels_last || !known_last(layer.inputs[0])) {
        return false;
      }
      const bool whole = adaptive->op == PoolOp::kAverage &&
                         std::all_of(adaptive->output_size.begin(), adaptive->output_size.end(),
                                     [](const Expr& e) { return e.is_constant(1); });
      if (whole) {  // a mean over the spatial axes
        std::vector<int64_t> axes;
        for (int k = 1; k + 1 < rank(layer.inputs[0]); ++k) {
          axes.push_back(k);
        }
        give_last(layer, net().add_reduce(last(layer.inputs[0]), ReduceOp::kMean, axes, true));
        ++fired_;
        return true;
      }
      adaptive->channels_last = true;
    } else if (auto* resize = std::get_if<Resize>(&attributes)) {
      if (resize->channels_last || !known_last(layer.inputs[0])) {
        return false;
      }
      resize->channels_last = true;
    } else {
      return false;
    }
    std::vector<TensorId> inputs = {last(layer.inputs[0])};
    for (size_t i = 1; i < layer.inputs.size(); ++i) {
      inputs.push_back(first(layer.inputs[i]));
    }
    give_last(layer, net().add_layer(std::move(attributes), std::move(inputs))[0]);
    ++fired_;
    return true;
  }

  /// A constant [C, 1, …, 1] or [1, C, 1, …] as [C]; one element stays; -1 when it is another.
  TensorId constant_last(TensorId id, int wanted_rank) {
    const TensorType& type = old_.type(id);
    const Expr count = product(type.shape);
    if (count.is_constant(1)) {
      return net().add_reshape(first(id), {});
    }
    const int offset = wanted_rank - type.rank();
    for (int k = 0; k < type.rank(); ++k) {
      if (!type.shape[static_cast<size_t>(k)].is_constant(1) && k + offset != 1) {
        return -1;
      }
    }
    // The same bytes with another shape: no layer is needed.
    const NetworkTensor& t = old_.tensor(id);
    return net().add_constant(t.name + ".channels", {t.type.dtype, {count}}, t.data, t.origin);
  }

  bool pointwise(const NetworkLayer& layer) {
    const bool fits = std::holds_alternative<Elementwise>(layer.attributes) ||
                      std::holds_alternative<Unary>(layer.attributes) ||
                      std::holds_alternative<Cast>(layer.attributes) ||
                      std::holds_alternative<Select>(layer.attributes);
    if (!fits || std::none_of(layer.inputs.begin(), layer.inputs.end(),
                              [this](TensorId id) { return known_last(id); })) {
      return false;
    }
    const int out_rank = rank(layer.outputs[0]);
    for (const TensorId id : layer.inputs) {
      const bool image = rank(id) == out_rank && !is_constant(id);
      const bool scalar = product(old_.type(id).shape).is_constant(1);
      if (!image && !is_constant(id) && !scalar) {
        return false;
      }
    }
    std::vector<TensorId> inputs;
    for (const TensorId id : layer.inputs) {
      TensorId operand = -1;
      if (is_constant(id)) {
        operand = constant_last(id, out_rank);
        if (operand == -1 && rank(id) == out_rank) {
          operand = last(id);
        }
        if (operand == -1) {
          return false;
        }
      } else {
        operand = rank(id) == out_rank ? last(id) : net().add_reshape(first(id), {});
      }
      inputs.push_back(operand);
    }
    give_last(layer, net().add_layer(layer.attributes, std::move(inputs))[0]);
    return true;
  }

  /// Means over space, and the like: the axes renamed.
  bool reduction(const NetworkLayer& layer) {
    const auto* reduce = std::get_if<Reduce>(&layer.attributes);
    if (reduce == nullptr || !known_last(layer.inputs[0])) {
      return false;
    }
    const int r = rank(layer.inputs[0]);
    std::vector<int64_t> axes;
    for (const int64_t axis : reduce->axes) {
      if (axis < 2) {
        return false;
      }
      axes.push_back(axis - 1);
    }
    if (static_cast<int>(axes.size()) != r - 2) {
      return false;
    }
    const TensorId result =
        net().add_reduce(last(layer.inputs[0]), reduce->op, axes, reduce->keep_dims);
    if (reduce->keep_dims) {
      give_last(layer, result);
    } else {
      rewriter_.bind(layer.outputs[0], result);  // [N, C] in both orders
    }
    return true;
  }

  bool pad(const NetworkLayer& layer) {
    const auto* pad = std::get_if<Pad>(&layer.attributes);
    if (pad == nullptr || pad->mode != PadMode::kConstant || !known_last(layer.inputs[0])) {
      return false;
    }
    Pad turned = *pad;
    const std::vector<int64_t> order = to_last(rank(layer.inputs[0]));
    for (size_t k = 0; k < order.size(); ++k) {
      turned.before[k] = pad->before[static_cast<size_t>(order[k])];
      turned.after[k] = pad->after[static_cast<size_t>(order[k])];
    }
    give_last(layer, net().add_pad(last(layer.inputs[0]), turned));
    return true;
  }

  bool concat(const NetworkLayer& layer) {
    const auto* join = std::get_if<Concat>(&layer.attributes);
    if (join == nullptr || !std::all_of(layer.inputs.begin(), layer.inputs.end(),
                                        [this](TensorId id) { return known_last(id); })) {
      return false;
    }
    const int r = rank(layer.inputs[0]);
    const int64_t axis = join->axis == 0 ? 0 : join->axis == 1 ? r - 1 : join->axis - 1;
    std::vector<TensorId> inputs;
    for (const TensorId id : layer.inputs) {
      inputs.push_back(last(id));
    }
    give_last(layer, net().add_concatenation(inputs, axis));
    return true;
  }

  const Network& old_;
  const BackendTraits& traits_;
  Rewriter rewriter_;
  std::vector<TensorId> last_;  // by old tensor
  int fired_ = 0;
};

}  // namespace

int channels_last(Network& network, const OptimizerOptions& options) {
  if (!options.traits.channels_last) {
    return 0;
  }
  ChannelsLast pass(network, options.traits);
  Network result = pass.run();
  if (pass.fired() > 0) {
    network = std::move(result);
  }
  return pass.fired();
}

}  // namespace stator
