// SPDX-License-Identifier: Apache-2.0
//
// One shape rule a layer kind; infer_types in types.cpp calls them. Each checks count, dtypes and
// ranks of its inputs, so that what a parsed network or region says of types can be trusted.
#pragma once

#include <vector>

#include "stator/layer.h"

namespace stator::shape_rules {

using Types = std::vector<TensorType>;

/// What a rule sees.
struct Inputs {
  const Types& types;
  const Bounds& bounds;
  const TensorType& operator[](size_t i) const { return types[i]; }
  size_t size() const { return types.size(); }
};

Error refuse(const std::string& what);
/// NumPy broadcasting; sizes that cannot be proved to differ are taken as equal.
Result<std::vector<Expr>> broadcast(const std::vector<Expr>& a, const std::vector<Expr>& b,
                                    const Bounds& bounds);
Status expect_inputs(const Inputs& in, size_t least, size_t most);
Status expect_axis(int64_t axis, int rank);

Result<Types> infer(const Elementwise& layer, const Inputs& in);
Result<Types> infer(const Unary& layer, const Inputs& in);
Result<Types> infer(const Cast& layer, const Inputs& in);
Result<Types> infer(const Select& layer, const Inputs& in);
Result<Types> infer(const Fill& layer, const Inputs& in);
Result<Types> infer(const Iota& layer, const Inputs& in);
Result<Types> infer(const SizeValue& layer, const Inputs& in);
Result<Types> infer(const Transpose& layer, const Inputs& in);
Result<Types> infer(const Reshape& layer, const Inputs& in);
Result<Types> infer(const Expand& layer, const Inputs& in);
Result<Types> infer(const Slice& layer, const Inputs& in);
Result<Types> infer(const Concat& layer, const Inputs& in);
Result<Types> infer(const Pad& layer, const Inputs& in);
Result<Types> infer(const MatrixMultiply& layer, const Inputs& in);
Result<Types> infer(const Convolution& layer, const Inputs& in);
Result<Types> infer(const Pooling& layer, const Inputs& in);
Result<Types> infer(const AdaptivePooling& layer, const Inputs& in);
Result<Types> infer(const Reduce& layer, const Inputs& in);
Result<Types> infer(const Softmax& layer, const Inputs& in);
Result<Types> infer(const Normalization& layer, const Inputs& in);
Result<Types> infer(const Attention& layer, const Inputs& in);
Result<Types> infer(const Check& layer, const Inputs& in);
Result<Types> infer(const Gather& layer, const Inputs& in);
Result<Types> infer(const GatherElements& layer, const Inputs& in);
Result<Types> infer(const IndexTensors& layer, const Inputs& in);
Result<Types> infer(const ScatterElements& layer, const Inputs& in);
Result<Types> infer(const SliceScatter& layer, const Inputs& in);
Result<Types> infer(const TopK& layer, const Inputs& in);
Result<Types> infer(const Sort& layer, const Inputs& in);
Result<Types> infer(const Scan& layer, const Inputs& in);
Result<Types> infer(const Resize& layer, const Inputs& in);

}  // namespace stator::shape_rules
