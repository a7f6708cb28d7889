// SPDX-License-Identifier: Apache-2.0
//
// Plan: what runs. Kernels, buffers, steps in order, the shape program, the weight map, for one
// device. Made by the builder, stored as an engine file (plan/engine_file.h), run by the runtime.
// It knows no region and no graph.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/contract.h"
#include "stator/dtype.h"
#include "stator/result.h"
#include "stator/source_line.h"
#include "stator/tensor_data.h"
#include "symbolic/program.h"

namespace stator {

using BufferId = int32_t;

enum class BufferRole : uint8_t { kInput, kOutput, kConstant, kArena };

struct PlanBuffer {
  std::string name;
  BufferRole role = BufferRole::kArena;
  DType dtype = DType::kFloat32;
  std::vector<SizeSlot> shape;  // slots of the size program
  SizeSlot size_bytes = 0;
  int32_t io_index = -1;                  // kInput, kOutput: position in the call
  int32_t weight = -1;                    // kConstant: index into Plan::weights
  int32_t first_step = 0, last_step = 0;  // kArena: live from, to (inclusive)
  BufferId alias_of = -1;  // shares the bytes of that buffer (a reshape); it is no alias itself and
                           // has the same role, size_bytes and life
  /// kInput, kOutput: which axis of the caller's tensor each axis of `shape` is; the buffer is that
  /// tensor as it lies in memory. Empty: the same axes.
  std::vector<int32_t> order = {};
};

/// How the bytes of a constant come from the model's weights, so that refit can replay it.
struct WeightRecipe {
  std::string kind;  // "copy", "pack" (backend's), "computed"
  std::string text;  // parameters of `kind`
};

struct PlanWeight {
  std::string name;    // unique
  std::string origin;  // state-dict name; "" when computed
  DType dtype = DType::kFloat32;
  std::vector<int64_t> shape;
  WeightRecipe recipe;
  TensorData data;  // mapped from the file, or held by the builder
};

/// One kernel. Several steps may run it with other buffers.
struct PlanKernel {
  std::string executor;  // "cpu", "reference", "cuda": which run half launches it
  std::string name;      // "gemm_f32_14x32_bias_gelu"
  std::string
      payload;  // the executor's: entry symbol of the code image, or a layer's kind and attributes
  KernelContract contract;  // what its steps must hand it
};

struct PlanStep {
  int32_t kernel = -1;
  std::vector<BufferId> buffers;  // in the kernel's order: inputs, outputs
  std::vector<SizeSlot> sizes;    // in the kernel's order
  SizeSlot task_count = 0;
  SizeSlot scratch_bytes = 0;  // for each thread
  std::string name;            // region name, for profiles
  std::vector<Provenance> provenance;
  /// Steps that follow one another with the same group may run side by side, those of one lane in
  /// their order; after them all lanes join. Group -1: the step is alone. Arena buffers that a
  /// group makes live as long as the group.
  int32_t group = -1, lane = 0;
  std::vector<SizeSlot> symbols;  // of the kernel's contract, in its order
};

inline constexpr int32_t kMostLanes = 16;

/// How a call's shapes give the symbols: symbol k is dimension `dim` of input `input`, or scalar
/// input `scalar`.
struct SymbolBinding {
  std::string symbol;
  int32_t input = -1, dim = -1;
  int32_t scalar = -1;
  int64_t least = 0, greatest = INT64_MAX;  // checked at every new shape; violations are errors
};

/// What must hold of a call's sizes, checked at every new shape; a violation is an error.
struct PlanGuard {
  SizeSlot condition = 0;  // holds where it is not 0
  std::string text;        // "x.shape[1] % 2 == 0"
  std::string source;      // the model's line; "" when unknown
};

/// Machine code for one instruction set or architecture.
struct CodeVariant {
  std::string executor;               // "cpu"
  std::string target;                 // "x86-64 avx512": printed in errors
  std::vector<std::string> features;  // what the machine must have
  TensorData image;
};

struct Plan {
  std::string name;
  std::string device;  // "cpu", "cuda"
  std::string compiler_version;
  std::string settings;  // JSON
  SizeProgram sizes;
  std::vector<SymbolBinding> symbols;  // parallel to sizes.symbols
  std::vector<PlanGuard> guards;
  std::vector<PlanBuffer> buffers;
  std::vector<PlanWeight> weights;
  std::vector<PlanKernel> kernels;
  std::vector<CodeVariant> code;
  std::vector<PlanStep> steps;
  std::vector<BufferId> inputs, outputs;
  int32_t scalar_input_count = 0;
  std::string metadata;  // JSON: pytree specs, original names; not read by the runtime
  std::string key;       // of a file in an engine cache: what it was built from; else ""
};

/// Which axis of the caller's tensor axis `k` of an input or output is.
inline int32_t callers_axis(const PlanBuffer& buffer, int32_t k) {
  return buffer.order.empty() ? k : buffer.order[static_cast<size_t>(k)];
}

/// Lanes that the plan's groups use, at least 1.
int32_t lane_count(const Plan& plan);

/// What each slot of the program computes, as an expression over its symbols: for messages and
/// printed forms.
std::vector<Expr> slot_expressions(const SizeProgram& program);

/// One arena for all kArena buffers of one shape: offsets in bytes (64-byte aligned), such that no
/// two buffers that live at the same step overlap. Greedy by size, largest first, lowest fitting
/// gap (Pisarchyk & Lee 2020, "Efficient Memory Management for Deep Neural Net Inference", greedy
/// by size).
struct ArenaRequest {
  int64_t size_bytes;
  int32_t first_step, last_step;
};
int64_t plan_memory(const std::vector<ArenaRequest>& requests, std::vector<int64_t>* offsets);
/// Independent proof of the above; shares no code with it.
Status check_memory(const std::vector<ArenaRequest>& requests, const std::vector<int64_t>& offsets,
                    int64_t arena_bytes);

/// The plan as text: symbols, buffers, weights, kernels, steps; for people (`stator inspect`).
std::string print_plan(const Plan& plan);
/// "input", "output", "constant", "arena".
const char* buffer_role_name(BufferRole role);

}  // namespace stator
