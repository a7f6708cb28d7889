// SPDX-License-Identifier: Apache-2.0
#include "plan/contract.h"

#include "plan/digest.h"
#include "plan/plan.h"

namespace stator {
namespace {

std::string step_text(const Plan& plan, size_t step) {
  const PlanStep& s = plan.steps[step];
  return "steps[" + std::to_string(step) + "] \"" + s.name + "\" does not fit its kernel \"" +
         plan.kernels[static_cast<size_t>(s.kernel)].name + "\": ";
}

std::string numbers(const char* what, int64_t found, int64_t expected) {
  return std::string(what) + " " + std::to_string(found) + ", the kernel takes " +
         std::to_string(expected);
}

const KernelContract& contract_of(const Plan& plan, const PlanStep& step) {
  return plan.kernels[static_cast<size_t>(step.kernel)].contract;
}

/// One step's launch at one set of sizes; "" when it is right.
class Launch {
 public:
  Launch(const Plan& plan, const PlanStep& step, const int64_t* table)
      : plan_(plan), step_(step), contract_(contract_of(plan, step)), table_(table) {}

  std::string complaint() {
    std::string wrong = bind_symbols();
    if (wrong.empty()) wrong = check_numbers();
    for (size_t i = 0; wrong.empty() && i < step_.buffers.size(); ++i) wrong = check_operand(i);
    return wrong;
  }

 private:
  int64_t given(SizeSlot slot) const { return table_[slot]; }
  int64_t wanted(SizeSlot slot) const { return own_[static_cast<size_t>(slot)]; }

  std::string bind_symbols() {
    std::vector<int64_t> values;
    for (size_t i = 0; i < step_.symbols.size(); ++i) {
      const int64_t value = given(step_.symbols[i]);
      const auto [least, greatest] = contract_.ranges[i];
      if (value < least || value > greatest) {
        return contract_.program.symbols[i] + " is " + std::to_string(value) +
               ", the kernel was made for " + std::to_string(least) + ".." +
               std::to_string(greatest);
      }
      values.push_back(value);
    }
    own_.resize(contract_.program.instructions.size());
    return contract_.program.run(values.data(), own_.data()) ? "" : "its sizes overflow 64 bits";
  }

  std::string check_numbers() const {
    for (size_t i = 0; i < step_.sizes.size(); ++i) {
      const int64_t found = given(step_.sizes[i]), expected = wanted(contract_.sizes[i]);
      if (found != expected) {
        return numbers(("size " + std::to_string(i) + " is").c_str(), found, expected);
      }
    }
    const int64_t tasks = wanted(contract_.task_count), scratch = wanted(contract_.scratch_bytes);
    if (given(step_.task_count) != tasks) {
      return numbers("the number of tasks is", given(step_.task_count), tasks);
    }
    if (given(step_.scratch_bytes) < scratch) {
      return numbers("the scratch memory has", given(step_.scratch_bytes), scratch);
    }
    return "";
  }

  std::string check_operand(size_t index) const {
    const ContractOperand& operand = contract_.operands[index];
    const PlanBuffer& buffer = plan_.buffers[static_cast<size_t>(step_.buffers[index])];
    const std::string name = "buffer " + std::to_string(index) + " \"" + buffer.name + "\" ";
    for (size_t d = 0; d < buffer.shape.size(); ++d) {
      const int64_t found = given(buffer.shape[d]), expected = wanted(operand.shape[d]);
      if (found != expected) {
        return name + numbers(("has in dimension " + std::to_string(d)).c_str(), found, expected);
      }
    }
    const int64_t bytes = given(buffer.size_bytes), needed = wanted(operand.size_bytes);
    return bytes < needed ? name + numbers("has bytes", bytes, needed) : "";
  }

  const Plan& plan_;
  const PlanStep& step_;
  const KernelContract& contract_;
  const int64_t* table_;
  std::vector<int64_t> own_;  // the contract's slots
};

std::string check_buffer(const Plan& plan, const ContractOperand& operand, BufferId id,
                         bool written) {
  const PlanBuffer& buffer = plan.buffers[static_cast<size_t>(id)];
  if (buffer.dtype != operand.dtype) {
    return std::string("is ") + dtype_name(buffer.dtype) + ", the kernel takes " +
           dtype_name(operand.dtype);
  }
  if (buffer.shape.size() != operand.shape.size()) {
    return numbers("has the rank", static_cast<int64_t>(buffer.shape.size()),
                   static_cast<int64_t>(operand.shape.size()));
  }
  if (written && buffer.role != BufferRole::kArena && buffer.role != BufferRole::kOutput) {
    return std::string("is written and is ") + buffer_role_name(buffer.role);
  }
  if (operand.constant != (buffer.role == BufferRole::kConstant)) {
    return operand.constant ? "is no constant" : "is a constant";
  }
  if (!operand.constant) return "";
  const WeightRecipe& recipe = plan.weights[static_cast<size_t>(buffer.weight)].recipe;
  const std::string packed = recipe.kind == "pack" ? recipe.text : "";
  if (packed == operand.recipe) return "";
  return "is packed as \"" + packed + "\", the kernel takes \"" + operand.recipe + "\"";
}

}  // namespace

uint64_t payload_digest(const PlanKernel& kernel) {
  return digest64(kernel.payload.data(), static_cast<int64_t>(kernel.payload.size()));
}

Status check_step_contract(const Plan& plan, int32_t index) {
  const PlanStep& step = plan.steps[static_cast<size_t>(index)];
  const KernelContract& contract = contract_of(plan, step);
  const auto wrong = [&](const std::string& what) {
    return Error{ErrorCode::kInvalidFile, step_text(plan, static_cast<size_t>(index)) + what};
  };
  const auto count = [](const auto& list) { return static_cast<int64_t>(list.size()); };
  if (step.buffers.size() != contract.operands.size()) {
    return wrong(
        numbers("the number of buffers is", count(step.buffers), count(contract.operands)));
  }
  if (step.sizes.size() != contract.sizes.size()) {
    return wrong(numbers("the number of sizes is", count(step.sizes), count(contract.sizes)));
  }
  if (step.symbols.size() != contract.ranges.size()) {
    return wrong(numbers("the number of symbols is", count(step.symbols), count(contract.ranges)));
  }
  const size_t first_written = step.buffers.size() - static_cast<size_t>(contract.outputs);
  for (size_t i = 0; i < step.buffers.size(); ++i) {
    const std::string what =
        check_buffer(plan, contract.operands[i], step.buffers[i], i >= first_written);
    if (!what.empty()) return wrong("buffer " + std::to_string(i) + " " + what);
  }
  return {};
}

Status check_launches(const Plan& plan, const int64_t* table) {
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const std::string wrong = Launch(plan, plan.steps[i], table).complaint();
    if (!wrong.empty()) return Error{ErrorCode::kInvalidFile, step_text(plan, i) + wrong};
  }
  return {};
}

}  // namespace stator
