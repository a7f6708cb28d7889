// SPDX-License-Identifier: Apache-2.0
//
// Reductions, normalizations, scans and sorts.
#include <algorithm>

#include "layer/scan_places.h"
#include "layer/shape_rules/rules.h"

namespace stator::shape_rules {

Result<Types> infer(const Reduce& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 1));
  TensorType out{in[0].dtype, {}};
  if (layer.op == ReduceOp::kArgMax || layer.op == ReduceOp::kArgMin) {
    out.dtype = DType::kInt64;
    if (layer.axes.size() != 1) {
      return refuse("an index is found along one axis");
    }
  } else if (layer.op == ReduceOp::kAny || layer.op == ReduceOp::kAll) {
    out.dtype = DType::kBool;
  }
  for (const int64_t axis : layer.axes) {
    STATOR_RETURN_IF_ERROR(expect_axis(axis, in[0].rank()));
  }
  for (size_t k = 0; k < in[0].shape.size(); ++k) {
    const bool reduced = std::find(layer.axes.begin(), layer.axes.end(), static_cast<int64_t>(k)) !=
                         layer.axes.end();
    if (!reduced) {
      out.shape.push_back(in[0].shape[k]);
    } else if (layer.keep_dims) {
      out.shape.emplace_back(1);
    }
  }
  return Types{std::move(out)};
}

Result<Types> infer(const Softmax& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 1));
  STATOR_RETURN_IF_ERROR(expect_axis(layer.axis, in[0].rank()));
  return Types{in[0]};
}

Result<Types> infer(const Normalization& layer, const Inputs& in) {
  const size_t count = 1 + (layer.has_scale ? 1 : 0) + (layer.has_bias ? 1 : 0);
  STATOR_RETURN_IF_ERROR(expect_inputs(in, count, count));
  const auto rank = static_cast<int64_t>(in[0].shape.size());
  const auto axes = static_cast<int64_t>(layer.axes.size());
  for (int64_t k = 0; k < axes; ++k) {
    if (layer.axes[static_cast<size_t>(k)] != rank - axes + k) {
      return refuse("it normalizes the last axes");
    }
  }
  for (size_t i = 1; i < in.size(); ++i) {
    if (static_cast<int64_t>(in[i].shape.size()) != axes || in[i].dtype != in[0].dtype) {
      return refuse("scale and bias have the shape and type of the normalized axes");
    }
  }
  return Types{in[0]};
}

Result<Types> infer(const TopK& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 1));
  STATOR_RETURN_IF_ERROR(expect_axis(layer.axis, in[0].rank()));
  TensorType values = in[0];
  values.shape[static_cast<size_t>(layer.axis)] = layer.k;
  TensorType indices{DType::kInt64, values.shape};
  return Types{std::move(values), std::move(indices)};
}

Result<Types> infer(const Sort& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 1));
  STATOR_RETURN_IF_ERROR(expect_axis(layer.axis, in[0].rank()));
  return Types{in[0], {DType::kInt64, in[0].shape}};
}

Result<Types> infer(const Scan& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 1));
  STATOR_RETURN_IF_ERROR(expect_axis(layer.axis, in[0].rank()));
  if (layer.op == ScanOp::kLogSumExp && !is_floating_point(in[0].dtype)) {
    return refuse("only floats have logarithms");
  }
  return has_places(layer.op) ? Types{in[0], {DType::kInt64, in[0].shape}} : Types{in[0]};
}

}  // namespace stator::shape_rules
