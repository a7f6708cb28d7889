// SPDX-License-Identifier: Apache-2.0
//
// What an Engine holds beside its plan: code ready to run, and everything about bindings that does
// not depend on a call's sizes, so that every context shares it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/executor.h"
#include "plan/plan.h"
#include "runtime/shape_state.h"
#include "stator/runtime.h"

namespace stator {

/// Steps begin … end-1, which one executor runs.
struct StepSpan {
  const ExecutorBackend* executor = nullptr;
  const LoadedCode* code = nullptr;
  int32_t begin = 0, end = 0;
};

struct Engine::Impl {
  Plan plan;
  std::vector<std::unique_ptr<LoadedCode>> loaded;  // what the spans point to
  std::vector<StepSpan> spans;                      // in order, covering all steps
  const ExecutorBackend* memory = nullptr;          // the device's executor: owns the arena
  int device_index = 0;                             // which of its devices
  std::vector<TensorInfo> inputs, outputs;
  std::vector<TensorData> device_weights;  // where the device does not read the plan's own
  StepLayout layout;
  int32_t input_size_count = 0;  // dimensions of all inputs
};

}  // namespace stator
