// SPDX-License-Identifier: Apache-2.0
//
// Upsampling: nearest, linear and cubic, in the .default and .vec forms.
#include <algorithm>

#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

const char* input_name(const Node& node) { return node.find("self") != nullptr ? "self" : "input"; }

/// Input steps per output step, 1 / scale_factor, where the caller gave factors; else 0: from the
/// sizes.
std::vector<double> steps(const Node& node, size_t axes) {
  std::vector<double> factors(axes, 0.0);
  if (const Argument* list = node.find("scale_factors")) {
    if (const auto* given = std::get_if<std::vector<double>>(list); given && !given->empty()) {
      factors = *given;
    }
  } else {
    const char* names[] = {"scales_d", "scales_h", "scales_w"};
    for (size_t k = 0; k < axes; ++k) {
      const char* name = axes == 1 ? "scales" : names[3 - axes + k];
      factors[k] = node.is_none(name) ? 0.0 : node.number(name);
    }
  }
  for (double& factor : factors) {
    factor = factor > 0 ? 1.0 / factor : 0.0;
  }
  return factors;
}

/// PyTorch's kernels for GPUs copy where no size changes, whatever factors were given; linear ones
/// interpolate by the factor.
bool copies_on_gpu(const Conversion& c, const Node& node, const Resize& resize) {
  if (!on_gpu(c.graph()) || resize.mode == ResizeMode::kLinear) {
    return false;
  }
  const Shape& from = c.meta(node, input_name(node)).shape;
  return std::equal(resize.size.begin(), resize.size.end(),
                    from.end() - static_cast<int64_t>(resize.size.size()));
}

Compute resize(ResizeMode mode, size_t axes) {
  return [mode, axes](Conversion& c, const Node& node) {
    const char* input = input_name(node);
    const bool moves = mode == ResizeMode::kNearest || mode == ResizeMode::kNearestExact;
    const DType given = c.meta(node, input).dtype;
    const DType dtype = moves ? given : compute_dtype(given);
    const Shape& shape = c.output_meta(node).shape;
    Resize resize;
    resize.mode = mode;
    resize.size.assign(shape.end() - static_cast<int64_t>(axes), shape.end());
    resize.align_corners = node.boolean("align_corners");
    resize.scale = steps(node, axes);
    if (copies_on_gpu(c, node, resize)) resize.scale.assign(axes, 0.0);
    return c.network().add_layer(resize, {c.operand(node, input, dtype)})[0];
  };
}

Support smooth(const SupportContext& c, const Node& node) {
  return floating_point_argument(c, node, input_name(node));
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_resize(ConverterRegistry& r) {
  using namespace aten;
  const auto add = [&](const std::string& name, ResizeMode mode, size_t axes,
                       const Validate& support) {
    r.add("aten." + name + ".default", single(aten::resize(mode, axes), support));
    r.add("aten." + name + ".vec", single(aten::resize(mode, axes), support));
  };
  for (size_t axes = 1; axes <= 3; ++axes) {
    const std::string d = std::to_string(axes) + "d";
    add("upsample_nearest" + d, ResizeMode::kNearest, axes, {});
    add("_upsample_nearest_exact" + d, ResizeMode::kNearestExact, axes, {});
  }
  add("upsample_linear1d", ResizeMode::kLinear, 1, smooth);
  add("upsample_bilinear2d", ResizeMode::kLinear, 2, smooth);
  add("upsample_trilinear3d", ResizeMode::kLinear, 3, smooth);
  add("upsample_bicubic2d", ResizeMode::kCubic, 2, smooth);
}

}  // namespace stator
