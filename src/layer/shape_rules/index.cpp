// SPDX-License-Identifier: Apache-2.0
#include "layer/shape_rules/rules.h"

namespace stator::shape_rules {
namespace {

Status expect_indices(const TensorType& indices) {
  if (!is_integral(indices.dtype)) {
    return refuse("indices must be integers");
  }
  return {};
}

}  // namespace

Result<Types> infer(const Check&, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 2));
  if (in[in.size() - 1].dtype != DType::kInt64) {
    return refuse("what is checked must be i64");
  }
  STATOR_TRY(const std::vector<Expr> shape,
             broadcast(in[0].shape, in[in.size() - 1].shape, in.bounds));
  if (shape.size() != in[0].shape.size()) {
    return refuse("what is checked must broadcast to the input");
  }
  return Types{in[0]};
}

Result<Types> infer(const Gather& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 2, 2));
  STATOR_RETURN_IF_ERROR(expect_axis(layer.axis, in[0].rank()));
  STATOR_RETURN_IF_ERROR(expect_indices(in[1]));
  TensorType out{in[0].dtype, {}};
  for (size_t k = 0; k < in[0].shape.size(); ++k) {
    if (static_cast<int64_t>(k) == layer.axis) {
      out.shape.insert(out.shape.end(), in[1].shape.begin(), in[1].shape.end());
    } else {
      out.shape.push_back(in[0].shape[k]);
    }
  }
  return Types{std::move(out)};
}

Result<Types> infer(const GatherElements& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 2, 2));
  STATOR_RETURN_IF_ERROR(expect_axis(layer.axis, in[0].rank()));
  STATOR_RETURN_IF_ERROR(expect_indices(in[1]));
  if (in[0].rank() != in[1].rank()) {
    return refuse("input and indices must have one rank");
  }
  return Types{{in[0].dtype, in[1].shape}};
}

Result<Types> infer(const IndexTensors& layer, const Inputs& in) {
  if (in.size() < 2) {
    return refuse("it needs an index");
  }
  const auto count = static_cast<int64_t>(in.size() - 1);
  if (layer.first_axis < 0 || layer.first_axis + count > in[0].rank()) {
    return refuse("it has more indices than axes");
  }
  std::vector<Expr> shape = in[1].shape;
  for (size_t i = 1; i < in.size(); ++i) {
    STATOR_RETURN_IF_ERROR(expect_indices(in[i]));
    STATOR_TRY(shape, broadcast(shape, in[i].shape, in.bounds));
  }
  TensorType out{in[0].dtype, {}};
  for (int64_t k = 0; k < in[0].rank(); ++k) {
    if (k == layer.first_axis) {
      out.shape.insert(out.shape.end(), shape.begin(), shape.end());
    }
    if (k < layer.first_axis || k >= layer.first_axis + count) {
      out.shape.push_back(in[0].shape[static_cast<size_t>(k)]);
    }
  }
  return Types{std::move(out)};
}

Result<Types> infer(const ScatterElements& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 3, 3));
  STATOR_RETURN_IF_ERROR(expect_axis(layer.axis, in[0].rank()));
  STATOR_RETURN_IF_ERROR(expect_indices(in[1]));
  if (in[0].rank() != in[1].rank() || in[0].rank() != in[2].rank() || in[0].dtype != in[2].dtype) {
    return refuse("input, indices and updates must have one rank, input and updates one type");
  }
  const bool sums = layer.op == ScatterOp::kAdd || layer.op == ScatterOp::kMul;
  if (in[0].dtype == DType::kBool && sums) {
    return refuse("truth values have no sums and products");
  }
  return Types{in[0]};
}

}  // namespace stator::shape_rules
