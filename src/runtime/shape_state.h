// SPDX-License-Identifier: Apache-2.0
//
// Everything that an execution context derives from one set of sizes: the size table, the arena's
// layout, and the steps bound to addresses. Made once for each shape, then only its input and
// output addresses change.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/executor.h"
#include "stator/result.h"
#include "stator/runtime.h"

namespace stator {

/// What is the same for all shapes of an engine: where the addresses of its steps stand.
struct StepLayout {
  std::vector<int32_t> buffers;       // all steps' buffers, one after another
  std::vector<int32_t> buffer_begin;  // by step
  std::vector<int32_t> size_begin;    // by step, into the list of all steps' sizes
  int32_t size_count = 0;
  std::vector<const void*> constants;  // by buffer, in the device's memory; else null
  std::vector<std::vector<int32_t>> input_patches, output_patches;  // positions in `buffers`
};

/// `weights`: where each weight of the plan lies for the kernels.
StepLayout make_step_layout(const Plan& plan, const std::vector<const void*>& weights);

struct ShapeState {
  std::vector<int64_t> key;    // sizes of all inputs, then the scalar inputs
  std::vector<int64_t> table;  // the size program's slots
  std::vector<int64_t> dims;   // what `shapes` points to
  std::vector<std::vector<int64_t>> output_shapes;
  std::vector<int64_t> input_bytes;   // none: its address may be null
  std::vector<int64_t> output_sizes;  // bytes

  int64_t arena_bytes = 0, scratch_bytes = 0;
  int64_t all_input_bytes = 0, output_bytes = 0;  // each tensor aligned
  std::vector<int64_t> arena_offsets;             // by buffer; of arena buffers
  std::vector<int64_t> output_offsets;            // by output, in the context's own output memory

  // Parallel to StepLayout's lists, and by step.
  std::vector<TensorShape> shapes;
  std::vector<void*> pointers;
  std::vector<int64_t> sizes;
  std::vector<KernelArgs> args;
  std::vector<BoundStep> steps;
  std::vector<std::unique_ptr<RunState>> run_states;  // by span of the engine

  // What the pointers hold now.
  const void* bound_arena = nullptr;
  std::vector<const void*> bound_inputs, bound_outputs;
  int64_t last_use = 0;

  // Inputs and outputs at addresses of our own, where the caller's differ from call to call.
  TensorData staging;  // null: the caller's own are used
  std::vector<void*> staged_inputs, staged_outputs;
};

/// Checks the sizes and derives the rest; the addresses of arena, inputs and outputs stay null.
/// kInvalidArgument names the input, the dimension, its value and what is allowed.
Result<std::unique_ptr<ShapeState>> make_shape_state(const Plan& plan, const StepLayout& layout,
                                                     std::vector<int64_t> key, FaultRecord* fault);

}  // namespace stator
