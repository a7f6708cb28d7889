// SPDX-License-Identifier: Apache-2.0
#include "conversion/aten/checks.h"

namespace stator::aten {
namespace {

/// The first element that is not in least … limit - 1.
template <typename T>
std::optional<int64_t> first_outside(const TensorData& data, int64_t least, int64_t limit) {
  const auto* values = data.as<T>();
  for (int64_t i = 0; i < data.size_bytes / static_cast<int64_t>(sizeof(T)); ++i) {
    const auto value = static_cast<int64_t>(values[i]);
    if (value < least || value >= limit) {
      return value;
    }
  }
  return std::nullopt;
}

}  // namespace

TensorId checked_places(Conversion& c, TensorId value, const Expr& limit, DataError error,
                        int64_t dim, bool wrap) {
  const TensorId places = c.cast(value, DType::kInt64);
  return c.network().add_layer(Check{error, limit, wrap, dim}, {places})[0];
}

TensorId check_none(Conversion& c, TensorId x, TensorId wrong, DataError error) {
  return c.network().add_layer(Check{error, Expr(1), false, 0},
                               {x, c.cast(wrong, DType::kInt64)})[0];
}

TensorId check_not_empty(Conversion& c, TensorId x, const Expr& size, DataError error,
                         int64_t dim) {
  if (c.graph().bounds.proves_less_equal(1, size)) {
    return x;
  }
  // No maximum or comparison: where there are elements to reduce, it would be proved away.
  const TensorId excess = c.network().add_size_value(size - 1);
  return c.network().add_layer(Check{error, Expr(INT64_MAX), false, dim}, {x, excess})[0];
}

Support constant_places(const SupportContext& c, ValueId index, const Expr& size, bool wrap) {
  const GraphInput* constant = c.graph.constant(index);
  if (constant == nullptr || constant->data.data == nullptr || !size.is_constant()) {
    return Support::yes();
  }
  const int64_t limit = size.constant(), least = wrap ? -limit : 0;
  std::optional<int64_t> outside;
  switch (c.meta(index).dtype) {
    case DType::kInt64:
      outside = first_outside<int64_t>(constant->data, least, limit);
      break;
    case DType::kInt32:
      outside = first_outside<int32_t>(constant->data, least, limit);
      break;
    default:
      break;
  }
  return outside ? Support::no("its constant index " + std::to_string(*outside) +
                               " is out of range for a size of " + std::to_string(limit) +
                               ", for which PyTorch raises an error")
                 : Support::yes();
}

}  // namespace stator::aten
