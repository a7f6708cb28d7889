// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "optimizer/fusion/decide.h"
#include "optimizer/optimizer.h"

namespace stator {
namespace {

/// Whether a layer may still be a call after the passes. Windows over images, with constant
/// weights, become channels last.
bool may_be_call(const Network& network, const NetworkLayer& layer, const BackendTraits& traits) {
  NetworkLayer turned = layer;
  if (auto* conv = std::get_if<Convolution>(&turned.attributes)) {
    conv->channels_last = true;
    conv->transposed = false;
  } else if (auto* pooling = std::get_if<Pooling>(&turned.attributes)) {
    pooling->channels_last = true;
  }
  return layer_role(network, turned, traits) == LayerRole::kCall;
}

}  // namespace

Result<std::vector<MissingKernel>> missing_kernels(Network network, OptimizerOptions options) {
  const BackendTraits& traits = options.traits;
  std::vector<MissingKernel> missing;
  const bool looks = traits.fuses_loops && std::any_of(network.layers.begin(), network.layers.end(),
                                                       [&](const NetworkLayer& layer) {
                                                         return may_be_call(network, layer, traits);
                                                       });
  if (!looks) {
    return missing;
  }
  options.time_outputs = nullptr;
  options.after_pass = nullptr;
  STATOR_RETURN_IF_ERROR(optimize(network, options));
  STATOR_TRY(const RegionGraph regions, fuse(network, options));
  for (const Region& region : regions.regions) {
    if (const auto* call = std::get_if<CallRegion>(&region.body)) {
      const Provenance from = region.provenance.empty() ? Provenance() : region.provenance.front();
      missing.push_back({from, layer_kind_name(call->attributes)});
    }
  }
  return missing;
}

}  // namespace stator
