// SPDX-License-Identifier: Apache-2.0
#include "runtime/check_sizes.h"

#include "base/align.h"
#include "plan/contract.h"

namespace stator {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 47;  // what a process can address

Status check_buffer(const PlanBuffer& buffer, const int64_t* table) {
  const int64_t size_bytes = table[buffer.size_bytes];
  int64_t bytes = dtype_bytes(buffer.dtype);
  bool overflow = false, negative = size_bytes < 0;
  for (SizeSlot slot : buffer.shape) {
    negative = negative || table[slot] < 0;
    overflow = overflow || __builtin_mul_overflow(bytes, table[slot], &bytes);
  }
  if (negative) {
    return invalid_argument("these input sizes give the tensor \"" + buffer.name +
                            "\" a negative size");
  }
  if (overflow || size_bytes > kMaxBytes) {
    return invalid_argument("these input sizes need more memory for the tensor \"" + buffer.name +
                            "\" than there can be");
  }
  // A packed constant has the shape that its layers see and the bytes that its kernel wants.
  if (buffer.role == BufferRole::kConstant) return {};
  // A caller gives memory for the shape of an input or output, the arena for the bytes.
  const bool exact = buffer.role != BufferRole::kArena && buffer.alias_of < 0;
  if (bytes > size_bytes || (exact && bytes != size_bytes)) {
    return Error{ErrorCode::kInvalidFile,
                 "the tensor \"" + buffer.name + "\" takes " + std::to_string(bytes) +
                     " bytes by its shape, the engine counts " + std::to_string(size_bytes)};
  }
  return {};
}

}  // namespace

Status check_sizes(const Plan& plan, const int64_t* table) {
  for (const PlanBuffer& buffer : plan.buffers) {
    STATOR_RETURN_IF_ERROR(check_buffer(buffer, table));
  }
  for (const PlanStep& step : plan.steps) {
    if (table[step.task_count] < 0 || table[step.scratch_bytes] < 0 ||
        table[step.scratch_bytes] > kMaxBytes) {
      return invalid_argument("these input sizes give step \"" + step.name + "\" a negative size");
    }
  }
  int64_t total = 0;
  for (const PlanBuffer& buffer : plan.buffers) {
    if (__builtin_add_overflow(total, align_up(table[buffer.size_bytes]), &total)) {
      return invalid_argument("these input sizes need more memory than there can be");
    }
  }
  return check_launches(plan, table);
}

Status check_fixed_sizes(const Plan& plan) {
  std::vector<int64_t> table(plan.sizes.instructions.size());
  if (!plan.sizes.run(nullptr, table.data())) {
    return Error{ErrorCode::kInvalidFile, "sizes: they do not fit 64 bits"};
  }
  const Status checked = check_sizes(plan, table.data());
  if (checked.ok()) return {};
  const Error& error = checked.error();
  return error.code == ErrorCode::kInvalidFile
             ? error
             : Error{ErrorCode::kInvalidFile, "with its fixed sizes: " + error.message};
}

}  // namespace stator
