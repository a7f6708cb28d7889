// SPDX-License-Identifier: Apache-2.0
//
// What holds of a plan after this, and is not checked again:
//   - every number of a symbol, slot, buffer, weight, kernel or input is in range; a slot's
//   operands
//     stand before it; no slot divides by a constant zero;
//   - inputs and outputs name buffers of that role, each once, and their io_index agrees;
//   - a constant's bytes are a constant slot and as many as its weight has;
//   - an arena buffer is alive at every step that uses it; an alias names a buffer that is none and
//     agrees with it in role, bytes and life;
//   - every symbol is bound to one dimension of an input, or to one scalar.
// What depends on the sizes of a call (no negative sizes, shapes within their bytes) the runtime
// checks at each new shape. Code is trusted by its digest alone.
#include <algorithm>
#include <map>
#include <set>

#include "plan/engine_file.h"

namespace stator {
namespace {

constexpr size_t kMaxRank = 16;

std::string at(const char* list, size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

Error invalid(const std::string& where, const std::string& what) {
  return Error{ErrorCode::kInvalidFile, where + ": " + what};
}

/// "steps[3].kernel: kernel 17 of 12" unless 0 <= index < count.
Status check_index(const std::string& where, const char* noun, int64_t index, size_t count) {
  if (index >= 0 && index < static_cast<int64_t>(count)) return {};
  return invalid(where,
                 std::string(noun) + " " + std::to_string(index) + " of " + std::to_string(count));
}

class Validator {
 public:
  explicit Validator(const Plan& plan) : plan_(plan) {}

  Status run() const {
    STATOR_RETURN_IF_ERROR(check_sizes());
    STATOR_RETURN_IF_ERROR(check_buffers());
    STATOR_RETURN_IF_ERROR(check_interface("inputs", plan_.inputs, BufferRole::kInput));
    STATOR_RETURN_IF_ERROR(check_interface("outputs", plan_.outputs, BufferRole::kOutput));
    STATOR_RETURN_IF_ERROR(check_symbols());
    return check_steps();
  }

 private:
  Status slot(const std::string& where, SizeSlot slot) const {
    return check_index(where, "size slot", slot, plan_.sizes.instructions.size());
  }

  Status check_sizes() const {
    const auto& instructions = plan_.sizes.instructions;
    for (size_t i = 0; i < instructions.size(); ++i) {
      const SizeInstruction& in = instructions[i];
      const std::string where = at("sizes", i);
      if (static_cast<int>(in.op) >= kSizeOpCount) {
        return invalid(where, "unknown operation " + std::to_string(static_cast<int>(in.op)));
      }
      if (in.op == SizeOp::kConstant) continue;
      if (in.op == SizeOp::kSymbol) {
        STATOR_RETURN_IF_ERROR(check_index(where, "symbol", in.a, plan_.sizes.symbols.size()));
        continue;
      }
      STATOR_RETURN_IF_ERROR(check_index(where + "[1]", "size slot", in.a, i));
      STATOR_RETURN_IF_ERROR(check_index(where + "[2]", "size slot", in.b, i));
      const SizeInstruction& divisor = instructions[static_cast<size_t>(in.b)];
      if ((in.op == SizeOp::kFloorDiv || in.op == SizeOp::kMod) &&
          divisor.op == SizeOp::kConstant && divisor.a == 0) {
        return invalid(where, "division by zero");
      }
    }
    return {};
  }

  Status check_symbols() const {
    if (plan_.symbols.size() != plan_.sizes.symbols.size()) {
      return invalid("symbols", std::to_string(plan_.symbols.size()) + " bindings for " +
                                    std::to_string(plan_.sizes.symbols.size()) + " symbols");
    }
    for (size_t i = 0; i < plan_.symbols.size(); ++i) {
      STATOR_RETURN_IF_ERROR(check_symbol(at("symbols", i), plan_.symbols[i], i));
    }
    if (plan_.scalar_input_count < 0 || plan_.scalar_input_count > (1 << 20)) {
      return invalid("scalar_input_count",
                     std::to_string(plan_.scalar_input_count) + " is out of range");
    }
    for (size_t i = 0; i < plan_.guards.size(); ++i) {
      STATOR_RETURN_IF_ERROR(slot(at("guards", i) + ".condition", plan_.guards[i].condition));
    }
    return {};
  }

  Status check_symbol(const std::string& where, const SymbolBinding& symbol, size_t index) const {
    if (symbol.symbol != plan_.sizes.symbols[index]) {
      return invalid(where, "binds \"" + symbol.symbol + "\" in the place of \"" +
                                plan_.sizes.symbols[index] + "\"");
    }
    if (symbol.least > symbol.greatest) {
      return invalid(where, "range " + std::to_string(symbol.least) + ".." +
                                std::to_string(symbol.greatest) + " is empty");
    }
    if (symbol.input < 0) {
      return check_index(where + ".scalar", "scalar input", symbol.scalar,
                         static_cast<size_t>(std::max(0, plan_.scalar_input_count)));
    }
    STATOR_RETURN_IF_ERROR(
        check_index(where + ".input", "input", symbol.input, plan_.inputs.size()));
    const BufferId input = plan_.inputs[static_cast<size_t>(symbol.input)];
    return check_index(where + ".dim", "dimension", symbol.dim,
                       plan_.buffers[static_cast<size_t>(input)].shape.size());
  }

  Status check_buffers() const {
    for (size_t i = 0; i < plan_.buffers.size(); ++i) {
      const PlanBuffer& buffer = plan_.buffers[i];
      const std::string where = at("buffers", i);
      if (buffer.shape.size() > kMaxRank) {
        return invalid(where + ".shape",
                       "rank " + std::to_string(buffer.shape.size()) + ", at most 16 is possible");
      }
      for (size_t d = 0; d < buffer.shape.size(); ++d) {
        STATOR_RETURN_IF_ERROR(slot(where + at(".shape", d), buffer.shape[d]));
      }
      STATOR_RETURN_IF_ERROR(slot(where + ".size_bytes", buffer.size_bytes));
      if (static_cast<int>(buffer.dtype) >= kDTypeCount || buffer.role > BufferRole::kArena) {
        return invalid(where, "unknown dtype or role");
      }
      if (buffer.role == BufferRole::kConstant) {
        STATOR_RETURN_IF_ERROR(check_constant(where, buffer));
      }
      if (buffer.role == BufferRole::kArena &&
          (buffer.first_step < 0 || buffer.first_step > buffer.last_step ||
           buffer.last_step >= static_cast<int64_t>(plan_.steps.size()))) {
        return invalid(where + ".steps", "lives from " + std::to_string(buffer.first_step) +
                                             " to " + std::to_string(buffer.last_step) + " of " +
                                             std::to_string(plan_.steps.size()) + " steps");
      }
      if (buffer.alias_of != -1) STATOR_RETURN_IF_ERROR(check_alias(where, buffer));
    }
    return {};
  }

  Status check_constant(const std::string& where, const PlanBuffer& buffer) const {
    STATOR_RETURN_IF_ERROR(
        check_index(where + ".weight", "weight", buffer.weight, plan_.weights.size()));
    const PlanWeight& weight = plan_.weights[static_cast<size_t>(buffer.weight)];
    const SizeInstruction& size = plan_.sizes.instructions[static_cast<size_t>(buffer.size_bytes)];
    if (size.op != SizeOp::kConstant || size.a != weight.data.size_bytes) {
      return invalid(where + ".size_bytes",
                     (size.op == SizeOp::kConstant ? std::to_string(size.a) + " bytes"
                                                   : std::string("not constant")) +
                         ", weight \"" + weight.name + "\" has " +
                         std::to_string(weight.data.size_bytes));
    }
    return {};
  }

  Status check_alias(const std::string& where, const PlanBuffer& buffer) const {
    STATOR_RETURN_IF_ERROR(
        check_index(where + ".alias_of", "buffer", buffer.alias_of, plan_.buffers.size()));
    const PlanBuffer& root = plan_.buffers[static_cast<size_t>(buffer.alias_of)];
    if (root.alias_of != -1 || root.role != buffer.role || root.size_bytes != buffer.size_bytes ||
        root.io_index != buffer.io_index || root.weight != buffer.weight ||
        root.first_step != buffer.first_step || root.last_step != buffer.last_step) {
      return invalid(where + ".alias_of", "buffer " + std::to_string(buffer.alias_of) +
                                              " is an alias itself or differs");
    }
    return {};
  }

  Status check_interface(const char* list, const std::vector<BufferId>& ids,
                         BufferRole role) const {
    std::set<BufferId> seen;
    for (size_t i = 0; i < ids.size(); ++i) {
      const std::string where = at(list, i);
      STATOR_RETURN_IF_ERROR(check_index(where, "buffer", ids[i], plan_.buffers.size()));
      const PlanBuffer& buffer = plan_.buffers[static_cast<size_t>(ids[i])];
      if (buffer.role != role || buffer.io_index != static_cast<int32_t>(i) ||
          buffer.alias_of != -1 || !seen.insert(ids[i]).second) {
        return invalid(where, "buffer " + std::to_string(ids[i]) + " is " +
                                  buffer_role_name(buffer.role) + " " +
                                  std::to_string(buffer.io_index));
      }
    }
    for (size_t i = 0; i < plan_.buffers.size(); ++i) {
      if (plan_.buffers[i].role != role) continue;
      STATOR_RETURN_IF_ERROR(check_index(at("buffers", i) + ".io_index", buffer_role_name(role),
                                         plan_.buffers[i].io_index, ids.size()));
    }
    return {};
  }

  Status check_steps() const {
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      const PlanStep& step = plan_.steps[i];
      const std::string where = at("steps", i);
      STATOR_RETURN_IF_ERROR(
          check_index(where + ".kernel", "kernel", step.kernel, plan_.kernels.size()));
      STATOR_RETURN_IF_ERROR(slot(where + ".task_count", step.task_count));
      STATOR_RETURN_IF_ERROR(slot(where + ".scratch_bytes", step.scratch_bytes));
      for (size_t k = 0; k < step.sizes.size(); ++k) {
        STATOR_RETURN_IF_ERROR(slot(where + at(".sizes", k), step.sizes[k]));
      }
      for (size_t k = 0; k < step.buffers.size(); ++k) {
        STATOR_RETURN_IF_ERROR(check_use(where + at(".buffers", k), step.buffers[k], i));
      }
    }
    return check_groups();
  }

  /// Lanes within bounds, and no arena buffer that lanes could fight for: one that a group makes
  /// belongs to a single lane, and every one lives as long as the group that touches it.
  Status check_groups() const {
    size_t begin = 0;
    while (begin < plan_.steps.size()) {
      const int32_t group = plan_.steps[begin].group;
      size_t end = begin + 1;
      while (group >= 0 && end < plan_.steps.size() && plan_.steps[end].group == group) ++end;
      STATOR_RETURN_IF_ERROR(check_group(begin, end));
      begin = end;
    }
    return {};
  }

  Status check_group(size_t begin, size_t end) const {
    std::map<BufferId, int32_t> lane_of;
    for (size_t i = begin; i < end; ++i) {
      const PlanStep& step = plan_.steps[i];
      const std::string where = at("steps", i) + ".lane";
      if (step.group < -1 || step.lane < 0 || step.lane >= kMostLanes ||
          (step.group < 0 && step.lane != 0)) {
        return invalid(
            where, "group " + std::to_string(step.group) + ", lane " + std::to_string(step.lane));
      }
      if (step.group < 0) continue;
      for (const BufferId id : step.buffers) {
        const PlanBuffer& buffer = plan_.buffers[static_cast<size_t>(id)];
        if (buffer.role != BufferRole::kArena) continue;
        const BufferId root = buffer.alias_of >= 0 ? buffer.alias_of : id;
        const bool made_here = buffer.first_step >= static_cast<int64_t>(begin);
        const auto [found, is_new] = lane_of.emplace(root, step.lane);
        const bool shared = made_here && !is_new && found->second != step.lane;
        if (shared || (made_here && buffer.first_step != static_cast<int64_t>(begin)) ||
            buffer.last_step + 1 < static_cast<int64_t>(end)) {
          return invalid(where, "buffer " + std::to_string(id) +
                                    (shared ? " is used by two lanes"
                                            : " does not live as long as the group"));
        }
      }
    }
    return {};
  }

  Status check_use(const std::string& where, BufferId id, size_t step) const {
    STATOR_RETURN_IF_ERROR(check_index(where, "buffer", id, plan_.buffers.size()));
    const PlanBuffer& buffer = plan_.buffers[static_cast<size_t>(id)];
    const auto now = static_cast<int64_t>(step);
    if (buffer.role == BufferRole::kArena && (now < buffer.first_step || now > buffer.last_step)) {
      return invalid(where, "buffer " + std::to_string(id) + " lives from step " +
                                std::to_string(buffer.first_step) + " to " +
                                std::to_string(buffer.last_step));
    }
    return {};
  }

  const Plan& plan_;
};

}  // namespace

Status validate_plan(const Plan& plan) { return Validator(plan).run(); }

}  // namespace stator
