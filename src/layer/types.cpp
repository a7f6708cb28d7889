// SPDX-License-Identifier: Apache-2.0
#include "layer/shape_rules/rules.h"
#include "stator/layer.h"

namespace stator {

std::string print_type(const TensorType& type) {
  std::string s = std::string(dtype_name(type.dtype)) + "[";
  for (size_t k = 0; k < type.shape.size(); ++k) {
    s += (k > 0 ? ", " : "") + type.shape[k].str();
  }
  return s + "]";
}

std::vector<Expr> contiguous_strides(const std::vector<Expr>& shape) {
  std::vector<Expr> strides(shape.size());
  Expr stride = 1;
  for (size_t k = shape.size(); k-- > 0;) {
    strides[k] = stride;
    stride = stride * shape[k];
  }
  return strides;
}

Result<std::vector<TensorType>> infer_types(const LayerAttributes& attributes,
                                            const std::vector<TensorType>& inputs,
                                            const Bounds& bounds) {
  const shape_rules::Inputs in{inputs, bounds};
  Result<std::vector<TensorType>> types =
      std::visit([&in](const auto& layer) { return shape_rules::infer(layer, in); }, attributes);
  if (types.ok()) {
    return types;
  }
  std::string given;
  for (const TensorType& type : inputs) {
    given += (given.empty() ? "" : ", ") + print_type(type);
  }
  return Error{types.error().code, std::string(layer_kind_name(attributes)) + " of (" + given +
                                       "): " + types.error().message};
}

namespace shape_rules {

Error refuse(const std::string& what) { return Error{ErrorCode::kInvalidArgument, what}; }

Status expect_inputs(const Inputs& in, size_t least, size_t most) {
  if (in.size() < least || in.size() > most) {
    return refuse("takes " + std::to_string(least) +
                  (least == most ? "" : " to " + std::to_string(most)) + " inputs, got " +
                  std::to_string(in.size()));
  }
  return {};
}

Status expect_axis(int64_t axis, int rank) {
  if (axis < 0 || axis >= rank) {
    return refuse("axis " + std::to_string(axis) + " is outside rank " + std::to_string(rank));
  }
  return {};
}

Result<std::vector<Expr>> broadcast(const std::vector<Expr>& a, const std::vector<Expr>& b,
                                    const Bounds& bounds) {
  const size_t rank = std::max(a.size(), b.size());
  std::vector<Expr> shape(rank);
  for (size_t k = 0; k < rank; ++k) {
    const Expr x = k < rank - a.size() ? Expr(1) : a[k - (rank - a.size())];
    const Expr y = k < rank - b.size() ? Expr(1) : b[k - (rank - b.size())];
    if (x == y || y.is_constant(1)) {
      shape[k] = x;
    } else if (x.is_constant(1)) {
      shape[k] = y;
    } else if (bounds.proves_not_equal(x, y)) {
      return refuse("sizes " + x.str() + " and " + y.str() + " do not broadcast");
    } else {
      shape[k] = x.is_constant() ? x : y.is_constant() ? y : x;
    }
  }
  return shape;
}

}  // namespace shape_rules
}  // namespace stator
