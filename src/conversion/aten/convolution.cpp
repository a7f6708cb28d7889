// SPDX-License-Identifier: Apache-2.0
//
// Convolutions of one to three spatial axes, plain and transposed.
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

size_t spatial_axes(int weight_rank) { return static_cast<size_t>(weight_rank) - 2; }

/// "same" pads so that the result has the input's size; the odd one stands behind.
void pad_same(const TensorMeta& weight, Convolution& conv) {
  for (size_t k = 0; k < conv.dilation.size(); ++k) {
    const int64_t total = conv.dilation[k] * (weight.shape[k + 2].constant() - 1);
    conv.pad_before[k] = total / 2;
    conv.pad_after[k] = total - total / 2;
  }
}

Convolution attributes(const Conversion& c, const Node& node, bool transposed) {
  const TensorMeta& weight = c.meta(node, "weight");
  const size_t axes = spatial_axes(weight.rank());
  Convolution conv;
  conv.stride = spread(ints_of(node, "stride"), axes);
  conv.dilation = spread(ints_of(node, "dilation"), axes);
  conv.groups = node.integer("groups", 1);
  conv.transposed = transposed;
  const Argument* padding = node.find("padding");
  if (const auto* mode = std::get_if<std::string>(padding)) {
    conv.pad_before.assign(axes, 0);
    conv.pad_after.assign(axes, 0);
    if (*mode == "same") {
      pad_same(weight, conv);
    }
  } else {
    conv.pad_before = conv.pad_after = spread(ints_of(node, "padding"), axes);
  }
  conv.output_padding.assign(axes, 0);
  if (transposed && node.find("output_padding") != nullptr) {
    conv.output_padding = spread(ints_of(node, "output_padding"), axes);
  }
  return conv;
}

/// Without a batch axis, one of 1 is added for the layer's time.
TensorId convolve(Conversion& c, const Node& node, bool transposed) {
  Network& n = c.network();
  const DType dtype = sum_dtype(c.output_meta(node).dtype);
  TensorId x = c.operand(node, "input", dtype);
  const TensorId weight = c.operand(node, "weight", dtype);
  if (n.type(x).rank() < n.type(weight).rank()) {
    Shape shape = n.type(x).shape;
    shape.insert(shape.begin(), Expr(1));
    x = n.add_reshape(x, shape);
  }
  const TensorId bias = has_tensor(node, "bias") ? c.operand(node, "bias", dtype) : -1;
  const TensorId y = n.add_convolution_nd(x, weight, bias, attributes(c, node, transposed));
  return n.add_reshape(y, c.output_meta(node).shape);
}

TensorId plain(Conversion& c, const Node& node) { return convolve(c, node, false); }
TensorId transposed(Conversion& c, const Node& node) { return convolve(c, node, true); }
TensorId either(Conversion& c, const Node& node) {
  return convolve(c, node, node.boolean("transposed"));
}

Support convolution_support(const SupportContext& c, const Node& node) {
  const TensorMeta& weight = c.meta(node, "weight");
  if (weight.rank() < 3 || weight.rank() > 5) {
    return Support::no("only one to three spatial axes are supported");
  }
  for (size_t k = 2; k < weight.shape.size(); ++k) {
    if (!weight.shape[k].is_constant()) {
      return Support::no("the size of its kernel is symbolic");
    }
  }
  if (const Argument* padding = node.find("padding");
      padding != nullptr && !std::holds_alternative<std::string>(*padding)) {
    if (Support constant = constant_arguments(node, {"padding"}); !constant) {
      return constant;
    }
    for (const int64_t pad : ints_of(node, "padding")) {
      if (pad < 0) {
        return Support::no("its padding is negative");
      }
    }
  }
  return all_of({constant_arguments(node, {"stride", "dilation", "output_padding", "groups"}),
                 floating_point_argument(c, node, "input")});
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_convolution(ConverterRegistry& r) {
  using namespace aten;
  for (const char* axes : {"1", "2", "3"}) {
    const std::string name = std::string("aten.conv") + axes + "d";
    r.add(name + ".default", single(plain, aten::convolution_support));
    r.add(name + ".padding", single(plain, aten::convolution_support));
    const std::string overload = *axes == '1' ? ".default" : ".input";
    r.add(std::string("aten.conv_transpose") + axes + "d" + overload,
          single(transposed, aten::convolution_support));
  }
  r.add("aten.convolution.default", single(either, aten::convolution_support));
  r.add("aten._convolution.default", single(either, aten::convolution_support));
}

}  // namespace stator
