// SPDX-License-Identifier: Apache-2.0
//
// One function a kind of region; each appends a region for a layer whose role it is.
#pragma once

#include "optimizer/fusion/loop_builder.h"
#include "optimizer/region_builder.h"

namespace stator {

struct FusionContext {
  const Network& network;
  const FusionPlan& plan;
  RegionBuilder& regions;
};

/// The loop that writes a tensor computed by pointwise layers and views.
void add_pointwise_region(FusionContext& c, TensorId id);
void add_reduction_region(FusionContext& c, const NetworkLayer& layer);
void add_pooling(FusionContext& c, const NetworkLayer& layer);  // of either kind
/// The rest of a reduction's region: what the plan computes from the result at once, and the store.
void finish_reduction(FusionContext& c, LoopBuilder& loop, const NetworkLayer& layer,
                      const Index& index, OpId value);
/// Whether the epilogue that the plan gives a contraction reads its result where the contraction
/// makes it: with symbolic sizes, views between them may be more than the bounds can prove.
bool epilogue_fits(FusionContext& c, const NetworkLayer& layer);
/// With the epilogue that the plan gives it; the region writes the epilogue's end.
void add_matmul_region(FusionContext& c, const NetworkLayer& layer);
void add_convolution_region(FusionContext& c, const NetworkLayer& layer);
/// `out` is the layer's result, or the transpose of it that its one reader takes.
void add_attention_region(FusionContext& c, const NetworkLayer& layer, TensorId out);
/// A scan, a sort, a top-k or a scatter; the last in place of what a loop before it has put there.
void add_whole_layer(FusionContext& c, const NetworkLayer& layer);

/// Appends the region of a finished program.
void add_loop(FusionContext& c, LoopBuilder& loop, const std::vector<TensorId>& outputs,
              const std::vector<Provenance>& provenance);
/// A name for profiles: the nodes that the provenance names, at most three of them.
std::string region_name(const std::vector<Provenance>& provenance, const std::string& otherwise);
/// Provenance of a tensor's layer and of what is computed in place for it.
std::vector<Provenance> provenance_of(const FusionContext& c, TensorId id);

/// The tensor as a strided view of something in memory: element offset of `index` (over the
/// symbols of `dims`) with one stride a dim. `input`: its buffer in `loop`. When that is not
/// possible a copy region is made first.
StridedView strided_operand(FusionContext& c, LoopBuilder& loop, TensorId id, const Index& index,
                            const std::vector<Expr>& dims);

}  // namespace stator
