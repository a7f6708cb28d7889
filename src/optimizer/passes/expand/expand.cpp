// SPDX-License-Identifier: Apache-2.0
#include "optimizer/passes/expand/expand.h"

#include "optimizer/passes/passes.h"

namespace stator {
namespace expand {

bool in_loops(const BackendTraits& traits, DType dtype) {
  return traits.loop_dtype != nullptr ? traits.loop_dtype(dtype) : is_plain_number(dtype);
}

TensorId coordinate(Network& to, const Expr& size, int64_t axis, int64_t rank, DType dtype) {
  std::vector<Expr> shape(static_cast<size_t>(rank), Expr(1));
  shape[static_cast<size_t>(axis)] = size;
  const TensorId numbers = to.add_iota(size, 0, 1, DType::kInt64);
  const TensorId shaped = rank == 1 ? numbers : to.add_reshape(numbers, shape);
  return dtype == DType::kInt64 ? shaped : to.add_cast(shaped, dtype);
}

namespace {

Results expand_layer(const Expansion& e) {
  const LayerAttributes& a = e.layer.attributes;
  if (std::holds_alternative<Reduce>(a)) return reduce_nothing(e);
  if (std::holds_alternative<Concat>(a)) return concat(e);
  if (std::holds_alternative<AdaptivePooling>(a)) return adaptive_pooling(e);
  if (std::holds_alternative<Resize>(a)) return resize(e);
  return std::nullopt;
}

}  // namespace
}  // namespace expand

int expand_into_loops(Network& network, const OptimizerOptions& options) {
  if (!options.traits.fuses_loops) {
    return 0;
  }
  Rewriter rewriter(network);
  int fired = 0;
  for (const NetworkLayer& layer : network.layers) {
    rewriter.network().current = layer.provenance;
    const expand::Results results = expand::expand_layer({rewriter, options.traits, layer});
    if (!results) {
      rewriter.copy(layer);
      continue;
    }
    for (size_t k = 0; k < results->size(); ++k) {
      if ((*results)[k] >= 0) rewriter.bind(layer.outputs[k], (*results)[k]);
    }
    ++fired;
  }
  if (fired > 0) {
    network = rewriter.finish();
  }
  return fired;
}

}  // namespace stator
