// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <optional>

#include "optimizer/passes/passes.h"
#include "optimizer/passes/rewrite.h"

namespace stator {
namespace {

/// The filter [C, O/groups, kernel…] of a transposed convolution as the filter [O, C/groups,
/// kernel…] of the direct one: inputs and outputs of each group change places, taps run backwards.
TensorData turn_filter(const NetworkTensor& weight, int64_t groups) {
  const std::vector<Expr>& shape = weight.type.shape;
  const int64_t bytes = dtype_bytes(weight.type.dtype);
  const int64_t inputs = shape[0].constant() / groups, outputs = shape[1].constant();
  int64_t taps = 1;
  for (size_t k = 2; k < shape.size(); ++k) taps *= shape[k].constant();
  void* memory = nullptr;
  TensorData turned = TensorData::allocate(groups * inputs * outputs * taps * bytes, &memory);
  const auto* from = weight.data.as<char>();
  auto* to = static_cast<char*>(memory);
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t o = 0; o < outputs; ++o) {
      for (int64_t c = 0; c < inputs; ++c) {
        for (int64_t tap = 0; tap < taps; ++tap) {
          const int64_t source = ((g * inputs + c) * outputs + o) * taps + (taps - 1 - tap);
          std::memcpy(to, from + source * bytes, static_cast<size_t>(bytes));
          to += bytes;
        }
      }
    }
  }
  return turned;
}

/// x [N, C, spatial…] with stride - 1 zeros after every position.
TensorId spread(Network& to, TensorId x, const std::vector<int64_t>& stride) {
  if (std::all_of(stride.begin(), stride.end(), [](int64_t s) { return s == 1; })) return x;
  const std::vector<Expr> shape = to.type(x).shape;
  std::vector<Expr> apart(shape.begin(), shape.begin() + 2), joined = apart;
  Pad pad;
  pad.before.assign(2, 0);
  pad.after.assign(2, 0);
  pad.value = is_integral(to.type(x).dtype) ? Scalar::of(int64_t{0}) : Scalar::of(0.0);
  for (size_t k = 0; k < stride.size(); ++k) {
    apart.insert(apart.end(), {shape[k + 2], 1});
    joined.push_back(shape[k + 2] * Expr(stride[k]));
    pad.before.insert(pad.before.end(), {0, 0});
    pad.after.insert(pad.after.end(), {0, stride[k] - 1});
  }
  return to.add_reshape(to.add_pad(to.add_reshape(x, apart), pad), joined);
}

/// What a direct convolution cannot pad by less than nothing is cut off before it.
TensorId cut(Network& to, TensorId x, std::vector<int64_t>* before, std::vector<int64_t>* after) {
  std::vector<Expr> start(to.type(x).shape.size(), 0), size = to.type(x).shape;
  bool cuts = false;
  for (size_t k = 0; k < before->size(); ++k) {
    const int64_t low = std::max<int64_t>(0, -(*before)[k]);
    const int64_t high = std::max<int64_t>(0, -(*after)[k]);
    cuts = cuts || low + high > 0;
    start[k + 2] = low;
    size[k + 2] = size[k + 2] - Expr(low + high);
    (*before)[k] += low;
    (*after)[k] += high;
  }
  return cuts ? to.add_slice(x, start, size, std::vector<int64_t>(size.size(), 1)) : x;
}

TensorId make_direct(Rewriter& rewriter, const NetworkLayer& layer, const Convolution& a) {
  Network& to = rewriter.network();
  const NetworkTensor& weight = rewriter.source().tensor(layer.inputs[1]);
  const std::vector<Expr>& shape = weight.type.shape;
  std::vector<Expr> turned = {Expr(shape[1].constant() * a.groups),
                              Expr(shape[0].constant() / a.groups)};
  turned.insert(turned.end(), shape.begin() + 2, shape.end());
  Convolution direct = a;
  direct.transposed = false;
  for (size_t k = 0; k < a.stride.size(); ++k) {
    const int64_t reach = a.dilation[k] * (shape[k + 2].constant() - 1);
    const int64_t more = a.output_padding.empty() ? 0 : a.output_padding[k];
    direct.pad_before[k] = reach - a.pad_before[k];
    direct.pad_after[k] = reach - a.pad_after[k] + more - (a.stride[k] - 1);
    direct.stride[k] = 1;
  }
  direct.output_padding.assign(a.output_padding.size(), 0);
  TensorId x = spread(to, rewriter.map(layer.inputs[0]), a.stride);
  x = cut(to, x, &direct.pad_before, &direct.pad_after);
  const TensorId filter = to.add_constant(weight.name + ".turned", {weight.type.dtype, turned},
                                          turn_filter(weight, a.groups));
  const TensorId bias = layer.inputs.size() == 3 ? rewriter.map(layer.inputs[2]) : -1;
  return to.add_convolution_nd(x, filter, bias, direct);
}

}  // namespace

int transposed_convolutions(Network& network, const OptimizerOptions& options) {
  if (!options.traits.fuses_loops) {
    return 0;
  }
  Rewriter rewriter(network);
  int fired = 0;
  for (const NetworkLayer& layer : network.layers) {
    const auto* a = std::get_if<Convolution>(&layer.attributes);
    const bool turns = a != nullptr && a->transposed && !a->channels_last &&
                       network.tensor(layer.inputs[1]).role == TensorRole::kConstant &&
                       2 + 2 * a->stride.size() <= 8;
    if (!turns) {
      rewriter.copy(layer);
      continue;
    }
    rewriter.network().current = layer.provenance;
    rewriter.bind(layer.outputs[0], make_direct(rewriter, layer, *a));
    ++fired;
  }
  if (fired > 0) {
    network = rewriter.finish();
  }
  return fired;
}

}  // namespace stator
