// SPDX-License-Identifier: Apache-2.0
//
// Padding: a list (before, after) per axis, the last axis first.
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

TensorId padded(Conversion& c, const Node& node, const char* list, PadMode mode) {
  const TensorId x = c.tensor(node, "self");
  const TensorType type = c.network().type(x);
  const size_t rank = type.shape.size();
  Pad pad;
  pad.mode = mode;
  pad.before.assign(rank, Expr(0));
  pad.after.assign(rank, Expr(0));
  const std::vector<Expr> amounts = node.sym_ints(list);
  for (size_t i = 0; i < amounts.size(); ++i) {
    (i % 2 == 0 ? pad.before : pad.after)[rank - 1 - i / 2] = amounts[i];
  }
  if (mode == PadMode::kConstant && !node.is_none("value")) {
    pad.value = scalar_of(*node.find("value"), type.dtype);
  } else {
    pad.value = scalar_of(Argument{0.0}, type.dtype);
  }
  return c.network().add_pad(x, pad);
}

Compute pad_with(PadMode mode, const char* list = "padding") {
  return [mode, list](Conversion& c, const Node& node) { return padded(c, node, list, mode); };
}

std::optional<PadMode> mode_of(const std::string& name) {
  if (name == "constant") return PadMode::kConstant;
  if (name == "reflect") return PadMode::kReflect;
  if (name == "replicate") return PadMode::kReplicate;
  if (name == "circular") return PadMode::kCircular;
  return std::nullopt;
}

TensorId pad(Conversion& c, const Node& node) {
  return padded(c, node, "pad", *mode_of(node.string("mode", "constant")));
}

/// A negative amount crops. What circular padding then repeats is the cropped tensor, which no
/// layer does.
Support not_negative(const SupportContext& c, const Node& node, const char* list) {
  for (const Expr& amount : node.sym_ints(list)) {
    if (!c.graph.bounds.proves_less_equal(0, amount)) {
      const bool surely = c.graph.bounds.proves_less(amount, 0);
      return Support::no("its padding " + amount.str() + (surely ? " is" : " may be") +
                         " negative");
    }
  }
  return Support::yes();
}

Support circular_support(const SupportContext& c, const Node& node) {
  return not_negative(c, node, "pad");
}

Support constant_support(const SupportContext&, const Node& node) {
  return constant_arguments(node, {"value"});
}

Support pad_support(const SupportContext& c, const Node& node) {
  const std::string name = node.string("mode", "constant");
  const auto mode = mode_of(name);
  if (!mode) {
    return Support::no("its mode is \"" + name + "\"");
  }
  if (*mode == PadMode::kConstant) {
    return constant_support(c, node);
  }
  return *mode == PadMode::kCircular ? circular_support(c, node) : Support::yes();
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_padding(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.constant_pad_nd.default",
        single(pad_with(PadMode::kConstant, "pad"), constant_support));
  r.add("aten.pad.default", single(pad, pad_support));
  r.add("aten._pad_circular.default",
        single(pad_with(PadMode::kCircular, "pad"), circular_support));
  for (const char* axes : {"1d", "2d", "3d"}) {
    r.add(std::string("aten.reflection_pad") + axes + ".default",
          single(pad_with(PadMode::kReflect)));
    r.add(std::string("aten.replication_pad") + axes + ".default",
          single(pad_with(PadMode::kReplicate)));
  }
}

}  // namespace stator
