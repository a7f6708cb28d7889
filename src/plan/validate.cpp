// SPDX-License-Identifier: Apache-2.0
//
// What holds of a plan after this, and is not checked again:
//   - every number of a symbol, slot, buffer, weight, kernel or input is in range; a slot's
//     operands stand before it; no slot divides by a constant zero; what slots compute can be
//     written down as expressions of some length and no overflow;
//   - inputs and outputs name buffers of that role, each once, and their io_index agrees;
//   - a constant's bytes are a constant slot and as many as its weight has; a weight that is a copy
//     has the bytes of its shape;
//   - an order is a permutation of the axes of an input or output;
//   - an arena buffer is alive at every step that uses it; an alias names a buffer that is none and
//     agrees with it in role, bytes and life;
//   - what a step reads was written by a step before it, and every output is written;
//   - a step fits its kernel's contract (plan/contract.h) in all but sizes, and the contract was
//     made for this payload;
//   - every symbol is bound to one dimension of an input, or to one scalar;
//   - settings and metadata are JSON of bounded nesting, or empty.
// What depends on the sizes of a call the runtime proves at each new shape (no negative sizes,
// shapes within their bytes, contracts), and where no size does, when the engine is loaded. Code is
// trusted by its digest alone.
#include "plan/validate.h"

#include <algorithm>

#include "base/check.h"
#include "base/json.h"
#include "plan/engine_file.h"

namespace stator {
namespace {

// Far beyond what models give; printing and comparing expressions recurses and multiplies them out.
constexpr int64_t kMostTerms = 10000;
constexpr int64_t kMostNodes = 1000000;
constexpr int64_t kMostDepth = 2000;
constexpr int64_t kMostNodesInAll = 50000000;

/// Upper bounds of what a slot's expression can be.
struct Extent {
  int64_t terms = 1, nodes = 1, depth = 1;
};

/// Of `op` on two slots, before anything is simplified.
Extent combine(SizeOp op, const Extent& a, const Extent& b) {
  const int64_t depth = std::max(a.depth, b.depth) + 1;
  if (op == SizeOp::kMul) {
    return {a.terms * b.terms, a.nodes * b.terms + b.nodes * a.terms + 1, depth};
  }
  const bool sum = op == SizeOp::kAdd || op == SizeOp::kSub;
  return {sum ? a.terms + b.terms : 1, a.nodes + b.nodes + 1, depth};
}

/// Whether slot_expressions() can write the program down; asked before anything else calls it.
Status check_expressions(const std::string& where, const SizeProgram& program) {
  std::vector<Extent> extents(program.instructions.size());
  int64_t all = 0;
  for (size_t i = 0; i < extents.size(); ++i) {
    const SizeInstruction& in = program.instructions[i];
    if (in.op == SizeOp::kConstant || in.op == SizeOp::kSymbol) continue;
    extents[i] =
        combine(in.op, extents[static_cast<size_t>(in.a)], extents[static_cast<size_t>(in.b)]);
    all += extents[i].nodes;
    if (all > kMostNodesInAll || extents[i].terms > kMostTerms || extents[i].nodes > kMostNodes ||
        extents[i].depth > kMostDepth) {
      return invalid(at(where.c_str(), i), "a size expression that is too long");
    }
  }
  try {
    (void)slot_expressions(program);
  } catch (const InternalError&) {  // folding constants overflows
    return invalid(where, "a size expression overflows 64 bits");
  }
  return {};
}

Status check_instruction(const std::string& where, const SizeProgram& program, size_t index) {
  const SizeInstruction& in = program.instructions[index];
  if (static_cast<int>(in.op) >= kSizeOpCount) {
    return invalid(where, "unknown operation " + std::to_string(static_cast<int>(in.op)));
  }
  if (in.op == SizeOp::kConstant) return {};
  if (in.op == SizeOp::kSymbol) {
    return check_index(where, "symbol", in.a, program.symbols.size());
  }
  STATOR_RETURN_IF_ERROR(check_index(where + "[1]", "size slot", in.a, index));
  STATOR_RETURN_IF_ERROR(check_index(where + "[2]", "size slot", in.b, index));
  const SizeInstruction& divisor = program.instructions[static_cast<size_t>(in.b)];
  if ((in.op == SizeOp::kFloorDiv || in.op == SizeOp::kMod) && divisor.op == SizeOp::kConstant &&
      divisor.a == 0) {
    return invalid(where, "division by zero");
  }
  return {};
}

/// Doubles are operands of functions of doubles alone; a constant may be either.
Status check_types(const std::string& where, const SizeProgram& program) {
  enum class Type : uint8_t { kEither, kInteger, kDouble };
  std::vector<Type> types;
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    const SizeInstruction& in = program.instructions[i];
    if (in.op == SizeOp::kConstant || in.op == SizeOp::kSymbol) {
      types.push_back(in.op == SizeOp::kConstant ? Type::kEither : Type::kInteger);
      continue;
    }
    const std::string_view signature =
        is_function(in.op) ? size_function(function_of(in.op)).types : "iii";
    const int64_t operands[] = {in.a, in.b};
    for (size_t k = 0; k + 1 < signature.size(); ++k) {
      const Type given = types[static_cast<size_t>(operands[k])];
      const Type wanted = signature[k] == 'f' ? Type::kDouble : Type::kInteger;
      if (given != Type::kEither && given != wanted) {
        return invalid(at(where.c_str(), i), "an operand of another type");
      }
    }
    types.push_back(signature.back() == 'f' ? Type::kDouble : Type::kInteger);
  }
  return {};
}

Status check_symbol(const std::string& where, const Plan& plan, size_t index) {
  const SymbolBinding& symbol = plan.symbols[index];
  if (symbol.symbol != plan.sizes.symbols[index]) {
    return invalid(where, "binds \"" + symbol.symbol + "\" in the place of \"" +
                              plan.sizes.symbols[index] + "\"");
  }
  if (symbol.symbol.empty()) return invalid(where, "a symbol without a name");
  for (size_t i = 0; i < index; ++i) {
    if (plan.symbols[i].symbol == symbol.symbol) {
      return invalid(where, "\"" + symbol.symbol + "\" is bound twice");
    }
  }
  if (symbol.least > symbol.greatest) {
    return invalid(where, "range " + std::to_string(symbol.least) + ".." +
                              std::to_string(symbol.greatest) + " is empty");
  }
  if (symbol.input < 0) {
    return check_index(where + ".scalar", "scalar input", symbol.scalar,
                       static_cast<size_t>(std::max(0, plan.scalar_input_count)));
  }
  STATOR_RETURN_IF_ERROR(check_index(where + ".input", "input", symbol.input, plan.inputs.size()));
  const BufferId input = plan.inputs[static_cast<size_t>(symbol.input)];
  return check_index(where + ".dim", "dimension", symbol.dim,
                     plan.buffers[static_cast<size_t>(input)].shape.size());
}

Status check_json(const char* where, const std::string& text) {
  if (text.empty()) return {};
  const Result<nlohmann::json> parsed = parse_json(text);
  return parsed.ok() ? Status() : Status(invalid(where, parsed.error().message));
}

}  // namespace

std::string at(const char* list, size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

Error invalid(const std::string& where, const std::string& what) {
  return Error{ErrorCode::kInvalidFile, where + ": " + what};
}

Status check_index(const std::string& where, const char* noun, int64_t index, size_t count) {
  if (index >= 0 && index < static_cast<int64_t>(count)) return {};
  return invalid(where,
                 std::string(noun) + " " + std::to_string(index) + " of " + std::to_string(count));
}

Status check_slot(const std::string& where, const SizeProgram& program, SizeSlot slot) {
  return check_index(where, "size slot", slot, program.instructions.size());
}

Status check_size_program(const std::string& where, const SizeProgram& program) {
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    STATOR_RETURN_IF_ERROR(check_instruction(at(where.c_str(), i), program, i));
  }
  STATOR_RETURN_IF_ERROR(check_types(where, program));
  return check_expressions(where, program);
}

Status check_symbols(const Plan& plan) {
  if (plan.symbols.size() != plan.sizes.symbols.size()) {
    return invalid("symbols", std::to_string(plan.symbols.size()) + " bindings for " +
                                  std::to_string(plan.sizes.symbols.size()) + " symbols");
  }
  for (size_t i = 0; i < plan.symbols.size(); ++i) {
    STATOR_RETURN_IF_ERROR(check_symbol(at("symbols", i), plan, i));
  }
  if (plan.scalar_input_count < 0 || plan.scalar_input_count > (1 << 20)) {
    return invalid("scalar_input_count",
                   std::to_string(plan.scalar_input_count) + " is out of range");
  }
  for (size_t i = 0; i < plan.guards.size(); ++i) {
    STATOR_RETURN_IF_ERROR(
        check_slot(at("guards", i) + ".condition", plan.sizes, plan.guards[i].condition));
  }
  return {};
}

Status validate_plan(const Plan& plan) {
  STATOR_RETURN_IF_ERROR(check_json("settings", plan.settings));
  STATOR_RETURN_IF_ERROR(check_json("metadata", plan.metadata));
  STATOR_RETURN_IF_ERROR(check_size_program("sizes", plan.sizes));
  STATOR_RETURN_IF_ERROR(check_buffers(plan));
  STATOR_RETURN_IF_ERROR(check_symbols(plan));
  STATOR_RETURN_IF_ERROR(check_kernels(plan));
  return check_steps(plan);
}

}  // namespace stator
