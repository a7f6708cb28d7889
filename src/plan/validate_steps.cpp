// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <set>

#include "plan/validate.h"

namespace stator {
namespace {

Status check_slots(const std::string& where, const SizeProgram& program,
                   const std::vector<SizeSlot>& slots) {
  for (size_t k = 0; k < slots.size(); ++k) {
    STATOR_RETURN_IF_ERROR(check_slot(at(where.c_str(), k), program, slots[k]));
  }
  return {};
}

Status check_contract(const std::string& where, const PlanKernel& kernel) {
  const KernelContract& contract = kernel.contract;
  const SizeProgram& program = contract.program;
  if (contract.payload != payload_digest(kernel)) {
    return invalid(where + ".payload", "it is not the one that the contract was made for");
  }
  if (contract.ranges.size() != program.symbols.size()) {
    return invalid(where + ".symbols", "each needs a range");
  }
  STATOR_RETURN_IF_ERROR(check_size_program(where + ".sizes", program));
  if (contract.outputs < 0 || static_cast<size_t>(contract.outputs) > contract.operands.size()) {
    return invalid(where + ".outputs", std::to_string(contract.outputs) + " of " +
                                           std::to_string(contract.operands.size()) + " buffers");
  }
  for (size_t i = 0; i < contract.operands.size(); ++i) {
    const ContractOperand& operand = contract.operands[i];
    const std::string place = where + at(".operands", i);
    STATOR_RETURN_IF_ERROR(check_slots(place + ".shape", program, operand.shape));
    STATOR_RETURN_IF_ERROR(check_slot(place + ".size_bytes", program, operand.size_bytes));
  }
  STATOR_RETURN_IF_ERROR(check_slots(where + ".arguments", program, contract.sizes));
  STATOR_RETURN_IF_ERROR(check_slot(where + ".task_count", program, contract.task_count));
  return check_slot(where + ".scratch_bytes", program, contract.scratch_bytes);
}

class StepValidator {
 public:
  explicit StepValidator(const Plan& plan) : plan_(plan) {}

  Status run() {
    for (size_t i = 0; i < plan_.steps.size(); ++i) STATOR_RETURN_IF_ERROR(check_step(i));
    for (size_t i = 0; i < plan_.outputs.size(); ++i) {
      if (written_.count(plan_.outputs[i]) == 0) {
        return invalid(at("outputs", i), "no step writes it");
      }
    }
    return check_groups();
  }

 private:
  const PlanBuffer& buffer(BufferId id) const { return plan_.buffers[static_cast<size_t>(id)]; }
  BufferId root(BufferId id) const { return buffer(id).alias_of >= 0 ? buffer(id).alias_of : id; }
  /// The operands from this one on are written.
  static size_t first_written(const Plan& plan, const PlanStep& step) {
    const KernelContract& contract = plan.kernels[static_cast<size_t>(step.kernel)].contract;
    return step.buffers.size() - static_cast<size_t>(contract.outputs);
  }

  Status check_step(size_t i) {
    const PlanStep& step = plan_.steps[i];
    const std::string where = at("steps", i);
    STATOR_RETURN_IF_ERROR(
        check_index(where + ".kernel", "kernel", step.kernel, plan_.kernels.size()));
    STATOR_RETURN_IF_ERROR(check_slot(where + ".task_count", plan_.sizes, step.task_count));
    STATOR_RETURN_IF_ERROR(check_slot(where + ".scratch_bytes", plan_.sizes, step.scratch_bytes));
    STATOR_RETURN_IF_ERROR(check_slots(where + ".sizes", plan_.sizes, step.sizes));
    STATOR_RETURN_IF_ERROR(check_slots(where + ".symbols", plan_.sizes, step.symbols));
    for (size_t k = 0; k < step.buffers.size(); ++k) {
      STATOR_RETURN_IF_ERROR(check_use(where + at(".buffers", k), step.buffers[k], i));
    }
    STATOR_RETURN_IF_ERROR(check_step_contract(plan_, static_cast<int32_t>(i)));
    const size_t written = first_written(plan_, step);
    for (size_t k = 0; k < step.buffers.size(); ++k) {
      const BufferRole role = buffer(step.buffers[k]).role;
      const bool made = role == BufferRole::kArena || role == BufferRole::kOutput;
      if (k < written && made && written_.count(root(step.buffers[k])) == 0) {
        return invalid(where + at(".buffers", k), "buffer " + std::to_string(step.buffers[k]) +
                                                      " is read before a step has written it");
      }
    }
    for (size_t k = written; k < step.buffers.size(); ++k) written_.insert(root(step.buffers[k]));
    return {};
  }

  Status check_use(const std::string& where, BufferId id, size_t step) const {
    STATOR_RETURN_IF_ERROR(check_index(where, "buffer", id, plan_.buffers.size()));
    const auto now = static_cast<int64_t>(step);
    if (buffer(id).role == BufferRole::kArena &&
        (now < buffer(id).first_step || now > buffer(id).last_step)) {
      return invalid(where, "buffer " + std::to_string(id) + " lives from step " +
                                std::to_string(buffer(id).first_step) + " to " +
                                std::to_string(buffer(id).last_step));
    }
    return {};
  }

  /// Lanes within bounds, and no buffer that lanes could fight for: one that a group makes belongs
  /// to a single lane, and every one of the arena lives as long as the group that touches it.
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
    std::map<BufferId, int32_t> writer;  // the lane that writes it
    for (size_t i = begin; i < end; ++i) {
      const PlanStep& step = plan_.steps[i];
      if (step.group < -1 || step.lane < 0 || step.lane >= kMostLanes ||
          (step.group < 0 && step.lane != 0)) {
        return invalid(at("steps", i) + ".lane", "group " + std::to_string(step.group) + ", lane " +
                                                     std::to_string(step.lane));
      }
      for (size_t k = first_written(plan_, step); k < step.buffers.size(); ++k) {
        writer.emplace(root(step.buffers[k]), step.lane);
      }
    }
    if (plan_.steps[begin].group < 0) return {};
    for (size_t i = begin; i < end; ++i) {
      for (const BufferId id : plan_.steps[i].buffers) {
        STATOR_RETURN_IF_ERROR(check_in_group(i, id, begin, end, writer));
      }
    }
    return {};
  }

  Status check_in_group(size_t step, BufferId id, size_t begin, size_t end,
                        const std::map<BufferId, int32_t>& writer) const {
    const std::string where = at("steps", step) + ".lane";
    const auto found = writer.find(root(id));
    if (found != writer.end() && found->second != plan_.steps[step].lane) {
      return invalid(where, "buffer " + std::to_string(id) + " is used by two lanes");
    }
    if (buffer(id).role != BufferRole::kArena) return {};
    const auto first = static_cast<int64_t>(begin), last = static_cast<int64_t>(end) - 1;
    if (buffer(id).first_step > first || buffer(id).last_step < last) {
      return invalid(where, "buffer " + std::to_string(id) + " does not live as long as the group");
    }
    return {};
  }

  const Plan& plan_;
  std::set<BufferId> written_;  // so far; of aliases what they share
};

}  // namespace

Status check_kernels(const Plan& plan) {
  for (size_t i = 0; i < plan.kernels.size(); ++i) {
    STATOR_RETURN_IF_ERROR(check_contract(at("kernels", i) + ".contract", plan.kernels[i]));
  }
  return {};
}

Status check_steps(const Plan& plan) { return StepValidator(plan).run(); }

}  // namespace stator
