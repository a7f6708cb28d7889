// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plan/plan.h"

namespace stator {

/// Writes down for each kernel what the first step that runs it does, its last buffer being its
/// output: the contracts of a plan that is right and that no builder made.
inline void make_contracts(Plan* plan) {
  std::vector<SizeSlot> symbols;
  for (const SymbolBinding& symbol : plan->symbols) {
    symbols.push_back(plan->sizes.add(Expr::symbol(symbol.symbol)));
  }
  for (PlanStep& step : plan->steps) {
    step.symbols = symbols;
    PlanKernel& kernel = plan->kernels[static_cast<size_t>(step.kernel)];
    KernelContract& contract = kernel.contract;
    if (contract.payload != 0) continue;
    contract.program = plan->sizes;
    for (const SymbolBinding& symbol : plan->symbols) {
      contract.ranges.emplace_back(symbol.least, symbol.greatest);
    }
    for (const BufferId id : step.buffers) {
      const PlanBuffer& buffer = plan->buffers[static_cast<size_t>(id)];
      contract.operands.push_back({buffer.dtype, buffer.shape, buffer.size_bytes,
                                   buffer.role == BufferRole::kConstant, ""});
    }
    contract.outputs = 1;
    contract.sizes = step.sizes;
    contract.task_count = step.task_count;
    contract.scratch_bytes = step.scratch_bytes;
    contract.payload = payload_digest(kernel);
  }
}

}  // namespace stator
