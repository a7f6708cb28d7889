// SPDX-License-Identifier: Apache-2.0
#include "conversion/conversion.h"

#include "base/check.h"

namespace stator {
namespace {

/// Bytes of a constant's shape, which is never symbolic.
int64_t constant_bytes(const TensorMeta& meta, const std::string& name) {
  const Expr elements = product(meta.shape);
  STATOR_CHECK(elements.is_constant(), "constant " + name + " has a symbolic size");
  return elements.constant() * dtype_bytes(meta.dtype);
}

}  // namespace

Scalar scalar_of(const Argument& argument, DType dtype) {
  if (const auto* real = std::get_if<double>(&argument)) {
    if (is_floating_point(dtype)) {
      return Scalar::of(*real);
    }
    return Scalar::of(static_cast<int64_t>(dtype == DType::kBool ? *real != 0 : *real));
  }
  int64_t integer = 0;
  if (const auto* flag = std::get_if<bool>(&argument)) {
    integer = *flag ? 1 : 0;
  } else {
    const auto* expr = std::get_if<Expr>(&argument);
    STATOR_CHECK(expr != nullptr && expr->is_constant(), "an argument is no constant scalar");
    integer = expr->constant();
  }
  if (is_floating_point(dtype)) {
    return Scalar::of(static_cast<double>(integer));
  }
  return Scalar::of(dtype == DType::kBool ? static_cast<int64_t>(integer != 0) : integer);
}

void Conversion::bind(ValueId value, TensorId tensor) { tensors_[value] = tensor; }

TensorId Conversion::tensor(ValueId value) {
  if (const auto found = tensors_.find(value); found != tensors_.end()) {
    return found->second;
  }
  STATOR_CHECK(value != kNoValue, "a converter asked for a tensor that the node does not have");
  const std::string& name = graph_.value(value).name;
  const GraphInput* constant = graph_.constant(value);
  STATOR_CHECK(constant != nullptr, "value " + name + " comes from outside of its segment");
  const TensorMeta& meta = graph_.value(value).tensor;
  STATOR_CHECK(constant->data.size_bytes == constant_bytes(meta, name),
               "constant " + name + " has " + std::to_string(constant->data.size_bytes) +
                   " bytes where its type asks for " + std::to_string(constant_bytes(meta, name)));
  const std::string& origin = constant->target.empty() ? name : constant->target;
  const TensorId id =
      network_.add_constant(name, {meta.dtype, meta.shape}, constant->data, WeightOrigin{origin});
  tensors_[value] = id;
  return id;
}

TensorId Conversion::operand(const Node& node, std::string_view arg, DType dtype) {
  const Argument* argument = node.find(arg);
  STATOR_CHECK(argument != nullptr, node.target + " has no argument " + std::string(arg));
  if (const auto* use = std::get_if<ValueUse>(argument)) {
    return cast(tensor(use->id), dtype);
  }
  if (const auto* expr = std::get_if<Expr>(argument); expr != nullptr && !expr->is_constant()) {
    return cast(network_.add_size_value(*expr), dtype);
  }
  return network_.add_fill({}, dtype, scalar_of(*argument, dtype));
}

TensorId Conversion::cast(TensorId tensor, DType dtype) {
  return network_.type(tensor).dtype == dtype ? tensor : network_.add_cast(tensor, dtype);
}

TensorId Conversion::fill(const Scalar& value, DType dtype) {
  return network_.add_fill({}, dtype, value);
}

bool Conversion::used(const Node& node, int output) {
  if (used_.empty()) {
    for (const auto& users : graph_.users()) {
      used_.push_back(!users.empty());
    }
    for (const GraphOutput& graph_output : graph_.outputs) {
      if (const auto* use = std::get_if<ValueUse>(&graph_output.value);
          use != nullptr && use->id != kNoValue) {
        used_[static_cast<size_t>(use->id)] = true;
      }
    }
  }
  return used_[static_cast<size_t>(node.outputs[static_cast<size_t>(output)])];
}

void Conversion::set(const Node& node, TensorId tensor, int output) {
  const ValueId value = node.outputs[static_cast<size_t>(output)];
  const TensorMeta& meta = graph_.value(value).tensor;
  const TensorType& type = network_.type(tensor);
  STATOR_CHECK(type.rank() == meta.rank(), node.target + " (" + node.name + ") was converted to " +
                                               print_type(type) + " where PyTorch has " +
                                               stator::print_type(graph_.value(value)));
  bind(value, cast(tensor, meta.dtype));
}

}  // namespace stator
