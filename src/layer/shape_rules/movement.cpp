// SPDX-License-Identifier: Apache-2.0
#include "layer/shape_rules/rules.h"

namespace stator::shape_rules {

Result<Types> infer(const Transpose& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 1));
  const auto rank = static_cast<size_t>(in[0].rank());
  std::vector<bool> seen(rank, false);
  TensorType out{in[0].dtype, {}};
  for (const int64_t axis : layer.permutation) {
    STATOR_RETURN_IF_ERROR(expect_axis(axis, in[0].rank()));
    if (seen[static_cast<size_t>(axis)]) {
      return refuse("its permutation names axis " + std::to_string(axis) + " twice");
    }
    seen[static_cast<size_t>(axis)] = true;
    out.shape.push_back(in[0].shape[static_cast<size_t>(axis)]);
  }
  if (out.shape.size() != rank) {
    return refuse("its permutation must name every axis");
  }
  return Types{std::move(out)};
}

Result<Types> infer(const Reshape& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 1));
  const Expr before = product(in[0].shape);
  const Expr after = product(layer.shape);
  if (in.bounds.proves_not_equal(before, after)) {
    return refuse(before.str() + " elements do not become " + after.str());
  }
  return Types{{in[0].dtype, layer.shape}};
}

Result<Types> infer(const Expand& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 1));
  if (layer.shape.size() < in[0].shape.size()) {
    return refuse("it cannot drop axes");
  }
  const size_t lead = layer.shape.size() - in[0].shape.size();
  for (size_t k = 0; k < in[0].shape.size(); ++k) {
    const Expr& from = in[0].shape[k];
    const Expr& to = layer.shape[lead + k];
    if (!from.is_constant(1) && in.bounds.proves_not_equal(from, to)) {
      return refuse("size " + from.str() + " does not expand to " + to.str());
    }
  }
  return Types{{in[0].dtype, layer.shape}};
}

Result<Types> infer(const Slice& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 1));
  const size_t rank = in[0].shape.size();
  if (layer.start.size() != rank || layer.size.size() != rank || layer.step.size() != rank) {
    return refuse("it needs a start, size and step for each of " + std::to_string(rank) + " axes");
  }
  return Types{{in[0].dtype, layer.size}};
}

Result<Types> infer(const Concat& layer, const Inputs& in) {
  if (in.size() == 0) {
    return refuse("it needs an input");
  }
  STATOR_RETURN_IF_ERROR(expect_axis(layer.axis, in[0].rank()));
  TensorType out = in[0];
  const auto axis = static_cast<size_t>(layer.axis);
  for (size_t i = 1; i < in.size(); ++i) {
    if (in[i].dtype != out.dtype || in[i].rank() != out.rank()) {
      return refuse("its inputs must have one element type and rank");
    }
    out.shape[axis] = out.shape[axis] + in[i].shape[axis];
  }
  return Types{std::move(out)};
}

Result<Types> infer(const Pad& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 1));
  const size_t rank = in[0].shape.size();
  if (layer.before.size() != rank || layer.after.size() != rank) {
    return refuse("it needs a padding for each of " + std::to_string(rank) + " axes");
  }
  TensorType out = in[0];
  for (size_t k = 0; k < rank; ++k) {
    out.shape[k] = out.shape[k] + layer.before[k] + layer.after[k];
  }
  return Types{std::move(out)};
}

Result<Types> infer(const SliceScatter& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 2, 2));
  STATOR_RETURN_IF_ERROR(expect_axis(layer.axis, in[0].rank()));
  if (in[0].dtype != in[1].dtype || in[0].rank() != in[1].rank()) {
    return refuse("its inputs must have one element type and rank");
  }
  return Types{in[0]};
}

}  // namespace stator::shape_rules
