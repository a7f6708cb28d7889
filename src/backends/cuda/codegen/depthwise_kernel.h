// SPDX-License-Identifier: Apache-2.0
//
// Depthwise convolutions of images: a thread holds some neighbouring channels of a strip of results
// along the width, so that every input is read once for all the taps that want it.
#pragma once

#include "backends/cuda/codegen/loop_kernel.h"

namespace stator::cuda {

/// Two spatial dims, as many results as channels, floats or halves.
bool is_depthwise_image(const ConvolutionContraction& convolution);
/// `request`: of the epilogue. `channels` of a thread: 1, 2, 4 or 8, dividing their number. The
/// filter lies as [kernel…, O].
GeneratedKernel generate_depthwise(const ConvolutionContraction& convolution,
                                   const LoopRequest& request, int channels);

}  // namespace stator::cuda
