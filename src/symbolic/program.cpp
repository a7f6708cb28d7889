// SPDX-License-Identifier: Apache-2.0
#include "symbolic/program.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "symbolic/polynomial.h"

namespace stator {

SizeSlot SizeProgram::add(const Expr& e) {
  if (const auto it = slots_.find(e); it != slots_.end()) {
    return it->second;
  }
  const auto emit = [this](SizeOp op, int64_t a, int64_t b) {
    instructions.push_back({op, a, b});
    return static_cast<SizeSlot>(instructions.size() - 1);
  };
  SizeSlot slot = 0;
  if (e.is_constant()) {
    slot = emit(SizeOp::kConstant, e.constant(), 0);
  } else if (e.is_symbol()) {
    const auto it = std::find(symbols.begin(), symbols.end(), e.symbol_name());
    STATOR_CHECK(it != symbols.end(), "size symbol " + e.symbol_name() + " is bound to no input");
    slot = emit(SizeOp::kSymbol, it - symbols.begin(), 0);
  } else if (e.kind() == ExprKind::kReal) {
    slot = emit(SizeOp::kConstant, std::bit_cast<int64_t>(e.real_value()), 0);
  } else if (e.kind() == ExprKind::kCall) {
    const SizeSlot a = add(e.operands()[0]);
    const SizeSlot b = e.operands().size() > 1 ? add(e.operands()[1]) : a;
    const int op = static_cast<int>(SizeOp::kFunction) + static_cast<int>(e.function());
    slot = emit(static_cast<SizeOp>(op), a, b);
  } else {
    static constexpr SizeOp kOps[] = {SizeOp::kConstant, SizeOp::kSymbol,   SizeOp::kAdd,
                                      SizeOp::kMul,      SizeOp::kFloorDiv, SizeOp::kMod,
                                      SizeOp::kMin,      SizeOp::kMax};
    const SizeOp op = kOps[static_cast<size_t>(e.kind())];
    slot = add(e.operands()[0]);
    for (size_t i = 1; i < e.operands().size(); ++i) {
      const SizeSlot right = add(e.operands()[i]);
      slot = emit(op, slot, right);
    }
  }
  slots_.emplace(e, slot);
  return slot;
}

bool SizeProgram::run(const int64_t* symbol_values, int64_t* table) const {
  for (size_t i = 0; i < instructions.size(); ++i) {
    const SizeInstruction& step = instructions[i];
    std::optional<int64_t> value;
    switch (step.op) {
      case SizeOp::kConstant:
        value = step.a;
        break;
      case SizeOp::kSymbol:
        value = symbol_values[step.a];
        break;
      case SizeOp::kAdd:
        value = apply(ExprKind::kAdd, table[step.a], table[step.b]);
        break;
      case SizeOp::kSub: {
        int64_t difference = 0;
        if (!__builtin_sub_overflow(table[step.a], table[step.b], &difference)) {
          value = difference;
        }
        break;
      }
      case SizeOp::kMul:
        value = apply(ExprKind::kMul, table[step.a], table[step.b]);
        break;
      case SizeOp::kFloorDiv:
        value = apply(ExprKind::kFloorDiv, table[step.a], table[step.b]);
        break;
      case SizeOp::kMod:
        value = apply(ExprKind::kMod, table[step.a], table[step.b]);
        break;
      case SizeOp::kMin:
        value = std::min(table[step.a], table[step.b]);
        break;
      case SizeOp::kMax:
        value = std::max(table[step.a], table[step.b]);
        break;
      default:
        value = apply(function_of(step.op), table[step.a], table[step.b]);
        break;
    }
    if (!value) {
      return false;
    }
    table[i] = *value;
  }
  return true;
}

}  // namespace stator
