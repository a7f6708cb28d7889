// SPDX-License-Identifier: Apache-2.0
//
// Depthwise convolutions, channels last, one output channel for each input channel: vectors run
// over the channels, a few neighbouring pixels at a time share the weights. A task is a block of
// output rows.
#pragma once

#include "backend/compiler.h"
#include "backends/cpu/codegen/conv_shape.h"
#include "backends/cpu/codegen/gemm_host.h"

namespace stator::cpu {

struct DepthwiseTactic {
  int lanes = 16;
  int pixels = 4;         // outputs along the width that are computed together
  int64_t row_block = 4;  // output rows of a task

  /// "depthwise l16 p4 rb4"
  std::string name() const;
  static std::optional<DepthwiseTactic> parse(std::string_view text);
};

std::vector<DepthwiseTactic> depthwise_tactics(const ConvShape& shape, const Bounds& bounds,
                                               int lanes, int registers, int threads, int level);
/// f32, constant weights, groups = channels in = channels out.
KernelLaunch depthwise_launch(const ConvolutionContraction& conv, const DepthwiseTactic& tactic);
void emit_depthwise(KernelHost& host, const ConvolutionContraction& conv,
                    const DepthwiseTactic& tactic);

}  // namespace stator::cpu
