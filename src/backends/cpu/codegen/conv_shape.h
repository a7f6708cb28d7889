// SPDX-License-Identifier: Apache-2.0
//
// A convolution with its spatial axes brought to three (depth, height, width; missing ones are 1
// wide), as the kernels index it.
#pragma once

#include <array>
#include <optional>

#include "backends/cpu/codegen/packing_recipe.h"
#include "region/region.h"

namespace stator::cpu {

struct ConvShape {
  int spatial_rank = 2;
  Expr batch;
  std::array<Expr, 3> in, out;  // spatial sizes
  std::array<int64_t, 3> kernel{1, 1, 1}, stride{1, 1, 1}, dilation{1, 1, 1}, pad{0, 0, 0};
  bool pads = false;  // some output may look outside the input
  int64_t groups = 1;
  int64_t group_in = 1, group_out = 1;  // channels of one group
  bool bytes = false;                   // a channel is four, of a byte each

  explicit ConvShape(const ConvolutionContraction& conv);
  int64_t channels_in() const { return groups * group_in; }
  int64_t channels_out() const { return groups * group_out; }
  int64_t kernel_positions() const { return kernel[0] * kernel[1] * kernel[2]; }
  /// Elements of k for one output.
  int64_t depth() const { return kernel_positions() * group_in; }
  /// One channel in, one out, per group: no product of matrices in it.
  bool depthwise() const { return groups > 1 && group_in == 1 && group_out == 1 && !bytes; }
};

/// Weights [O, C/groups, kernel…] as panels: [group][panel][kernel position][channel][columns].
PanelRecipe conv_recipe(const ConvShape& shape, int64_t columns);
/// Depthwise weights as [kernel position][channels], the channels filled up to `lanes`.
PanelRecipe depthwise_recipe(const ConvShape& shape, int64_t lanes);

/// The same convolution as a product of matrices over all pixels at once, where it is one: kernel
/// 1, stride 1, no padding, one group, and an epilogue that only sees a pixel's flat position.
std::optional<MatmulContraction> conv_as_matmul(const ConvolutionContraction& conv);

}  // namespace stator::cpu
