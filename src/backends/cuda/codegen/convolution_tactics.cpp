// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/depthwise_kernel.h"
#include "backends/cuda/codegen/epilogue.h"
#include "backends/cuda/codegen/prepare.h"
#include "backends/cuda/codegen/tile_shapes.h"

namespace stator::cuda {
namespace {

/// The library takes [O, kernel…, C/groups]; a loop over a depthwise one reads [kernel…, O].
std::string filter_recipe(const ConvolutionContraction& c, bool loop) {
  int64_t taps = 1;
  for (size_t k = 2; k < c.w_shape.size(); ++k) taps *= c.w_shape[k].constant();
  if (taps == 1) return "";
  if (c.w_shape[1].is_constant(1)) {
    return loop ? "channels_last 1 " + std::to_string(c.w_shape[0].constant()) + " " +
                      std::to_string(taps) + " " + std::to_string(dtype_bytes(c.dtype))
                : "";
  }
  return "channels_last " + std::to_string(c.w_shape[0].constant()) + " " +
         std::to_string(c.w_shape[1].constant()) + " " + std::to_string(taps) + " " +
         std::to_string(dtype_bytes(c.dtype));
}

void pack_weights(const ConvolutionContraction& c, bool loop, KernelLaunch* launch) {
  const std::string recipe = filter_recipe(c, loop);
  if (!recipe.empty()) {
    const int64_t bytes = product(c.w_shape).constant() * dtype_bytes(c.dtype);
    launch->packed.push_back({c.w, recipe, bytes});
  }
}

bool is_depthwise(const ConvolutionContraction& c) {
  return c.attributes.groups > 1 && c.w_shape[1].is_constant(1);
}

bool is_library_convolution(const ConvolutionContraction& c) {
  return is_library_dtype(c.dtype) && !c.attributes.transposed && c.w_constant;
}

/// How many channels a thread takes, the best guess first: as many as still give every
/// multiprocessor enough to do.
std::vector<int> depthwise_channels(const ConvolutionContraction& c, int level) {
  const int64_t channels = c.w_shape[0].constant();
  std::vector<int> counts;
  for (const int count : {4, 2, 8, 1}) {
    const bool aligned = channels % count == 0;
    if (aligned && (level > 0 || counts.empty()) && (count > 1 || counts.empty())) {
      counts.push_back(count);
    }
  }
  return counts;
}

}  // namespace

std::vector<Tactic> convolution_tactics(const ConvolutionContraction& c, const Target& target) {
  const int level = target.optimization_level;
  const bool tiled = target.capability == 90 && tile_steps(c) > 0;
  std::vector<Tactic> tactics;
  const auto add_tiles = [&] {
    for (const TileShape& shape : tile_shapes(c, target)) {
      tactics.push_back({tile_tactic(shape, c.dtype)});
    }
  };
  if (!is_library_convolution(c)) {
    if (!tiled) return {{"loop"}};
    add_tiles();
    return tactics;
  }
  const auto add_numbered = [&](int count) {
    for (int i = 0; i < count; ++i) tactics.push_back({"cudnn " + std::to_string(i)});
  };
  if (is_depthwise(c)) {
    if (is_depthwise_image(c)) {
      for (const int channels : depthwise_channels(c, level)) {
        tactics.push_back({"depthwise " + std::to_string(channels)});
      }
    } else {
      tactics.push_back({"loop"});
    }
    if (level > 3) add_numbered(1);  // making its plan takes long, and it was never faster
    return tactics;
  }
  const bool fixed = !constants(c.x_shape, c.x_shape.size()).empty();
  // Without tensor cores, and for groups, the library may have nothing: then the loop stays.
  const bool sure = c.attributes.groups == 1 && (target.tf32 || c.dtype != DType::kFloat32);
  if (!sure) tactics.push_back({"loop"});
  if (sure || level > 0) add_numbered(fixed ? library_proposals(level) : 1);
  if (tiled && level > 0) add_tiles();
  if (sure && level > (tiled ? 3 : 0)) tactics.push_back({"loop"});
  return tactics;
}

PreparedRegion prepare_convolution(const RegionGraph& graph, const Region& region,
                                   const ConvolutionContraction& c, const std::string& tactic,
                                   const std::string& name, bool tf32) {
  if (tactic.rfind("depthwise", 0) == 0) {
    const LoopRequest request = loop_request(graph, region, c.epilogue, name);
    PreparedRegion prepared =
        prepare_kernel(generate_depthwise(c, request, trailing_number(tactic)), request);
    pack_weights(c, true, &prepared.launch);
    return prepared;
  }
  if (const std::optional<TileShape> shape = parse_tile_tactic(tactic)) {
    const LoopRequest request = loop_request(graph, region, c.epilogue, name);
    PreparedRegion prepared = prepare_kernel(generate_convolution(c, request, *shape), request);
    pack_weights(c, false, &prepared.launch);
    return prepared;
  }
  if (tactic == "loop") {
    const LoopProgram loop = as_loop(c);
    PreparedRegion prepared = prepare_loop(graph, region, loop, name);
    pack_weights(c, true, &prepared.launch);
    return prepared;
  }
  ConvolutionPayload p;
  p.dtype = c.dtype;
  p.filter = {c.w_shape[0].constant()};
  for (size_t k = 2; k < c.w_shape.size(); ++k) p.filter.push_back(c.w_shape[k].constant());
  p.filter.push_back(c.w_shape[1].constant());
  p.stride = c.attributes.stride;
  p.dilation = c.attributes.dilation;
  p.pad_before = c.attributes.pad_before;
  p.pad_after = c.attributes.pad_after;
  p.groups = c.attributes.groups;
  p.tf32 = tf32 && c.dtype == DType::kFloat32;
  p.x = c.x;
  p.w = c.w;
  p.index = trailing_number(tactic);
  p.tuned = constants(c.x_shape, c.x_shape.size());
  p.buffers = buffer_count(region);
  PreparedRegion prepared;
  prepared.launch.sizes = c.x_shape;
  prepared.launch.sizes.insert(prepared.launch.sizes.end(), c.y_shape.begin(), c.y_shape.end());
  prepared.launch.scratch_bytes = kLibraryWorkspace;
  pack_weights(c, false, &prepared.launch);
  std::optional<LibraryEpilogue> e = match_epilogue(graph, region, c.epilogue, c.dtype);
  const bool fits = e.has_value() && e->out == c.dtype && e->alpha == 1 &&
                    e->store_index == dense_index(c.epilogue.dims) &&
                    (!e->activation.has_value() || *e->activation == UnaryOp::kRelu);
  if (fits) {
    p.y = c.epilogue.stores[0].buffer;
    p.bias = e->bias;
    p.residual = e->residual;
    p.relu = e->activation.has_value();
  } else {
    p.y = buffer_count(region) - 1;  // not written by the convolution
    add_epilogue_kernel(graph, region, c.dtype, product(c.y_shape), c.y_shape.back(), name,
                        &prepared, &p.epilogue);
  }
  prepared.payload = p;
  return prepared;
}

}  // namespace stator::cuda
