// SPDX-License-Identifier: Apache-2.0
#include "builder/kernel_contract.h"

namespace stator {

KernelContract make_contract(const RegionGraph& graph, const Region& region,
                             const KernelLaunch& launch, const PlanKernel& kernel, const Plan& plan,
                             const PlanStep& step) {
  KernelContract contract;
  SizeProgram& program = contract.program;
  (void)region_signature(graph, region, &program.symbols);
  for (const std::string& symbol : program.symbols) {
    const auto range = graph.bounds.ranges().find(symbol);
    contract.ranges.push_back(range == graph.bounds.ranges().end() ? std::pair(INT64_MIN, INT64_MAX)
                                                                   : range->second);
  }
  const size_t inputs = region.inputs.size();
  for (size_t i = 0; i < step.buffers.size(); ++i) {
    const auto tensor =
        static_cast<size_t>(i < inputs ? region.inputs[i] : region.outputs[i - inputs]);
    const TensorType& type = graph.tensors[tensor].type;
    const PlanBuffer& buffer = plan.buffers[static_cast<size_t>(step.buffers[i])];
    ContractOperand operand;
    operand.dtype = type.dtype;
    for (const Expr& size : type.shape) operand.shape.push_back(program.add(size));
    Expr bytes = product(type.shape) * Expr(dtype_bytes(type.dtype));
    operand.constant = buffer.role == BufferRole::kConstant;
    if (operand.constant) {
      const PlanWeight& weight = plan.weights[static_cast<size_t>(buffer.weight)];
      bytes = Expr(weight.data.size_bytes);
      if (weight.recipe.kind == "pack") operand.recipe = weight.recipe.text;
    }
    operand.size_bytes = program.add(bytes);
    contract.operands.push_back(std::move(operand));
  }
  contract.outputs = static_cast<int32_t>(region.outputs.size());
  for (const Expr& size : launch.sizes) contract.sizes.push_back(program.add(size));
  contract.task_count = program.add(launch.task_count);
  contract.scratch_bytes = program.add(launch.scratch_bytes);
  contract.payload = payload_digest(kernel);
  return contract;
}

}  // namespace stator
