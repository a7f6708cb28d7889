// SPDX-License-Identifier: Apache-2.0
#include "optimizer/optimizer.h"
#include "optimizer/passes/passes.h"

namespace stator {

const std::vector<NetworkPass>& network_passes() {
  static const auto& passes = *new std::vector<NetworkPass>{
      {"quantized_products", quantized_products, "products of dequantized integers, on integers"},
      {"lower_precisions", lower_precisions, "products in a half, where that is allowed"},
      {"narrow_contractions", narrow_contractions, "products of widened halves, on the halves"},
      {"keep_sums_wide", keep_sums_wide, "residual sums between halves stay in float32"},
      {"fold_constant_layers", fold_constant_layers, "layers of constants are computed now"},
      {"transposed_convolutions", transposed_convolutions, "as direct ones of the spread input"},
      {"patches_as_products", patches_as_products, "windows side by side, as one product"},
      {"channels_last", channels_last, "convolutions and what lies between them, channels last"},
      {"expand_into_loops", expand_into_loops, "layers without a kernel, as loops"},
      {"fold_constant_layers_again", fold_constant_layers, "what the new order made constant"},
      {"merge_products", merge_products, "queries, keys and values as one product"},
      {"fold_scales", fold_scales, "batch norms go into the convolutions' weights"},
      {"pad_channels", pad_channels, "images of three channels get some more"},
      {"split_reductions", split_reductions, "long reductions to few results, in two steps"},
      {"remove_dead_layers", remove_dead_layers, "layers that nobody reads"},
  };
  return passes;
}

Status optimize(Network& network, const OptimizerOptions& options) {
  for (const NetworkPass& pass : network_passes()) {
    if (pass.run(network, options) == 0) {
      continue;
    }
    if (const Status status = verify_network(network); !status.ok()) {
      return Error{ErrorCode::kInternal,
                   "after the pass " + std::string(pass.name) + ": " + status.error().message};
    }
    if (options.after_pass) {
      options.after_pass(pass.name, network);
    }
  }
  return {};
}

}  // namespace stator
