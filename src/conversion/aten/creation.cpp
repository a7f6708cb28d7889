// SPDX-License-Identifier: Apache-2.0
//
// Tensors from nothing: full and its relatives, arange, linspace. Sizes and dtypes are those that
// PyTorch recorded for the result.
#include <cmath>

#include "conversion/aten/checks.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

TensorId filled(Conversion& c, const Node& node, const Scalar& value) {
  const TensorMeta& meta = c.output_meta(node);
  return c.network().add_fill(meta.shape, meta.dtype, value);
}

Compute constant(double value) {
  return [value](Conversion& c, const Node& node) {
    return filled(c, node, scalar_of(Argument{value}, c.output_meta(node).dtype));
  };
}

/// A number, a 0-d tensor or a size, over the result's shape.
Compute full(const char* value) {
  return [value](Conversion& c, const Node& node) {
    const TensorMeta& meta = c.output_meta(node);
    if (constant_number(node, value)) {
      return filled(c, node, scalar_of(*node.find(value), meta.dtype));
    }
    return c.network().add_expand(c.operand(node, value, meta.dtype), meta.shape);
  };
}

bool is_size(const Argument* argument) {
  return argument != nullptr && std::holds_alternative<Expr>(*argument);
}

/// Given as a whole number (or not at all).
bool whole_or_absent(const Node& node, const char* arg) {
  return node.is_none(arg) || is_size(node.find(arg));
}

/// start + step * i. Whole numbers are exact; others are computed in float64, as PyTorch does.
TensorId arange(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorMeta& meta = c.output_meta(node);
  const Expr length = meta.shape[0];
  if (whole_or_absent(node, "start") && whole_or_absent(node, "step")) {
    const Expr start = node.is_none("start") ? Expr(0) : node.sym_int("start");
    const Expr step = node.is_none("step") ? Expr(1) : node.sym_int("step");
    const DType dtype = is_integral(meta.dtype) ? meta.dtype : DType::kInt64;
    return n.add_iota(length, start, step, dtype);
  }
  const TensorId index = n.add_cast(n.add_iota(length, 0, 1, DType::kInt64), DType::kFloat64);
  const TensorId step = node.is_none("step") ? real(c, 1.0, DType::kFloat64)
                                             : c.operand(node, "step", DType::kFloat64);
  const TensorId offset = n.add_elementwise(index, step, Op::kMul);
  if (node.is_none("start")) {
    return offset;
  }
  return n.add_elementwise(c.operand(node, "start", DType::kFloat64), offset, Op::kAdd);
}

/// From both ends, as PyTorch: start + step * i in the first half, end - step * (n - 1 - i) in the
/// second.
TensorId linspace(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorMeta& meta = c.output_meta(node);
  const bool whole_numbers = is_integral(meta.dtype);
  const DType dtype = whole_numbers ? DType::kFloat64 : compute_dtype(meta.dtype);
  const int64_t steps = meta.shape[0].constant();
  const auto limit = [&](const char* arg) {
    return whole_numbers ? std::trunc(node.number(arg)) : node.number(arg);
  };
  const double start = limit("start"), end = limit("end");
  const double step = steps > 1 ? (end - start) / static_cast<double>(steps - 1) : 0.0;
  const auto line = [&](double origin, int64_t from, int64_t direction) {
    const TensorId index = c.cast(n.add_iota(steps, from, direction, DType::kInt64), dtype);
    return elementwise(
        c, {real(c, origin, dtype), n.add_elementwise(index, real(c, step, dtype), Op::kMul)},
        Op::kAdd);
  };
  const TensorId position = n.add_iota(steps, 0, 1, DType::kInt64);
  const TensorId first_half =
      n.add_elementwise(position, whole(c, steps / 2, DType::kInt64), Op::kLess);
  if (steps == 1) {
    return line(start, 0, 1);
  }
  // end - step * k with k = steps - 1 - i: the index runs from -(steps - 1) to 0.
  return choose(c, {first_half, line(start, 0, 1), line(end, -(steps - 1), 1)});
}

Support linspace_support(const SupportContext& c, const Node& node) {
  const TensorMeta& meta = c.graph.value(node.outputs[0]).tensor;
  if (!meta.shape[0].is_constant()) {
    return Support::no("its number of steps is symbolic");
  }
  if (!constant_number(node, "start") || !constant_number(node, "end")) {
    return Support::no("its ends are no constant numbers");
  }
  return meta.dtype != DType::kBool ? Support::yes() : Support::no("its result is torch.bool");
}

/// Row i has its one at the class that self says.
TensorId one_hot(Conversion& c, const Node& node) {
  Network& n = c.network();
  const Expr count = c.output_meta(node).shape.back();
  const TensorId x = checked_places(c, c.tensor(node, "self"), count, DataError::kClass);
  Shape shape = n.type(x).shape;
  shape.push_back(Expr(1));
  const TensorId classes = n.add_iota(count, 0, 1, n.type(x).dtype);
  return n.add_elementwise(n.add_reshape(x, shape), classes, Op::kEqual);
}

Support one_hot_support(const SupportContext&, const Node& node) {
  const auto classes = constant_number(node, "num_classes");
  return classes && *classes < 0
             ? Support::no("num_classes is not given, so the result's size depends on data")
             : Support::yes();
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_creation(ConverterRegistry& r) {
  using namespace aten;
  for (const char* name : {"full.default", "full_like.default", "new_full.default"}) {
    r.add(std::string("aten.") + name, single(full("fill_value")));
  }
  r.add("aten.scalar_tensor.default", single(full("s")));
  for (const char* overload : {"Scalar", "Tensor"}) {
    r.add(std::string("aten.fill.") + overload, single(full("value")));
  }
  for (const char* name :
       {"zeros.default", "zeros_like.default", "new_zeros.default",
        // What empty holds is not defined; zeros are as good as anything.
        "empty.memory_format", "empty_like.default", "new_empty.default", "empty_strided.default",
        "new_empty_strided.default", "empty_permuted.default"}) {
    r.add(std::string("aten.") + name, single(constant(0.0)));
  }
  for (const char* name : {"ones.default", "ones_like.default", "new_ones.default"}) {
    r.add(std::string("aten.") + name, single(constant(1.0)));
  }
  for (const char* overload : {"default", "start", "start_step"}) {
    r.add(std::string("aten.arange.") + overload, single(arange));
  }
  r.add("aten.linspace.default", single(linspace, linspace_support));
  r.add("aten.one_hot.default", single(one_hot, one_hot_support));
}

}  // namespace stator
