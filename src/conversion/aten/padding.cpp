// SPDX-License-Identifier: Apache-2.0
//
// Padding: a list (before, after) per axis, the last axis first.
#include "conversion/aten/slicing.h"

namespace stator::aten {
namespace {

/// What is added (or, negative, taken away) in front of each axis and behind it.
struct Amounts {
  std::vector<Expr> before, after;
};

Amounts amounts_of(const Node& node, const char* list, size_t rank) {
  Amounts result{Shape(rank, Expr(0)), Shape(rank, Expr(0))};
  const std::vector<Expr> amounts = node.sym_ints(list);
  for (size_t i = 0; i < amounts.size(); ++i) {
    (i % 2 == 0 ? result.before : result.after)[rank - 1 - i / 2] = amounts[i];
  }
  return result;
}

bool crops(const Conversion& c, const Expr& amount) {
  return c.graph().bounds.proves_less(amount, 0);
}

/// `x` without what negative amounts take away.
TensorId cropped(Conversion& c, TensorId x, const Amounts& amounts) {
  for (size_t k = 0; k < amounts.before.size(); ++k) {
    const Expr before = crops(c, amounts.before[k]) ? -amounts.before[k] : Expr(0);
    const Expr after = crops(c, amounts.after[k]) ? -amounts.after[k] : Expr(0);
    if (!before.is_constant(0) || !after.is_constant(0)) {
      const Expr size = c.network().type(x).shape[k] - before - after;
      x = slice_axis(c, x, static_cast<int64_t>(k), before, size);
    }
  }
  return x;
}

TensorId padded(Conversion& c, const Node& node, const char* list, PadMode mode) {
  TensorId x = c.tensor(node, "self");
  const TensorType type = c.network().type(x);
  const Amounts amounts = amounts_of(node, list, type.shape.size());
  Pad pad{amounts.before, amounts.after, mode, scalar_of(Argument{0.0}, type.dtype)};
  if (mode == PadMode::kConstant && !node.is_none("value")) {
    pad.value = scalar_of(*node.find("value"), type.dtype);
  }
  // Where the layer crops, it crops what it has padded: what is cropped can be seen at the other
  // end. Not so in circular padding.
  if (mode == PadMode::kCircular) {
    x = cropped(c, x, amounts);
    for (std::vector<Expr>* side : {&pad.before, &pad.after}) {
      for (Expr& amount : *side) amount = crops(c, amount) ? Expr(0) : amount;
    }
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

/// Whether each amount is known to add elements or to take some away.
Support signs_known(const SupportContext& c, const Node& node, const char* list) {
  for (const Expr& amount : node.sym_ints(list)) {
    if (!c.graph.bounds.proves_less_equal(0, amount) && !c.graph.bounds.proves_less(amount, 0)) {
      return Support::no("its padding " + amount.str() + " may be negative or not");
    }
  }
  return Support::yes();
}

/// Further around than what is left of an axis: an error of PyTorch's own.
Support circular_once(const SupportContext& c, const Node& node, const char* list) {
  const Shape& shape = c.meta(node, "self").shape;
  const Amounts amounts = amounts_of(node, list, shape.size());
  for (size_t k = 0; k < shape.size(); ++k) {
    Expr left = shape[k];
    bool some = false;
    for (const Expr& amount : {amounts.before[k], amounts.after[k]}) {
      const bool negative = c.graph.bounds.proves_less(amount, 0);
      some = some || negative;
      left = negative ? left + amount : left;
    }
    for (const Expr& amount : {amounts.before[k], amounts.after[k]}) {
      if (some && !c.graph.bounds.proves_less_equal(amount, left)) {
        return Support::no("its padding " + amount.str() + " may be more than what is cropped to");
      }
    }
  }
  return signs_known(c, node, list);
}

Support circular_support(const SupportContext& c, const Node& node) {
  return circular_once(c, node, "pad");
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
  if (*mode == PadMode::kConstant) return constant_support(c, node);
  return *mode == PadMode::kCircular ? circular_once(c, node, "pad") : Support::yes();
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
