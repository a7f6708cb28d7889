// SPDX-License-Identifier: Apache-2.0
#include <set>

#include "plan/validate.h"

namespace stator {
namespace {

constexpr size_t kMaxRank = 16;

class BufferValidator {
 public:
  explicit BufferValidator(const Plan& plan) : plan_(plan) {}

  Status run() const {
    STATOR_RETURN_IF_ERROR(check_weights());
    STATOR_RETURN_IF_ERROR(check_all());
    STATOR_RETURN_IF_ERROR(check_interface("inputs", plan_.inputs, BufferRole::kInput));
    return check_interface("outputs", plan_.outputs, BufferRole::kOutput);
  }

 private:
  Status check_weights() const {
    std::set<std::string> names;
    for (size_t i = 0; i < plan_.weights.size(); ++i) {
      const PlanWeight& weight = plan_.weights[i];
      const std::string where = at("weights", i);
      if (!names.insert(weight.name).second) {
        return invalid(where + ".name", "\"" + weight.name + "\" stands twice");
      }
      int64_t bytes = dtype_bytes(weight.dtype);
      for (const int64_t size : weight.shape) {
        if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes)) {
          return invalid(where + ".shape", std::to_string(size) + " is out of range");
        }
      }
      const std::string& kind = weight.recipe.kind;
      if (kind != "copy" && kind != "pack" && kind != "computed") {
        return invalid(where + ".recipe", "unknown kind \"" + kind + "\"");
      }
      if (kind == "copy" && bytes != weight.data.size_bytes) {
        return invalid(where, "\"" + weight.name + "\" has " +
                                  std::to_string(weight.data.size_bytes) +
                                  " bytes, its shape takes " + std::to_string(bytes));
      }
    }
    return {};
  }

  Status check_size(const std::string& where, SizeSlot slot) const {
    STATOR_RETURN_IF_ERROR(check_slot(where, plan_.sizes, slot));
    const SizeInstruction& size = plan_.sizes.instructions[static_cast<size_t>(slot)];
    if (size.op == SizeOp::kConstant && size.a < 0) {
      return invalid(where, std::to_string(size.a) + " is negative");
    }
    return {};
  }

  Status check_all() const {
    for (size_t i = 0; i < plan_.buffers.size(); ++i) {
      const PlanBuffer& buffer = plan_.buffers[i];
      const std::string where = at("buffers", i);
      if (buffer.shape.size() > kMaxRank) {
        return invalid(where + ".shape",
                       "rank " + std::to_string(buffer.shape.size()) + ", at most 16 is possible");
      }
      for (size_t d = 0; d < buffer.shape.size(); ++d) {
        STATOR_RETURN_IF_ERROR(check_size(where + at(".shape", d), buffer.shape[d]));
      }
      STATOR_RETURN_IF_ERROR(check_size(where + ".size_bytes", buffer.size_bytes));
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
      STATOR_RETURN_IF_ERROR(check_order(where, buffer));
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

  /// An order names each axis once; only the caller's tensors have one.
  Status check_order(const std::string& where, const PlanBuffer& buffer) const {
    if (buffer.order.empty()) return {};
    const bool callers = buffer.role == BufferRole::kInput || buffer.role == BufferRole::kOutput;
    const std::set<int32_t> axes(buffer.order.begin(), buffer.order.end());
    const auto rank = static_cast<int32_t>(buffer.shape.size());
    if (!callers || buffer.order.size() != buffer.shape.size() ||
        axes.size() != buffer.order.size() || *axes.begin() != 0 || *axes.rbegin() != rank - 1) {
      return invalid(where + ".order", "no order of the axes of an input or output");
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

  const Plan& plan_;
};

}  // namespace

Status check_buffers(const Plan& plan) { return BufferValidator(plan).run(); }

}  // namespace stator
