// SPDX-License-Identifier: Apache-2.0
//
// Derivatives that stand in exported graphs.
#include "conversion/aten/formula.h"

namespace stator::aten {
namespace {

/// grad * mask * scale
TensorId dropout_backward(Conversion& c, const Node& node) {
  const DType dtype = compute_dtype(c.output_meta(node).dtype);
  const Term grad(c, c.operand(node, "grad_output", dtype));
  const Term mask(c, c.operand(node, "mask", dtype));
  return (grad * mask * node.number("scale")).id();
}

Term sum_along(Conversion& c, const Node& node, Term x) {
  const int64_t rank = c.network().type(x.id()).rank();
  const int64_t axis = normalize_dim(node.integer("dim"), rank);
  return rank == 0 ? x : Term(c, c.network().add_reduce(x.id(), ReduceOp::kSum, {axis}, true));
}

/// Of softmax y: (g - sum(g y)) y; of its logarithm: g - exp(y) sum(g).
Compute softmax_backward(bool log) {
  return [log](Conversion& c, const Node& node) {
    const DType dtype = compute_dtype(c.meta(node, "output").dtype);
    const Term grad(c, c.operand(node, "grad_output", dtype));
    const Term y(c, c.operand(node, "output", dtype));
    const Term product = grad * y;
    const Term result = log ? grad - y.apply(UnaryOp::kExp) * sum_along(c, node, grad)
                            : product - y * sum_along(c, node, product);
    return result.id();
  };
}

Support gives_floats(const SupportContext& c, const Node& node) {
  const DType dtype = c.graph.value(node.outputs[0]).tensor.dtype;
  return is_floating_point(dtype)
             ? Support::yes()
             : Support::no(std::string("its result is ") + torch_dtype_name(dtype));
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_backward(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.native_dropout_backward.default", single(dropout_backward, gives_floats));
  r.add("aten._softmax_backward_data.default", single(softmax_backward(false), floats("output")));
  r.add("aten._log_softmax_backward_data.default",
        single(softmax_backward(true), floats("output")));
}

}  // namespace stator
