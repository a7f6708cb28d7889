// SPDX-License-Identifier: Apache-2.0
#include <cinttypes>
#include <cstdio>

#include "plan/plan.h"

namespace stator {
namespace {

std::string join(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

std::string print_buffer(const Plan& plan, const PlanBuffer& buffer,
                         const std::vector<Expr>& slots) {
  std::vector<std::string> shape;
  for (SizeSlot slot : buffer.shape) shape.push_back(slots[static_cast<size_t>(slot)].str());
  std::string text = "%" + buffer.name + ": " + dtype_name(buffer.dtype) + "[" + join(shape) +
                     "] " + buffer_role_name(buffer.role);
  if (buffer.io_index >= 0) text += " " + std::to_string(buffer.io_index);
  if (buffer.weight >= 0) text += " " + plan.weights[static_cast<size_t>(buffer.weight)].name;
  text += ", " + slots[static_cast<size_t>(buffer.size_bytes)].str() + " bytes";
  if (buffer.role == BufferRole::kArena) {
    text +=
        ", steps " + std::to_string(buffer.first_step) + ".." + std::to_string(buffer.last_step);
  }
  if (buffer.alias_of >= 0) {
    text += ", shares %" + plan.buffers[static_cast<size_t>(buffer.alias_of)].name;
  }
  return text;
}

std::string print_step(const Plan& plan, const PlanStep& step, const std::vector<Expr>& slots) {
  const PlanKernel& kernel = plan.kernels[static_cast<size_t>(step.kernel)];
  std::vector<std::string> buffers, sizes;
  for (BufferId id : step.buffers) {
    buffers.push_back("%" + plan.buffers[static_cast<size_t>(id)].name);
  }
  for (SizeSlot slot : step.sizes) sizes.push_back(slots[static_cast<size_t>(slot)].str());
  std::string text = step.name + ": " + kernel.executor + "." + kernel.name + "(" + join(buffers) +
                     ") tasks " + slots[static_cast<size_t>(step.task_count)].str();
  if (!sizes.empty()) text += " sizes [" + join(sizes) + "]";
  const Expr& scratch = slots[static_cast<size_t>(step.scratch_bytes)];
  if (!scratch.is_constant(0)) text += " scratch " + scratch.str();
  if (step.group >= 0) {
    text += " group " + std::to_string(step.group) + " lane " + std::to_string(step.lane);
  }
  return text;
}

std::string print_symbol(const SymbolBinding& symbol) {
  std::string text = symbol.symbol + " = ";
  text += symbol.input >= 0
              ? "input " + std::to_string(symbol.input) + " dim " + std::to_string(symbol.dim)
              : "scalar " + std::to_string(symbol.scalar);
  text += ", " + std::to_string(symbol.least) + "..";
  if (symbol.greatest != INT64_MAX) text += std::to_string(symbol.greatest);
  return text;
}

}  // namespace

const char* buffer_role_name(BufferRole role) {
  switch (role) {
    case BufferRole::kInput:
      return "input";
    case BufferRole::kOutput:
      return "output";
    case BufferRole::kConstant:
      return "constant";
    case BufferRole::kArena:
      return "arena";
  }
  return "?";
}

std::string print_plan(const Plan& plan) {
  const std::vector<Expr> slots = slot_expressions(plan.sizes);
  std::string text = "plan " + plan.name + " for " + plan.device + "\n";
  for (const SymbolBinding& symbol : plan.symbols) text += "symbol " + print_symbol(symbol) + "\n";
  for (const PlanGuard& guard : plan.guards) {
    text += "guard " + slots[static_cast<size_t>(guard.condition)].str() + ", " + guard.text +
            (guard.source.empty() ? "" : ", " + guard.source) + "\n";
  }
  for (const CodeVariant& code : plan.code) {
    text += "code " + code.executor + " " + code.target + ", " +
            std::to_string(code.image.size_bytes) + " bytes, needs [" + join(code.features) + "]\n";
  }
  for (const PlanWeight& weight : plan.weights) {
    text += "weight " + weight.name + ": " + std::to_string(weight.data.size_bytes) + " bytes, " +
            weight.recipe.kind + (weight.recipe.text.empty() ? "" : " " + weight.recipe.text) +
            (weight.origin.empty() ? "" : " of " + weight.origin) + "\n";
  }
  for (const PlanBuffer& buffer : plan.buffers) {
    text += "buffer " + print_buffer(plan, buffer, slots) + "\n";
  }
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    text += "step " + std::to_string(i) + " " + print_step(plan, plan.steps[i], slots) + "\n";
  }
  return text;
}

}  // namespace stator
