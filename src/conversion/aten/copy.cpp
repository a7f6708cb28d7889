// SPDX-License-Identifier: Apache-2.0
//
// Operators that return their operand's values: copies, casts, dropout in eval mode.
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

/// Values are never written in place, so a copy is the operand itself. A new dtype is applied when
/// the result is bound.
TensorId same(Conversion& c, const Node& node) { return c.tensor(node, "self"); }
TensorId same_input(Conversion& c, const Node& node) { return c.tensor(node, "input"); }

/// copy(self, src): src over self's shape.
TensorId copy(Conversion& c, const Node& node) {
  return c.network().add_expand(c.tensor(node, "src"), c.output_meta(node).shape);
}

Support no_dropout(const SupportContext&, const Node& node) {
  const char* flag = node.find("train") != nullptr ? "train" : "training";
  const bool active = node.boolean(flag) && node.number("p", 0.5) != 0.0;
  return active ? Support::no("it is in training mode, where its result is random")
                : Support::yes();
}

/// Output 1 is the mask of kept elements: all of them.
std::vector<TensorId> native_dropout(Conversion& c, const Node& node) {
  const TensorId x = c.tensor(node, "input");
  if (!c.used(node, 1)) {
    return {x, -1};
  }
  const TensorMeta& mask = c.output_meta(node, 1);
  return {x, c.network().add_fill(mask.shape, mask.dtype, scalar_of(Argument{true}, mask.dtype))};
}

Support same_size(const SupportContext& c, const Node& node) {
  const DType from = c.meta(node, "self").dtype;
  const DType to = c.graph.value(node.outputs[0]).tensor.dtype;
  return from == to ? Support::yes()
                    : Support::no(std::string("it reads the bytes of ") + torch_dtype_name(from) +
                                  " as " + torch_dtype_name(to));
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_copy(ConverterRegistry& r) {
  using namespace aten;
  for (const char* name : {"alias.default",
                           "alias_copy.default",
                           "clone.default",
                           "contiguous.default",
                           "detach.default",
                           "detach_.default",
                           "detach_copy.default",
                           "lift.default",
                           "lift_fresh.default",
                           "lift_fresh_copy.default",
                           "_to_copy.default",
                           "to.dtype",
                           "to.dtype_layout",
                           "to.device",
                           "to.other",
                           "to.prim_Device",
                           "type_as.default",
                           "positive.default",
                           "conj.default",
                           "resolve_conj.default",
                           "resolve_neg.default",
                           "real.default"}) {
    r.add(std::string("aten.") + name, single(same));
  }
  r.add("aten.view.dtype", single(same, same_size));
  r.add("aten.copy.default", single(copy));
  for (const char* name :
       {"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"}) {
    r.add(std::string("aten.") + name + ".default", single(same_input, no_dropout));
  }
  r.add("aten.native_dropout.default", several(native_dropout, no_dropout));
}

}  // namespace stator
