// SPDX-License-Identifier: Apache-2.0
#include "layer/shape_rules/rules.h"

namespace stator::shape_rules {
namespace {

bool is_comparison(ElementwiseOp op) {
  return op >= ElementwiseOp::kEqual && op <= ElementwiseOp::kGreaterEqual;
}

}  // namespace

Result<Types> infer(const Elementwise& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 2, 2));
  if (in[0].dtype != in[1].dtype) {
    return refuse("its operands must have one element type");
  }
  STATOR_TRY(std::vector<Expr> shape, broadcast(in[0].shape, in[1].shape, in.bounds));
  const DType dtype = is_comparison(layer.op) ? DType::kBool : in[0].dtype;
  return Types{{dtype, std::move(shape)}};
}

Result<Types> infer(const Unary& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 1));
  return Types{{gives_truth(layer.op) ? DType::kBool : in[0].dtype, in[0].shape}};
}

Result<Types> infer(const Cast& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 1));
  return Types{{layer.to, in[0].shape}};
}

Result<Types> infer(const Select&, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 3, 3));
  if (in[0].dtype != DType::kBool) {
    return refuse("its condition must be bool");
  }
  if (in[1].dtype != in[2].dtype) {
    return refuse("its branches must have one element type");
  }
  STATOR_TRY(const std::vector<Expr> values, broadcast(in[1].shape, in[2].shape, in.bounds));
  STATOR_TRY(std::vector<Expr> shape, broadcast(in[0].shape, values, in.bounds));
  return Types{{in[1].dtype, std::move(shape)}};
}

Result<Types> infer(const Fill& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 0, 0));
  return Types{{layer.dtype, layer.shape}};
}

Result<Types> infer(const Iota& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 0, 0));
  if (!is_integral(layer.dtype)) {
    return refuse("its element type must be an integer");
  }
  return Types{{layer.dtype, {layer.length}}};
}

Result<Types> infer(const SizeValue&, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 0, 0));
  return Types{{DType::kInt64, {}}};
}

}  // namespace stator::shape_rules
