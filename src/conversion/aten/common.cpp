// SPDX-License-Identifier: Apache-2.0
#include "conversion/aten/common.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/float_element.h"

namespace stator::aten {
namespace {

/// bool < integer < floating point < complex.
int category(DType dtype) {
  if (dtype == DType::kBool) return 0;
  if (is_integral(dtype)) return 1;
  return is_complex(dtype) ? 3 : 2;
}

/// `value` as `dtype` holds it.
Scalar rounded(const Scalar& value, DType dtype) {
  uint16_t stored = 0;
  store_float(&stored, dtype, 0, static_cast<float>(value.real));
  return Scalar::of(static_cast<double>(load_float(&stored, dtype, 0)));
}

bool is_number(const Argument& argument) {
  const auto* expr = std::get_if<Expr>(&argument);
  return (expr != nullptr && expr->is_constant()) || std::holds_alternative<double>(argument) ||
         std::holds_alternative<bool>(argument);
}

/// One class of operands: tensors with axes, 0-d tensors, or scalars.
using Class = std::optional<DType>;

void join(Class& into, DType dtype) { into = into ? promote_types(*into, dtype) : dtype; }

/// c10's combine_categories.
Class combine(const Class& higher, const Class& lower) {
  if (!higher || !lower) {
    return higher ? higher : lower;
  }
  if (category(*lower) <= category(*higher) && category(*higher) > 0) {
    return higher;
  }
  return promote_types(*higher, *lower);
}

}  // namespace

DType compute_dtype(DType dtype) {
  return dtype == DType::kFloat16 || dtype == DType::kBFloat16 ? DType::kFloat32 : dtype;
}

DType sum_dtype(DType dtype) { return is_byte(dtype) ? DType::kInt64 : compute_dtype(dtype); }

DType floating_dtype(DType dtype) { return is_floating_point(dtype) ? dtype : DType::kFloat32; }

DType result_type(const Graph& graph, const Node& node, Names args) {
  Class tensors, zero_dim, scalars;
  for (const std::string_view name : args) {
    const Argument* argument = node.find(name);
    if (argument == nullptr || node.is_none(name)) {
      continue;
    }
    if (const auto* use = std::get_if<ValueUse>(argument)) {
      const TensorMeta& meta = graph.value(use->id).tensor;
      join(meta.rank() > 0 ? tensors : zero_dim, meta.dtype);
    } else if (std::holds_alternative<double>(*argument)) {
      join(scalars, DType::kFloat32);
    } else if (std::holds_alternative<bool>(*argument)) {
      join(scalars, DType::kBool);
    } else {
      join(scalars, DType::kInt64);
    }
  }
  const Class result = combine(combine(tensors, zero_dim), scalars);
  STATOR_CHECK(result.has_value(), node.target + " has no operand to take a dtype from");
  return *result;
}

TensorId floating_operand(Conversion& c, const Node& node, std::string_view arg) {
  return c.operand(node, arg, compute_dtype(floating_dtype(c.meta(node, arg).dtype)));
}

TensorId promoted_operand(Conversion& c, const Node& node, std::string_view arg, DType promoted) {
  const DType computed = compute_dtype(promoted);
  const Argument* argument = node.find(arg);
  if (computed == promoted || argument == nullptr) {
    return c.operand(node, arg, computed);
  }
  if (is_number(*argument)) {
    return c.fill(rounded(scalar_of(*argument, computed), promoted), computed);
  }
  return c.cast(c.operand(node, arg, promoted), computed);
}

TensorId wide_operand(Conversion& c, const Node& node, std::string_view arg, DType promoted) {
  const bool kept = !has_tensor(node, arg) || (c.meta(node, arg).rank() == 0 && !on_gpu(c.graph()));
  return kept ? c.operand(node, arg, compute_dtype(promoted))
              : promoted_operand(c, node, arg, promoted);
}

bool on_gpu(const Graph& graph) { return graph.engine_device.rfind("cuda", 0) == 0; }

TensorId elementwise(Conversion& c, Pair operands, ElementwiseOp op) {
  return c.network().add_elementwise(operands.a, operands.b, op);
}

TensorId choose(Conversion& c, Choice operands) {
  return c.network().add_select(operands.condition, operands.a, operands.b);
}

TensorId real(Conversion& c, double value, DType dtype) {
  return c.fill(scalar_of(Argument{value}, dtype), dtype);
}

TensorId whole(Conversion& c, int64_t value, DType dtype) {
  return c.fill(scalar_of(Argument{Expr(value)}, dtype), dtype);
}

TensorId iota_along(Conversion& c, const Expr& length, const Expr& start, const Expr& step,
                    size_t axis, size_t rank) {
  Network& n = c.network();
  Shape along(rank, Expr(1));
  along[axis] = length;
  return n.add_reshape(n.add_iota(length, start, step, DType::kInt64), along);
}

TensorId int64_table(Conversion& c, const std::vector<int64_t>& values, const Shape& shape) {
  void* writable = nullptr;
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(int64_t));
  const TensorData data = TensorData::allocate(bytes, &writable);
  std::copy(values.begin(), values.end(), static_cast<int64_t*>(writable));
  const std::string name = "table_" + std::to_string(c.network().tensors.size());
  return c.network().add_constant(name, {DType::kInt64, shape}, data);
}

std::vector<int64_t> ints_of(const Node& node, std::string_view arg) {
  const Argument* argument = node.find(arg);
  if (argument != nullptr && std::holds_alternative<Expr>(*argument)) {
    return {node.integer(arg)};
  }
  return node.integers(arg);
}

std::vector<int64_t> axes_of(const Node& node, std::string_view arg, int64_t rank) {
  std::vector<int64_t> axes = ints_of(node, arg);
  if (axes.empty()) {
    axes.resize(static_cast<size_t>(rank));
    std::iota(axes.begin(), axes.end(), 0);
    return axes;
  }
  if (rank == 0) {
    return {};  // dim 0 or -1 of a 0-d tensor: nothing to do along it
  }
  for (int64_t& axis : axes) {
    axis = normalize_dim(axis, rank);
  }
  std::sort(axes.begin(), axes.end());
  return axes;
}

std::vector<int64_t> spread(std::vector<int64_t> values, size_t count) {
  if (values.size() == 1) {
    values.resize(count, values.front());
  }
  STATOR_CHECK(values.size() == count, "a list has the wrong number of entries");
  return values;
}

bool has_tensor(const Node& node, std::string_view arg) {
  const Argument* argument = node.find(arg);
  const auto* use = argument == nullptr ? nullptr : std::get_if<ValueUse>(argument);
  return use != nullptr && use->id != kNoValue;
}

std::optional<double> constant_number(const Node& node, std::string_view arg) {
  const Argument* argument = node.find(arg);
  if (argument == nullptr) {
    return std::nullopt;
  }
  if (const auto* value = std::get_if<double>(argument)) {
    return *value;
  }
  if (const auto* flag = std::get_if<bool>(argument)) {
    return *flag ? 1.0 : 0.0;
  }
  const auto* expr = std::get_if<Expr>(argument);
  return expr != nullptr && expr->is_constant()
             ? std::optional(static_cast<double>(expr->constant()))
             : std::nullopt;
}

Support constant_arguments(const Node& node, Names args) {
  for (const std::string_view name : args) {
    const Argument* argument = node.find(name);
    if (argument == nullptr) {
      continue;
    }
    std::vector<Expr> values;
    if (const auto* one = std::get_if<Expr>(argument)) {
      values = {*one};
    } else if (const auto* many = std::get_if<std::vector<Expr>>(argument)) {
      values = *many;
    }
    for (const Expr& value : values) {
      if (!value.is_constant()) {
        return Support::no("argument " + std::string(name) + " holds the symbolic size " +
                           value.str() + ", and it must be constant");
      }
    }
  }
  return Support::yes();
}

Support floating_point_argument(const SupportContext& c, const Node& node, std::string_view arg) {
  const DType dtype = c.meta(node, arg).dtype;
  return is_floating_point(dtype)
             ? Support::yes()
             : Support::no("argument " + std::string(arg) + " is " + torch_dtype_name(dtype) +
                           ", and it must be floating point");
}

Validate floats(const char* arg) {
  return [arg](const SupportContext& c, const Node& node) {
    return floating_point_argument(c, node, arg);
  };
}

Support rows_for_one_block(const SupportContext& c, const Expr& length, int64_t most) {
  return on_gpu(c.graph) && c.graph.bounds.greatest(length).value_or(0) > most
             ? Support::no("it works along rows of more than " + std::to_string(most) +
                           " elements, where PyTorch is faster on a GPU")
             : Support::yes();
}

Support at_least_axes(const SupportContext& c, const Node& node, std::string_view arg, int least) {
  const int rank = c.meta(node, arg).rank();
  return rank >= least
             ? Support::yes()
             : Support::no("argument " + std::string(arg) + " has " + std::to_string(rank) +
                           " axes, and it must have " + std::to_string(least) + " or more");
}

Support all_of(std::initializer_list<Support> supports) {
  for (const Support& support : supports) {
    if (!support) {
      return support;
    }
  }
  return Support::yes();
}

Converter single(Compute compute, Validate support) {
  return {std::move(support), [compute = std::move(compute)](Conversion& c, const Node& node) {
            c.set(node, compute(c, node));
            return Status{};
          }};
}

Converter several(ComputeAll compute, Validate support) {
  return {std::move(support), [compute = std::move(compute)](Conversion& c, const Node& node) {
            const std::vector<TensorId> results = compute(c, node);
            for (size_t i = 0; i < results.size() && i < node.outputs.size(); ++i) {
              if (results[i] >= 0) {
                c.set(node, results[i], static_cast<int>(i));
              }
            }
            return Status{};
          }};
}

Support only_outputs_before(const SupportContext& c, const Node& node, size_t first) {
  if (node.outputs.size() <= first) {
    return Support::yes();
  }
  const auto users = c.graph.users();
  for (size_t i = first; i < node.outputs.size(); ++i) {
    const ValueId id = node.outputs[i];
    if (!users[static_cast<size_t>(id)].empty() || c.graph.is_output(id)) {
      return Support::no("its output " + std::to_string(i) +
                         " is used, and only PyTorch computes that one");
    }
  }
  return Support::yes();
}

}  // namespace stator::aten
