// SPDX-License-Identifier: Apache-2.0
//
// Scaled dot product attention in all its forms, one Attention layer each.
#include <cmath>

#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

/// [S, D] and [B, S, D] get head (and batch) axes of 1; more than four axes are joined in front.
Shape as_four_axes(Shape shape) {
  while (shape.size() < 4) {
    shape.insert(shape.size() == 3 ? shape.begin() + 1 : shape.begin(), Expr(1));
  }
  while (shape.size() > 4) {
    shape[1] = shape[0] * shape[1];
    shape.erase(shape.begin());
  }
  return shape;
}

/// A mask as [B, H, S, T] with ones where it broadcasts.
TensorId mask_of(Conversion& c, TensorId mask, int query_rank) {
  Shape shape = c.network().type(mask).shape;
  if (query_rank == 3 && shape.size() == 3) {
    shape.insert(shape.begin() + 1, Expr(1));  // the queries' batch axis, not their heads'
  }
  while (shape.size() < 4) {
    shape.insert(shape.begin(), Expr(1));
  }
  return c.network().add_reshape(mask, shape);
}

/// The argument with four axes, repeated over the result's batch (and heads, unless grouped).
TensorId four_axes(Conversion& c, const Node& node, const char* arg, DType dtype, bool grouped) {
  const TensorId x = c.operand(node, arg, dtype);
  Shape shape = as_four_axes(c.network().type(x).shape);
  const TensorId reshaped = c.network().add_reshape(x, shape);
  const Shape result = as_four_axes(c.output_meta(node).shape);
  shape[0] = result[0];
  // The fused forms take fewer key and value heads than queries without saying so.
  if (!grouped && shape[1].is_constant(1)) {
    shape[1] = result[1];
  }
  return c.network().add_expand(reshaped, shape);
}

double scale_of(const Conversion& c, const Node& node) {
  if (!node.is_none("scale")) {
    return node.number("scale");
  }
  return 1.0 / std::sqrt(static_cast<double>(c.meta(node, "query").shape.back().constant()));
}

/// `mask` names the mask's argument, which differs between the forms.
Compute attention(const char* mask) {
  return [mask](Conversion& c, const Node& node) {
    Network& n = c.network();
    const DType dtype = compute_dtype(c.meta(node, "query").dtype);
    const bool grouped = node.boolean("enable_gqa");
    const TensorId query = four_axes(c, node, "query", dtype, false);
    const TensorId key = four_axes(c, node, "key", dtype, grouped);
    const TensorId value = four_axes(c, node, "value", dtype, grouped);
    TensorId masked = -1;
    if (has_tensor(node, mask)) {
      const bool truth = c.meta(node, mask).dtype == DType::kBool;
      masked = mask_of(c, c.operand(node, mask, truth ? DType::kBool : dtype),
                       c.meta(node, "query").rank());
    }
    const TensorId y =
        n.add_attention(query, key, value, masked, scale_of(c, node), node.boolean("is_causal"));
    return n.add_reshape(y, c.output_meta(node).shape);
  };
}

Support check_mask(const SupportContext& c, const Node& node, const char* mask) {
  if (!has_tensor(node, mask)) {
    return Support::yes();
  }
  if (node.boolean("is_causal")) {
    return Support::no("it has both a mask and is_causal");
  }
  const TensorMeta& meta = c.meta(node, mask);
  if (meta.rank() > 4) {
    return Support::no("its mask has more than four axes");
  }
  if (c.meta(node, "query").rank() > 4 && meta.rank() > 2) {
    return Support::no("its mask has a batch axis where the queries have several");
  }
  if (meta.dtype != DType::kBool && !is_floating_point(meta.dtype)) {
    return Support::no(std::string("its mask is ") + torch_dtype_name(meta.dtype) +
                       ", and it must be bool or floating point");
  }
  return Support::yes();
}

Support check_shapes(const SupportContext& c, const Node& node) {
  const TensorMeta& query = c.meta(node, "query");
  const TensorMeta& key = c.meta(node, "key");
  const TensorMeta& value = c.meta(node, "value");
  if (query.rank() < 2 || key.rank() != query.rank() || value.rank() != query.rank()) {
    return Support::no("query, key and value have different numbers of axes");
  }
  if (query.rank() > 4) {
    for (int axis = 0; axis < query.rank() - 3; ++axis) {
      const auto k = static_cast<size_t>(axis);
      if (!(query.shape[k] == key.shape[k]) || !(query.shape[k] == value.shape[k])) {
        return Support::no("query, key and value broadcast over more than four axes");
      }
    }
  }
  if (node.is_none("scale") && !query.shape.back().is_constant()) {
    return Support::no("the size of a head is symbolic, and the scale depends on it");
  }
  return floating_point_argument(c, node, "query");
}

Validate support(const char* mask, bool first_output_only = false) {
  return [mask, first_output_only](const SupportContext& c, const Node& node) {
    if (node.number("dropout_p") != 0.0) {
      return Support::no("its dropout_p is not 0, and random dropout stays in PyTorch");
    }
    return all_of({constant_arguments(node, {"scale"}), check_shapes(c, node),
                   check_mask(c, node, mask),
                   first_output_only ? only_outputs_before(c, node, 1) : Support::yes()});
  };
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_attention(ConverterRegistry& r) {
  using namespace aten;
  const auto add = [&](const char* name, const char* mask, bool first_output_only) {
    r.add(std::string("aten.") + name + ".default",
          single(attention(mask), aten::support(mask, first_output_only)));
  };
  add("scaled_dot_product_attention", "attn_mask", false);
  add("_scaled_dot_product_attention_math", "attn_mask", true);
  add("_scaled_dot_product_flash_attention_for_cpu", "attn_mask", true);
  add("_scaled_dot_product_flash_attention", "", true);
  add("_scaled_dot_product_efficient_attention", "attn_bias", true);
  add("_scaled_dot_product_cudnn_attention", "attn_bias", true);
}

}  // namespace stator
