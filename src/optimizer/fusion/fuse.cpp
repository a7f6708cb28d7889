// SPDX-License-Identifier: Apache-2.0
//
// The driver of fusion: layers in order; each tensor in memory gets the region that writes it.
#include "optimizer/call_regions.h"
#include "optimizer/fusion/regions.h"
#include "optimizer/optimizer.h"

namespace stator {
namespace {

/// The one reader of an attention's result, when it is a transpose that can take its place.
TensorId attention_result(const Network& network, const FusionPlan& plan, TensorId id) {
  if (plan.uses(id) != 1 || plan.readers(id).empty()) {
    return id;
  }
  const NetworkLayer& reader = network.layers[plan.readers(id).front()];
  const auto* transpose = std::get_if<Transpose>(&reader.attributes);
  return transpose != nullptr ? reader.outputs[0] : id;
}

class Fuser {
 public:
  Fuser(const Network& network, const BackendTraits& traits)
      : network_(network), plan_(network, traits), regions_(network) {}

  Result<RegionGraph> run() {
    FusionContext c{network_, plan_, regions_};
    remove_unproved_epilogues(c);
    mark_epilogues();
    for (size_t i = 0; i < network_.layers.size(); ++i) {
      add_layer(c, i);
    }
    return regions_.finish();
  }

 private:
  void remove_unproved_epilogues(FusionContext& c) {
    for (size_t i = 0; i < network_.layers.size(); ++i) {
      const NetworkLayer& layer = network_.layers[i];
      if (plan_.role(i) == LayerRole::kContraction && !epilogue_fits(c, layer)) {
        plan_.remove_epilogue(layer.outputs[0]);
      }
    }
  }

  /// The region of a contraction or a reduction stands where its epilogue ends.
  void mark_epilogues() {
    source_of_.assign(network_.tensors.size(), -1);
    for (size_t i = 0; i < network_.layers.size(); ++i) {
      if (plan_.role(i) == LayerRole::kContraction || plan_.role(i) == LayerRole::kReduction) {
        const TensorId end = plan_.epilogue_end(network_.layers[i].outputs[0]);
        source_of_[static_cast<size_t>(end)] = static_cast<int>(i);
      }
      if (plan_.role(i) == LayerRole::kAttention) {
        const TensorId out = attention_result(network_, plan_, network_.layers[i].outputs[0]);
        if (out != network_.layers[i].outputs[0]) {
          plan_.move_to_memory(network_.layers[i].outputs[0], out);
          written_by_attention_.push_back(out);
        }
      }
    }
  }

  void add_layer(FusionContext& c, size_t i) {
    const NetworkLayer& layer = network_.layers[i];
    for (const TensorId out : layer.outputs) {
      if (source_of_[static_cast<size_t>(out)] >= 0) {
        add_source(c, static_cast<size_t>(source_of_[static_cast<size_t>(out)]));
        return;
      }
    }
    switch (plan_.role(i)) {
      case LayerRole::kContraction:
      case LayerRole::kReduction:
        return;  // its region comes where its epilogue ends
      case LayerRole::kAttention:
        add_attention_region(c, layer, attention_result(network_, plan_, layer.outputs[0]));
        return;
      case LayerRole::kWhole:
        add_whole_layer(c, layer);
        return;
      case LayerRole::kCall:
        add_call_region(regions_, layer);
        return;
      default:
        add_computed(c, layer);
    }
  }

  void add_source(FusionContext& c, size_t i) {
    const NetworkLayer& layer = network_.layers[i];
    if (plan_.role(i) == LayerRole::kReduction) {
      add_reduction_region(c, layer);
    } else if (std::holds_alternative<MatrixMultiply>(layer.attributes)) {
      add_matmul_region(c, layer);
    } else {
      add_convolution_region(c, layer);
    }
  }

  void add_computed(FusionContext& c, const NetworkLayer& layer) {
    const TensorId out = layer.outputs[0];
    if (!plan_.in_memory(out)) {
      return;
    }
    for (const TensorId written : written_by_attention_) {
      if (written == out) {
        return;
      }
    }
    if (std::holds_alternative<Reshape>(layer.attributes) && plan_.in_memory(layer.inputs[0]) &&
        regions_.add_alias(out, layer.inputs[0])) {
      return;
    }
    add_pointwise_region(c, out);
  }

  const Network& network_;
  FusionPlan plan_;
  RegionBuilder regions_;
  std::vector<int> source_of_;  // by tensor: the layer whose region writes it as its epilogue's end
  std::vector<TensorId> written_by_attention_;
};

}  // namespace

Result<RegionGraph> fuse(const Network& network, const OptimizerOptions& options) {
  return options.traits.fuses_loops ? Fuser(network, options.traits).run() : call_regions(network);
}

}  // namespace stator
