// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <string_view>

#include "plan/plan.h"

namespace stator {
namespace {

/// A double that a slot holds as a constant stands there as its bits.
Expr operand_of(char type, const Expr& e) {
  return type == 'f' && e.is_constant() ? Expr::real(std::bit_cast<double>(e.constant())) : e;
}

Expr call(SizeFunction function, const Expr& a, const Expr& b) {
  const std::string_view types = size_function(function).types;
  std::vector<Expr> operands{operand_of(types[0], a)};
  if (types.size() == 3) operands.push_back(operand_of(types[1], b));
  return Expr::call(function, std::move(operands));
}

}  // namespace

std::vector<Expr> slot_expressions(const SizeProgram& program) {
  std::vector<Expr> slots;
  slots.reserve(program.instructions.size());
  for (const SizeInstruction& in : program.instructions) {
    const auto operand = [&](int64_t slot) { return slots[static_cast<size_t>(slot)]; };
    switch (in.op) {
      case SizeOp::kConstant:
        slots.emplace_back(in.a);
        break;
      case SizeOp::kSymbol:
        slots.push_back(Expr::symbol(program.symbols[static_cast<size_t>(in.a)]));
        break;
      case SizeOp::kAdd:
        slots.push_back(operand(in.a) + operand(in.b));
        break;
      case SizeOp::kSub:
        slots.push_back(operand(in.a) - operand(in.b));
        break;
      case SizeOp::kMul:
        slots.push_back(operand(in.a) * operand(in.b));
        break;
      case SizeOp::kFloorDiv:
        slots.push_back(floor_div(operand(in.a), operand(in.b)));
        break;
      case SizeOp::kMod:
        slots.push_back(mod(operand(in.a), operand(in.b)));
        break;
      case SizeOp::kMin:
        slots.push_back(min(operand(in.a), operand(in.b)));
        break;
      case SizeOp::kMax:
        slots.push_back(max(operand(in.a), operand(in.b)));
        break;
      default:
        slots.push_back(call(function_of(in.op), operand(in.a), operand(in.b)));
        break;
    }
  }
  return slots;
}

}  // namespace stator
