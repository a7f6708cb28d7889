// SPDX-License-Identifier: Apache-2.0
//
// Running engines. libstator_runtime has all of this and needs neither LLVM nor libtorch nor
// Python.
//
//   auto engine = stator::Engine::load("model.engine").value();
//   stator::ExecutionContext context(engine);
//   context.set_shapes({{8, 128}});               // not needed when every size is fixed
//   context.set_input(0, data);
//   context.run();                                // outputs in context-owned memory
//   const stator::TensorView y = context.output(0);
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "stator/dtype.h"
#include "stator/result.h"
#include "stator/tensor_data.h"

namespace stator {

struct Plan;

/// A dense tensor that somebody else owns.
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::vector<int64_t> shape;
  std::vector<int64_t> order;  // as TensorInfo::order; empty: row-major
  int64_t size_bytes() const;
  /// In elements, of each axis.
  std::vector<int64_t> strides() const;
};

/// Copies the elements of a dense tensor (`view`, in host memory) to `to`, where its axes lie in
/// another order; an empty order is row-major.
void copy_in_order(const TensorView& view, const std::vector<int64_t>& to_order, void* to);

struct TensorInfo {
  std::string name;
  DType dtype = DType::kFloat32;
  std::vector<int64_t> shape;               // -1: dynamic
  std::vector<std::string> symbolic_shape;  // "s0", "768", "2*s0"
  std::vector<int64_t> least, greatest;     // the range of each dimension
  /// Axes from the slowest in memory to the fastest: {0, 2, 3, 1} is channels_last. Empty:
  /// row-major, as in every engine that compile_pt2 makes.
  std::vector<int64_t> order;
};

/// How an engine is loaded.
struct LoadOptions {
  static constexpr int kCurrentDevice = -1;
  LoadOptions(int device = kCurrentDevice, bool verify = true)  // NOLINT: implicit, from a device
      : device_index(device), verify_digests(verify) {}
  int device_index;  // which of several GPUs it runs on; kCurrentDevice: the calling thread's
  /// Compare the weights with their digests, which reads the whole file once; the header and the
  /// code always are. Off, weights are read when a run first needs them.
  bool verify_digests;
};

/// A compiled model: immutable, shared by threads and contexts.
class Engine {
 public:
  /// kIo, kInvalidFile, kIncompatible (another version, or instructions that this CPU lacks, by
  /// name), kInvalidArgument (no such device). Nothing that a file says is believed after that
  /// without proof; what depends on the sizes of a call is proved at each new shape.
  static Result<std::shared_ptr<const Engine>> load(const std::string& path,
                                                    const LoadOptions& options = {});
  static Result<std::shared_ptr<const Engine>> from_bytes(TensorData bytes, const std::string& name,
                                                          const LoadOptions& options = {});
  static Result<std::shared_ptr<const Engine>> from_plan(Plan plan,
                                                         int device_index = kCurrentDevice);
  static constexpr int kCurrentDevice = LoadOptions::kCurrentDevice;
  ~Engine();

  const std::vector<TensorInfo>& inputs() const;
  const std::vector<TensorInfo>& outputs() const;
  /// "cpu", "cuda", …: where inputs and outputs lie. Host memory unless it is a device of its own.
  const std::string& device() const;
  int device_index() const;
  bool host_memory() const;
  /// Memory of the engine's device, for inputs and outputs, and copies to and from it.
  Result<TensorData> allocate(int64_t size_bytes, void** writable) const;
  Status copy_to_device(void* device, const void* host, int64_t size_bytes) const;
  Status copy_to_host(void* host, const void* device, int64_t size_bytes) const;
  int scalar_input_count() const;
  const std::string& metadata() const;  // JSON of the compiler: pytree specs and such
  const Plan& plan() const;
  /// `key`: what key() of the engine read from it gives.
  Status save(const std::string& path, const std::string& key = "") const;
  Result<std::string> bytes(const std::string& key = "") const;
  const std::string& key() const;  // "" unless the file is of an engine cache
  int64_t weight_bytes() const;

 private:
  friend class ExecutionContext;
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  static Result<std::shared_ptr<const Engine>> from_valid_plan(Plan plan, int device_index);
  static Status load_code(Impl& impl);
  static Result<std::vector<const void*>> place_weights(Impl& impl);
  static void describe_interface(Impl& impl);
  std::unique_ptr<Impl> impl_;
};

struct StepTime {
  std::string name, kernel;
  int64_t ns;
};

/// One caller's state: shapes, arena, bound addresses. Not for two threads at once. Four moments:
/// construct, reshape (set_shapes), bind (set_input, set_output), run. Only the first two allocate,
/// and reshape only at a shape not seen before (the last 64 are remembered); run takes no lock of
/// its own and allocates nothing, except that the first run of a shape whose outputs the caller
/// leaves to the context makes their memory.
///
/// An engine whose sizes are all fixed has its shapes set from the start.
class ExecutionContext {
 public:
  explicit ExecutionContext(std::shared_ptr<const Engine> engine);
  ~ExecutionContext();
  ExecutionContext(ExecutionContext&&) noexcept;

  /// Sizes of every input in turn, then the scalar inputs. kInvalidArgument says which dimension is
  /// wrong and what is allowed. Cheap when the shapes are those of the last call.
  Status set_shapes(const std::vector<std::vector<int64_t>>& shapes,
                    const std::vector<int64_t>& scalars = {});
  /// The same without vectors: all sizes of all inputs one after another. What the hot path uses.
  Status set_shapes(const int64_t* sizes, int64_t size_count, const int64_t* scalars,
                    int64_t scalar_count);
  const std::vector<int64_t>& output_shape(int index) const;  // after set_shapes
  /// Dense data of the input's dtype in its order, on the engine's device; must stay alive until
  /// run returns (with a stream: until the stream has passed it).
  Status set_input(int index, const void* data);
  /// Where to write an output; null (the default): the context's own memory.
  Status set_output(int index, void* data);
  /// `stream` (CUDA: a CUstream): the work is put there and not waited for; an index out of range
  /// is then reported by a later call. Without one, run waits.
  Status run(void* stream = nullptr);
  TensorView output(int index) const;  // after run
  /// One run with the time of every step.
  Result<std::vector<StepTime>> profile(void* stream = nullptr);
  int64_t arena_bytes() const;
  /// Gives back the memory of intermediates and of its own outputs, which later calls allocate
  /// again; set_shapes must come before the next run. On a GPU this waits for work under way.
  void release_memory();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Threads that engines of this process use (default: the machine's cores, or STATOR_NUM_THREADS).
/// Takes effect before the first run only for the pool's size; later calls may only lower or
/// restore it.
void set_thread_count(int threads);
int thread_count();

}  // namespace stator
