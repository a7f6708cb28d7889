// SPDX-License-Identifier: Apache-2.0
#include "optimizer/fusion/views.h"

#include "base/check.h"

namespace stator {
namespace {

/// Reshapes group by group: runs of axes with equal products are taken apart on their own, so that
/// divisions appear only where axes really merge or split.
Index reshape_index(const std::vector<Expr>& from, const std::vector<Expr>& to, const Index& index,
                    const Bounds& bounds) {
  Index result(from.size(), Expr(0));
  size_t i = 0, j = 0;
  while (i < from.size() || j < to.size()) {
    const size_t i0 = i, j0 = j;
    Expr a = i < from.size() ? from[i++] : Expr(1);
    Expr b = j < to.size() ? to[j++] : Expr(1);
    while (!bounds.proves_equal(a, b) && (i < from.size() || j < to.size())) {
      // Grow the side that is not known to be larger; constants decide most cases.
      const bool grow_a = i < from.size() && (j >= to.size() || bounds.proves_less(a, b) ||
                                              (!bounds.proves_less(b, a) && i - i0 <= j - j0));
      if (grow_a) {
        a = a * from[i++];
      } else if (j < to.size()) {
        b = b * to[j++];
      } else {
        a = a * from[i++];
      }
    }
    const std::vector<Expr> part_to(to.begin() + static_cast<int64_t>(j0),
                                    to.begin() + static_cast<int64_t>(j));
    const Index part_index(index.begin() + static_cast<int64_t>(j0),
                           index.begin() + static_cast<int64_t>(j));
    const std::vector<Expr> part_from(from.begin() + static_cast<int64_t>(i0),
                                      from.begin() + static_cast<int64_t>(i));
    const Index part = unflatten(flat_index(part_to, part_index, bounds), part_from, bounds);
    for (size_t k = 0; k < part.size(); ++k) {
      result[i0 + k] = part[k];
    }
  }
  return result;
}

bool pads_with_own(const LayerAttributes& attributes) {
  const auto* pad = std::get_if<Pad>(&attributes);
  return pad != nullptr && pad->mode != PadMode::kConstant;
}

/// The source of position `at` along an axis of `size` elements, where it lies outside.
Expr padded_source(PadMode mode, const Expr& at, const Expr& size) {
  switch (mode) {
    case PadMode::kReflect:
      return min(max(at, -at), 2 * (size - 1) - at);
    case PadMode::kCircular: {
      // By at most one size, without a remainder: kernels take none of negative numbers.
      const auto positive = [](const Expr& e) { return min(max(e, 0), 1); };
      return at + size * positive(-at) - size * positive(at - size + 1);
    }
    default:
      return min(max(at, 0), size - 1);
  }
}

}  // namespace

bool is_view(const LayerAttributes& attributes) {
  return std::holds_alternative<Transpose>(attributes) ||
         std::holds_alternative<Reshape>(attributes) ||
         std::holds_alternative<Expand>(attributes) || std::holds_alternative<Slice>(attributes) ||
         pads_with_own(attributes);
}

Expr flat_index(const std::vector<Expr>& shape, const Index& index, const Bounds& bounds) {
  const std::vector<Expr> strides = contiguous_strides(shape);
  Expr offset = 0;
  for (size_t k = 0; k < shape.size(); ++k) {
    offset = offset + index[k] * strides[k];
  }
  return simplify(offset, bounds);
}

Index unflatten(const Expr& offset, const std::vector<Expr>& shape, const Bounds& bounds) {
  Index index(shape.size(), Expr(0));
  for (const Expr& size : shape) {
    if (size.is_constant(0)) return index;  // there is no element, and nothing to divide by
  }
  const std::vector<Expr> strides = contiguous_strides(shape);
  bool first = true;
  for (size_t k = 0; k < shape.size(); ++k) {
    if (shape[k].is_constant(1)) {
      continue;
    }
    Expr e = simplify(floor_div(offset, strides[k]), bounds);
    // The slowest axis needs no remainder.
    index[k] = first ? e : simplify(mod(e, shape[k]), bounds);
    first = false;
  }
  return index;
}

Index view_index(const Network& network, const NetworkLayer& layer, const Index& index,
                 const Bounds& bounds) {
  const std::vector<Expr>& from = network.type(layer.inputs[0]).shape;
  const std::vector<Expr>& to = network.type(layer.outputs[0]).shape;
  if (const auto* transpose = std::get_if<Transpose>(&layer.attributes)) {
    Index result(from.size());
    for (size_t k = 0; k < index.size(); ++k) {
      result[static_cast<size_t>(transpose->permutation[k])] = index[k];
    }
    return result;
  }
  if (std::holds_alternative<Reshape>(layer.attributes)) {
    return reshape_index(from, to, index, bounds);
  }
  if (std::holds_alternative<Expand>(layer.attributes)) {
    Index result;
    const size_t lead = to.size() - from.size();
    for (size_t k = 0; k < from.size(); ++k) {
      result.push_back(from[k].is_constant(1) ? Expr(0) : index[lead + k]);
    }
    return result;
  }
  if (const auto* pad = std::get_if<Pad>(&layer.attributes)) {
    Index result;
    for (size_t k = 0; k < from.size(); ++k) {
      const bool grows = !pad->before[k].is_constant(0) || !pad->after[k].is_constant(0);
      const Expr at = index[k] - pad->before[k];
      result.push_back(grows ? simplify(padded_source(pad->mode, at, from[k]), bounds) : at);
    }
    return result;
  }
  const auto* slice = std::get_if<Slice>(&layer.attributes);
  STATOR_CHECK(slice != nullptr, "not a view");
  Index result;
  for (size_t k = 0; k < from.size(); ++k) {
    result.push_back(slice->start[k] + Expr(slice->step[k]) * index[k]);
  }
  return result;
}

}  // namespace stator
