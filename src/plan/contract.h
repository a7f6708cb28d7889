// SPDX-License-Identifier: Apache-2.0
//
// What a kernel relies on when it is launched. Machine code, and what stands in a payload, believe
// what a step hands them: how many buffers, of which types and shapes, the sizes, the number of
// tasks, the scratch memory. The builder writes that down once for each kernel, over the symbols of
// its region; a step says which sizes these symbols are. So every launch is proved against a
// statement that came with the code, whatever else a file says.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "stator/dtype.h"
#include "stator/result.h"
#include "symbolic/program.h"

namespace stator {

struct Plan;
struct PlanKernel;

struct ContractOperand {
  DType dtype = DType::kFloat32;
  std::vector<SizeSlot> shape;  // slots of the contract's own program
  SizeSlot size_bytes = 0;      // at least so many
  bool constant = false;
  std::string recipe;  // of a packed constant: how (PlanWeight::recipe); else ""
};

struct KernelContract {
  SizeProgram program;  // over the region's symbols, in the order of its signature
  std::vector<std::pair<int64_t, int64_t>> ranges;  // of each symbol: least, greatest
  std::vector<ContractOperand> operands;            // in the kernel's order
  int32_t outputs = 0;                              // the last ones, which it writes
  std::vector<SizeSlot> sizes;
  SizeSlot task_count = 0;
  SizeSlot scratch_bytes = 0;  // for each thread
  uint64_t payload = 0;        // payload_digest() of the kernel that this speaks of
};

/// No executor reads another one's payload.
uint64_t payload_digest(const PlanKernel& kernel);

/// The step against its kernel as far as no size of a call matters: counts, types, ranks, what is
/// written, packed constants. kInvalidFile.
Status check_step_contract(const Plan& plan, int32_t step);

/// Every step against its kernel at the sizes in `table` (the plan's slots): shapes, bytes, sizes,
/// task counts and scratch memory. kInvalidFile names the step. Every size is checked to be no less
/// than 0 and every shape to fit its bytes before.
Status check_launches(const Plan& plan, const int64_t* table);

}  // namespace stator
