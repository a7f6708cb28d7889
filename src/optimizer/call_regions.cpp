// SPDX-License-Identifier: Apache-2.0
#include "optimizer/call_regions.h"

namespace stator {

void add_call_region(RegionBuilder& builder, const NetworkLayer& layer) {
  std::vector<int32_t> inputs;
  for (const TensorId id : layer.inputs) {
    inputs.push_back(builder.tensor(id));
  }
  std::vector<int32_t> outputs;
  for (const TensorId id : layer.outputs) {
    outputs.push_back(builder.tensor(id));
  }
  const std::string name =
      layer.provenance.node.empty() ? layer_kind_name(layer.attributes) : layer.provenance.node;
  builder.add_region(CallRegion{layer.attributes}, std::move(inputs), std::move(outputs),
                     {layer.provenance}, name);
}

Result<RegionGraph> call_regions(const Network& network) {
  RegionBuilder builder(network);
  for (const NetworkLayer& layer : network.layers) {
    const bool is_view = std::holds_alternative<Reshape>(layer.attributes);
    if (is_view && builder.add_alias(layer.outputs[0], layer.inputs[0])) {
      continue;
    }
    add_call_region(builder, layer);
  }
  return builder.finish();
}

}  // namespace stator
