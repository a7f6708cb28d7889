// SPDX-License-Identifier: Apache-2.0
//
// The text form of a LoopProgram; loop_program.h shows one. parse_loop.cpp reads it back.
#include <charconv>
#include <cmath>

#include "region/loop_program.h"

namespace stator {
namespace {

std::string value(OpId id) { return "%" + std::to_string(id); }

std::string print_scalar(const Scalar& scalar) {
  if (scalar.is_integer) {
    return std::to_string(scalar.integer);
  }
  if (std::isnan(scalar.real)) {
    return "nan";
  }
  if (std::isinf(scalar.real)) {
    return scalar.real > 0 ? "inf" : "-inf";
  }
  char buffer[40];
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof(buffer), scalar.real).ptr);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

std::string print_place(int32_t buffer, const Expr& index, const std::vector<Indirect>& indirect) {
  std::string s = "b" + std::to_string(buffer) + "[" + index.str();
  for (const Indirect& i : indirect) {
    s += " @ " + value(i.op) + " * " + i.stride.str();
  }
  return s + "]";
}

std::string print_op(const LoopOp& op) {
  const std::string type = std::string(dtype_name(op.dtype)) + " ";
  switch (op.kind) {
    case LoopOpKind::kLoad:
      return "load " + type + print_place(op.buffer, op.index, op.indirect) +
             (op.guard == kNoOp ? "" : " if " + value(op.guard));
    case LoopOpKind::kConstant:
      return "constant " + type + print_scalar(op.scalar);
    case LoopOpKind::kIndex:
      return "index " + op.index.str();
    case LoopOpKind::kUnary:
      return std::string("unary.") + name_of(op.unary) + " " + type + value(op.a);
    case LoopOpKind::kElementwise:
      return std::string(name_of(op.elementwise)) + " " + type + value(op.a) + ", " + value(op.b);
    case LoopOpKind::kSelect:
      return "select " + type + value(op.a) + ", " + value(op.b) + ", " + value(op.c);
    case LoopOpKind::kCast:
      return "cast " + type + value(op.a);
    case LoopOpKind::kReduce:
      return std::string("reduce.") + name_of(op.reduce) + " " + type + value(op.a);
    case LoopOpKind::kCheckIndex:
      return "check " + type + value(op.a) + " < " + op.index.str() + " else " +
             name_of(op.site.error) + " " + std::to_string(op.site.dim) +
             (op.site.wrap ? " wrapped" : "") + (op.b == kNoOp ? "" : " of " + value(op.b)) +
             (op.guard == kNoOp ? "" : " if " + value(op.guard));
    case LoopOpKind::kAccumulator:
      return "accumulator " + std::string(dtype_name(op.dtype));
  }
  return "";
}

}  // namespace

std::string print_loop_program(const LoopProgram& program) {
  std::string s = "dims";
  for (size_t k = 0; k < program.dims.size(); ++k) {
    s += (k > 0 ? ", " : " ") + index_symbol(static_cast<int>(k)) + " < " +
         program.dims[k].extent.str() + (program.dims[k].reduction ? " reduction" : "");
  }
  s += "\n";
  for (size_t i = 0; i < program.ops.size(); ++i) {
    s += value(static_cast<OpId>(i)) + " = " + print_op(program.ops[i]) + "\n";
  }
  for (const LoopStore& store : program.stores) {
    s += "store " + print_place(store.buffer, store.index, {}) + " = " + value(store.value) + "\n";
  }
  return s;
}

}  // namespace stator
