// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "runtime/engine_impl.h"
#include "runtime/shape_state.h"
#include "stator/runtime.h"

namespace stator {

/// Memory of the device that only grows.
class GrowingBlock {
 public:
  /// At least `size_bytes`; the address changes when it grows, and the old content is lost.
  Status grow(const Engine& engine, int64_t size_bytes, const char* what);
  void release() { *this = GrowingBlock(); }
  char* data() const { return data_; }
  int64_t size_bytes() const { return size_bytes_; }

 private:
  TensorData owner_;
  char* data_ = nullptr;
  int64_t size_bytes_ = 0;
};

struct ExecutionContext::Impl {
  std::shared_ptr<const Engine> owner;
  const Engine::Impl* engine = nullptr;

  std::vector<std::unique_ptr<ShapeState>> states;  // the shapes last seen
  ShapeState* state = nullptr;                      // the current one
  int64_t use_count = 0;
  std::vector<int64_t> flat_key;  // room to gather a key

  GrowingBlock arena, scratch, own_outputs;
  std::vector<const void*> inputs;  // as the caller set them
  std::vector<void*> outputs;       // null: own memory
  TensorData fault_memory;
  FaultRecord* fault = nullptr;  // what the kernels found wrong
  Status ready;                  // an error of the construction, reported by the first call

  Status activate(const int64_t* sizes, int64_t size_count, const int64_t* scalars,
                  int64_t scalar_count);
  Status use(ShapeState* chosen);
  Status prepare_memory();
  void bind_arena();
  Status check_call();
  /// Writes an address where it stands in the steps, unless it stands there already.
  Status bind(const char* what, const TensorInfo& info, const std::vector<int32_t>& positions,
              const void* data, const void** bound);
  Status bind_input(size_t i, const void* data);
  Status bind_output(size_t i, void* data);
  Status bind_call();
  Status run(void* stream, int64_t* step_ns);
  Status run_steps(void* stream, int64_t* step_ns);
  /// Whether the caller's addresses keep changing, so that copies to steady ones pay.
  bool wants_staging() const;
  Status make_staging();
  /// Copies inputs there, runs, and copies outputs back, on the stream.
  Status run_staged(void* stream);
  Status check_alignment(const char* what, const TensorInfo& info, const void* data) const;
  /// An error when the kernels found the data wrong.
  Status check_fault();
  void forget_fault();
  /// Where an output of the current shape is or will be.
  void* output_address(size_t index) const;
};

}  // namespace stator
