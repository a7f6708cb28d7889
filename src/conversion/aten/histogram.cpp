// SPDX-License-Identifier: Apache-2.0
//
// histc: how many elements fall into each of bins of one width.
#include <cmath>

#include "conversion/aten/index.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

/// The bin of each element, in PyTorch's own steps; `bins` for what lies outside.
TensorId bin_of(Conversion& c, TensorId x, double least, double most, int64_t bins) {
  Network& n = c.network();
  const DType dtype = n.type(x).dtype;
  const TensorId low = real(c, least, dtype), high = real(c, most, dtype);
  const TensorId inside = elementwise(
      c, {elementwise(c, {x, low}, Op::kGreaterEqual), elementwise(c, {x, high}, Op::kLessEqual)},
      Op::kAnd);
  const TensorId above = n.add_elementwise(choose(c, {inside, x, low}), low, Op::kSub);
  const TensorId scaled =
      elementwise(c, {above, real(c, static_cast<double>(bins), dtype)}, Op::kMul);
  const TensorId width = n.add_elementwise(high, low, Op::kSub);
  const TensorId place = c.cast(n.add_elementwise(scaled, width, Op::kDiv), DType::kInt64);
  // The last bin has its end, too.
  const TensorId bin = elementwise(c, {place, whole(c, bins - 1, DType::kInt64)}, Op::kMin);
  return choose(c, {inside, bin, whole(c, bins, DType::kInt64)});
}

TensorId histc(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId self = c.tensor(node, "self");
  const TensorType type = n.type(self);
  const Expr count = product(type.shape);
  const int64_t bins = node.integer("bins", 100);
  const TensorId place = bin_of(c, n.add_reshape(self, {count}), *constant_number(node, "min"),
                                *constant_number(node, "max"), bins);
  const TensorId zeros = n.add_fill({Expr(bins + 1)}, type.dtype, Scalar::of(int64_t{0}));
  const TensorId ones = n.add_fill({count}, type.dtype, Scalar::of(int64_t{1}));
  const TensorId counts = n.add_layer(ScatterElements{0, ScatterOp::kAdd}, {zeros, place, ones})[0];
  return n.add_slice(counts, {Expr(0)}, {Expr(bins)}, {1});
}

Support histc_support(const SupportContext& c, const Node& node) {
  const DType dtype = c.meta(node, "self").dtype;
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    return Support::no(std::string("its elements are ") + torch_dtype_name(dtype));
  }
  if (Support constant = constant_arguments(node, {"bins", "min", "max"}); !constant) {
    return constant;
  }
  const auto least = constant_number(node, "min"), most = constant_number(node, "max");
  if (!least || !most || *least == *most) {
    return Support::no("its range is that of its elements, which must be finite");
  }
  return std::isfinite(*least) && std::isfinite(*most) && *least < *most &&
                 node.integer("bins", 100) > 0
             ? Support::yes()
             : Support::no("it is an error");
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_histogram(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.histc.default", single(histc, histc_support));
}

}  // namespace stator
