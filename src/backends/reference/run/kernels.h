// SPDX-License-Identifier: Apache-2.0
//
// One function a layer kind; see stator/layer.h for what each computes. Attributes have concrete
// sizes. A family a file in kernels/.
#pragma once

#include <vector>

#include "backends/reference/run/tensor.h"
#include "stator/layer.h"

namespace stator::reference {

using Tensors = std::vector<Tensor>;

void run(const Elementwise& layer, const Tensors& in, Tensors& out);
void run(const Unary& layer, const Tensors& in, Tensors& out);
void run(const Cast& layer, const Tensors& in, Tensors& out);
void run(const Select& layer, const Tensors& in, Tensors& out);
void run(const Fill& layer, const Tensors& in, Tensors& out);
void run(const Iota& layer, const Tensors& in, Tensors& out);
void run(const SizeValue& layer, const Tensors& in, Tensors& out);
void run(const Transpose& layer, const Tensors& in, Tensors& out);
void run(const Reshape& layer, const Tensors& in, Tensors& out);
void run(const Expand& layer, const Tensors& in, Tensors& out);
void run(const Slice& layer, const Tensors& in, Tensors& out);
void run(const Concat& layer, const Tensors& in, Tensors& out);
void run(const Pad& layer, const Tensors& in, Tensors& out);
void run(const MatrixMultiply& layer, const Tensors& in, Tensors& out);
void run(const Convolution& layer, const Tensors& in, Tensors& out);
void run(const Pooling& layer, const Tensors& in, Tensors& out);
void run(const AdaptivePooling& layer, const Tensors& in, Tensors& out);
void run(const Reduce& layer, const Tensors& in, Tensors& out);
void run(const Softmax& layer, const Tensors& in, Tensors& out);
void run(const Normalization& layer, const Tensors& in, Tensors& out);
void run(const Attention& layer, const Tensors& in, Tensors& out);
void run(const Check& layer, const Tensors& in, Tensors& out);
void run(const Gather& layer, const Tensors& in, Tensors& out);
void run(const GatherElements& layer, const Tensors& in, Tensors& out);
void run(const IndexTensors& layer, const Tensors& in, Tensors& out);
void run(const ScatterElements& layer, const Tensors& in, Tensors& out);
void run(const SliceScatter& layer, const Tensors& in, Tensors& out);
void run(const TopK& layer, const Tensors& in, Tensors& out);
void run(const Sort& layer, const Tensors& in, Tensors& out);
void run(const Scan& layer, const Tensors& in, Tensors& out);
void run(const Resize& layer, const Tensors& in, Tensors& out);

}  // namespace stator::reference
