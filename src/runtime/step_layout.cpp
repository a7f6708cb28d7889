// SPDX-License-Identifier: Apache-2.0
#include "runtime/shape_state.h"

namespace stator {

StepLayout make_step_layout(const Plan& plan, const std::vector<const void*>& weights) {
  StepLayout layout;
  layout.constants.resize(plan.buffers.size());
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const PlanBuffer& buffer = plan.buffers[i];
    if (buffer.role != BufferRole::kConstant) continue;
    layout.constants[i] = weights[static_cast<size_t>(buffer.weight)];
  }
  layout.input_patches.resize(plan.inputs.size());
  layout.output_patches.resize(plan.outputs.size());
  for (const PlanStep& step : plan.steps) {
    layout.buffer_begin.push_back(static_cast<int32_t>(layout.buffers.size()));
    layout.size_begin.push_back(layout.size_count);
    layout.size_count += static_cast<int32_t>(step.sizes.size());
    for (BufferId id : step.buffers) {
      const PlanBuffer& buffer = plan.buffers[static_cast<size_t>(id)];
      const auto position = static_cast<int32_t>(layout.buffers.size());
      layout.buffers.push_back(id);
      const auto io = static_cast<size_t>(buffer.io_index);
      if (buffer.role == BufferRole::kInput) layout.input_patches[io].push_back(position);
      if (buffer.role == BufferRole::kOutput) layout.output_patches[io].push_back(position);
    }
  }
  return layout;
}

}  // namespace stator
