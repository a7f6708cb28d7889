// SPDX-License-Identifier: Apache-2.0
//
// Comparisons, logic and bits.
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

/// self and other in their common dtype. Half-precision numbers are rounded to it before they are
/// compared in float32, scalars too; bool compares as 0 and 1.
std::pair<TensorId, TensorId> operands(Conversion& c, const Node& node) {
  const DType common = result_type(c.graph(), node, {"self", "other"});
  const DType compared = common == DType::kBool ? DType::kUInt8 : compute_dtype(common);
  return {c.cast(c.operand(node, "self", common), compared),
          c.cast(c.operand(node, "other", common), compared)};
}

Compute compare(Op op) {
  return [op](Conversion& c, const Node& node) {
    const auto [a, b] = operands(c, node);
    return c.network().add_elementwise(a, b, op);
  };
}

/// Of the truth of the operands.
Compute logical(Op op) {
  return [op](Conversion& c, const Node& node) {
    return elementwise(
        c, {c.operand(node, "self", DType::kBool), c.operand(node, "other", DType::kBool)}, op);
  };
}

TensorId logical_not(Conversion& c, const Node& node) {
  return c.network().add_unary(c.operand(node, "self", DType::kBool), UnaryOp::kNot);
}

TensorId bitwise_not(Conversion& c, const Node& node) {
  return c.network().add_unary(c.tensor(node, "self"), UnaryOp::kNot);
}

Compute bitwise(Op op) {
  return [op](Conversion& c, const Node& node) {
    const DType dtype = result_type(c.graph(), node, {"self", "other"});
    return elementwise(c, {c.operand(node, "self", dtype), c.operand(node, "other", dtype)}, op);
  };
}

/// |a - b| <= atol + rtol * |b|, or equal; NaN equals NaN where asked.
TensorId isclose(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType own = c.meta(node, "self").dtype;
  const DType compared = own == DType::kBool ? DType::kUInt8 : own;
  TensorId close = elementwise(
      c, {c.operand(node, "self", compared), c.operand(node, "other", compared)}, Op::kEqual);
  const DType dtype = floating_dtype(own);  // integers differ as float32 numbers
  const TensorId a = c.operand(node, "self", dtype);
  const TensorId b = c.operand(node, "other", dtype);
  if (node.boolean("equal_nan")) {
    const TensorId both = elementwise(
        c, {n.add_unary(a, UnaryOp::kIsNan), n.add_unary(b, UnaryOp::kIsNan)}, Op::kAnd);
    close = n.add_elementwise(close, both, Op::kOr);
  }
  const TensorId magnitude = n.add_unary(b, UnaryOp::kAbs);
  const TensorId allowed = elementwise(
      c,
      {real(c, node.number("atol", 1e-8), dtype),
       n.add_elementwise(real(c, node.number("rtol", 1e-5), dtype), magnitude, Op::kMul)},
      Op::kAdd);
  const TensorId actual = n.add_unary(n.add_elementwise(a, b, Op::kSub), UnaryOp::kAbs);
  const TensorId finite = n.add_unary(n.add_unary(actual, UnaryOp::kIsInf), UnaryOp::kNot);
  const TensorId near =
      n.add_elementwise(n.add_elementwise(actual, allowed, Op::kLessEqual), finite, Op::kAnd);
  return n.add_elementwise(close, near, Op::kOr);
}

Support isclose_support(const SupportContext& c, const Node& node) {
  const DType dtype = c.meta(node, "self").dtype;
  return compute_dtype(dtype) == dtype && c.meta(node, "other").dtype == dtype
             ? Support::yes()
             : Support::no("isclose is not converted for halves or for two element types");
}

/// Numbers that are no integers have no bits to combine.
Support integers_only(const SupportContext& c, const Node& node) {
  const DType dtype = node.find("other") == nullptr ? c.meta(node, "self").dtype
                                                    : result_type(c.graph, node, {"self", "other"});
  return is_floating_point(dtype) ? Support::no(std::string("bitwise operations on ") +
                                                torch_dtype_name(dtype) + " are not supported")
                                  : Support::yes();
}

struct Named {
  const char* name;
  const char* alias;
  Op op;
};

constexpr Named kComparisons[] = {
    {"eq", "", Op::kEqual},          {"ne", "not_equal", Op::kNotEqual},
    {"lt", "less", Op::kLess},       {"le", "less_equal", Op::kLessEqual},
    {"gt", "greater", Op::kGreater}, {"ge", "greater_equal", Op::kGreaterEqual},
};

constexpr Named kBitwise[] = {
    {"bitwise_and", "__and__", Op::kAnd},
    {"bitwise_or", "__or__", Op::kOr},
    {"bitwise_xor", "__xor__", Op::kXor},
    {"bitwise_left_shift", "__lshift__", Op::kShiftLeft},
    {"bitwise_right_shift", "__rshift__", Op::kShiftRight},
};

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_comparison(ConverterRegistry& r) {
  using namespace aten;
  for (const Named& comparison : kComparisons) {
    for (const char* overload : {".Tensor", ".Scalar"}) {
      r.add("aten." + std::string(comparison.name) + overload, single(compare(comparison.op)));
      if (comparison.alias[0] != 0) {
        r.add("aten." + std::string(comparison.alias) + overload, single(compare(comparison.op)));
      }
    }
  }
  r.add("aten.logical_and.default", single(logical(Op::kAnd)));
  r.add("aten.logical_or.default", single(logical(Op::kOr)));
  r.add("aten.logical_xor.default", single(logical(Op::kXor)));
  r.add("aten.logical_not.default", single(logical_not));
  r.add("aten.bitwise_not.default", single(bitwise_not, integers_only));
  for (const Named& bits : kBitwise) {
    const std::string name = std::string("aten.") + bits.name;
    const bool shift = bits.op == Op::kShiftLeft || bits.op == Op::kShiftRight;
    r.add(name + ".Tensor", single(bitwise(bits.op), integers_only));
    r.add(name + (shift ? ".Tensor_Scalar" : ".Scalar"), single(bitwise(bits.op), integers_only));
    r.add(name + ".Scalar_Tensor", single(bitwise(bits.op), integers_only));
    for (const char* overload : {".Tensor", ".Scalar"}) {
      r.add("aten." + std::string(bits.alias) + overload, single(bitwise(bits.op), integers_only));
    }
  }
  r.add("aten.isclose.default", single(isclose, isclose_support));
}

}  // namespace stator
