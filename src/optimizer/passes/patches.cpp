// SPDX-License-Identifier: Apache-2.0
//
// Convolutions in another form that runs better: patches as products, few channels padded.
#include <algorithm>
#include <cstring>
#include <utility>

#include "optimizer/passes/passes.h"
#include "optimizer/passes/rewrite.h"

namespace stator {
namespace {

bool all_of(const std::vector<int64_t>& values, int64_t wanted) {
  return std::all_of(values.begin(), values.end(), [wanted](int64_t v) { return v == wanted; });
}

/// Windows that lie side by side: the kernel is the stride, nothing is left over.
bool is_patches(const Network& n, const NetworkLayer& layer, const Convolution& c) {
  const std::vector<Expr>& x = n.type(layer.inputs[0]).shape;
  const std::vector<Expr>& w = n.type(layer.inputs[1]).shape;
  if (c.channels_last || c.transposed || c.groups != 1 || !all_of(c.pad_before, 0) ||
      !all_of(c.pad_after, 0) || !all_of(c.dilation, 1) || all_of(c.stride, 1)) {
    return false;
  }
  for (size_t k = 0; k < c.stride.size(); ++k) {
    if (!w[k + 2].is_constant(c.stride[k]) || !x[k + 2].is_constant() ||
        x[k + 2].constant() % c.stride[k] != 0) {
      return false;
    }
  }
  return x[1].is_constant();
}

/// x [N, C, spatial…] → [N, patches…, C, kernel…] → one product with the weights as they lie.
void add_patches(Rewriter& r, const NetworkLayer& layer, const Convolution& c) {
  Network& n = r.network();
  n.current = layer.provenance;
  const TensorId x = r.map(layer.inputs[0]), w = r.map(layer.inputs[1]);
  const std::vector<Expr> in = n.type(x).shape, weight = n.type(w).shape;
  const size_t spatial = c.stride.size();
  std::vector<Expr> split = {in[0], in[1]}, rows = {in[0]};
  std::vector<int64_t> order = {0}, back = {0, static_cast<int64_t>(spatial) + 1};
  for (size_t k = 0; k < spatial; ++k) {
    const Expr count = in[k + 2].constant() / c.stride[k];
    split.push_back(count);
    split.emplace_back(c.stride[k]);
    rows.push_back(count);
    order.push_back(static_cast<int64_t>(2 + 2 * k));
    back.push_back(static_cast<int64_t>(k) + 1);
  }
  order.push_back(1);
  for (size_t k = 0; k < spatial; ++k) order.push_back(static_cast<int64_t>(3 + 2 * k));
  const Expr depth = product({weight.begin() + 1, weight.end()});
  rows.push_back(depth);
  TensorId patches = n.add_transpose(n.add_reshape(x, split), order);
  patches = n.add_reshape(patches, rows);
  const TensorId flat = n.add_reshape(w, {weight[0], depth});
  const TensorId bias = layer.inputs.size() == 3 ? r.map(layer.inputs[2]) : -1;
  const TensorId y = n.add_matrix_multiply(patches, false, flat, true, bias);
  r.bind(layer.outputs[0], n.add_transpose(y, back));
}

bool wants_channels(const Network& n, const NetworkLayer& layer, const Convolution& c,
                    int64_t multiple) {
  const std::vector<Expr>& x = n.type(layer.inputs[0]).shape;
  return c.channels_last && !c.transposed && c.groups == 1 && x.back().is_constant() &&
         x.back().constant() % multiple != 0 &&
         n.tensor(layer.inputs[1]).role == TensorRole::kConstant;
}

void add_padded(Rewriter& r, const NetworkLayer& layer, int64_t multiple) {
  Network& n = r.network();
  n.current = layer.provenance;
  const TensorId x = r.map(layer.inputs[0]);
  const NetworkTensor& weight = r.source().tensor(layer.inputs[1]);
  const std::vector<Expr>& w = weight.type.shape;
  const int64_t have = w[1].constant(), want = (have + multiple - 1) / multiple * multiple;
  Convolution attributes = std::get<Convolution>(layer.attributes);
  Pad pad;
  pad.before.assign(n.type(x).shape.size(), 0);
  pad.after = pad.before;
  pad.after.back() = want - have;
  // The copy may as well hold the margins of the rows: with none, a window's row is one piece.
  const size_t width = pad.before.size() - 2;
  pad.before[width] = std::exchange(attributes.pad_before.back(), 0);
  pad.after[width] = std::exchange(attributes.pad_after.back(), 0);
  pad.value = Scalar::of(0.0);
  std::vector<Expr> shape = w;
  shape[1] = want;
  const int64_t taps =
      product({w.begin() + 2, w.end()}).constant() * dtype_bytes(weight.type.dtype);
  void* memory = nullptr;
  TensorData data = TensorData::allocate(w[0].constant() * want * taps, &memory);
  std::memset(memory, 0, static_cast<size_t>(data.size_bytes));
  for (int64_t o = 0; o < w[0].constant(); ++o) {
    std::memcpy(static_cast<char*>(memory) + o * want * taps,
                weight.data.as<char>() + o * have * taps, static_cast<size_t>(have * taps));
  }
  std::vector<TensorId> inputs = {
      n.add_pad(x, pad),
      n.add_constant(weight.name + ".padded", {weight.type.dtype, shape}, std::move(data))};
  if (layer.inputs.size() == 3) inputs.push_back(r.map(layer.inputs[2]));
  r.bind(layer.outputs[0], n.add_layer(attributes, inputs)[0]);
}

/// Rewrites the convolutions that `wanted` chooses.
template <typename Wanted, typename Add>
int rewrite_convolutions(Network& network, const Wanted& wanted, const Add& add) {
  Rewriter rewriter(network);
  int fired = 0;
  for (const NetworkLayer& layer : network.layers) {
    const auto* conv = std::get_if<Convolution>(&layer.attributes);
    if (conv != nullptr && wanted(layer, *conv)) {
      add(rewriter, layer, *conv);
      ++fired;
    } else {
      rewriter.copy(layer);
    }
  }
  if (fired > 0) {
    Network result = rewriter.finish();
    network = std::move(result);
  }
  return fired;
}

}  // namespace

int patches_as_products(Network& network, const OptimizerOptions& options) {
  if (!options.traits.channels_last) {
    return 0;
  }
  return rewrite_convolutions(
      network,
      [&](const NetworkLayer& l, const Convolution& c) { return is_patches(network, l, c); },
      add_patches);
}

int pad_channels(Network& network, const OptimizerOptions& options) {
  const int64_t multiple = options.traits.channel_multiple;
  if (multiple <= 1) {
    return 0;
  }
  return rewrite_convolutions(
      network,
      [&](const NetworkLayer& l, const Convolution& c) {
        return wants_channels(network, l, c, multiple);
      },
      [&](Rewriter& r, const NetworkLayer& l, const Convolution&) { add_padded(r, l, multiple); });
}

}  // namespace stator
