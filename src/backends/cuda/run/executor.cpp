// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>

#include "backends/cuda/run/register.h"
#include "backends/cuda/run/run_state.h"
#include "layer/call_payload.h"

namespace stator {
namespace cuda {
namespace {

/// Each step's time: events around every step, on a stream that waits at a gate until all the work
/// is queued, so that the host's launching does not show. (The gate opens by itself after a while:
/// a stream holds so many launches and no more.)
class StepClock {
 public:
  StepClock(const Driver& d, int64_t steps, CUstream stream)
      : d_(d), events_(static_cast<size_t>(steps) + 1) {
    for (CUevent& event : events_) d_.cuEventCreate(&event, 0);
    d_.cuLaunchHostFunc(stream, wait_at_gate, &open_);
  }
  ~StepClock() {
    for (CUevent event : events_) d_.cuEventDestroy_v2(event);
  }
  void mark(int64_t i, CUstream stream) {
    d_.cuEventRecord(events_[static_cast<size_t>(i)], stream);
  }
  void open() { open_.store(true); }
  void read(int64_t* step_ns) {
    d_.cuEventSynchronize(events_.back());
    for (size_t i = 0; i + 1 < events_.size(); ++i) {
      float ms = 0;
      d_.cuEventElapsedTime(&ms, events_[i], events_[i + 1]);
      step_ns[i] = static_cast<int64_t>(static_cast<double>(ms) * 1e6);
    }
  }

 private:
  static void wait_at_gate(void* open) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
    while (!static_cast<std::atomic<bool>*>(open)->load() &&
           std::chrono::steady_clock::now() < end) {
    }
  }

  const Driver& d_;
  std::vector<CUevent> events_;
  std::atomic<bool> open_{false};
};

class CudaCode : public LoadedCode {
 public:
  CudaCode(const Driver& d, const Device& gpu) : d_(d), gpu_(gpu) {}
  ~CudaCode() override {
    const CurrentContext current(gpu_);
    for (CUmodule module : modules_) d_.cuModuleUnload(module);
  }

  Status load(const std::vector<PlanKernel>& kernels, const TensorData& image) {
    const CurrentContext current(gpu_);
    if (image.size_bytes > 0) {
      STATOR_RETURN_IF_ERROR(load_image(image));
    }
    std::vector<PlanKernel> host(kernels.size());
    for (size_t i = 0; i < kernels.size(); ++i) {
      payloads_.emplace_back(HostPayload{});
      counts_.push_back({});
      if (kernels[i].executor != "cuda") {
        continue;
      }
      STATOR_TRY(payloads_.back(), parse_payload(kernels[i].payload));
      STATOR_RETURN_IF_ERROR(load_kernel(i, host));
    }
    if (has_host_calls_) {
      const ExecutorBackend* reference = find_executor_backend("reference");
      if (reference == nullptr) {
        return Error{ErrorCode::kIncompatible, "this build lacks the reference backend"};
      }
      STATOR_TRY(host_code_, reference->load(host, {}));
    }
    return {};
  }

  Status check_step(const Plan& plan, const PlanStep& step) const override {
    const auto buffers = static_cast<int64_t>(step.buffers.size());
    const auto sizes = static_cast<int64_t>(step.sizes.size());
    const Counts& wanted = counts_[static_cast<size_t>(step.kernel)];
    if (std::holds_alternative<HostPayload>(payloads_[static_cast<size_t>(step.kernel)])) {
      return host_code_->check_step(plan, step);
    }
    if (buffers == wanted.buffers && sizes == wanted.sizes) {
      return {};
    }
    return Error{ErrorCode::kInvalidFile,
                 "a step has " + std::to_string(buffers) + " buffers and " + std::to_string(sizes) +
                     " sizes, its kernel takes " + std::to_string(wanted.buffers) + " and " +
                     std::to_string(wanted.sizes)};
  }

  std::unique_ptr<RunState> new_state() const override { return std::make_unique<CudaRunState>(); }

  Status run(const BoundStep* steps, int64_t count, const RunOptions& options) const override {
    const CurrentContext current(gpu_);
    CudaRunState temporary;
    CudaRunState& state =
        options.state != nullptr ? static_cast<CudaRunState&>(*options.state) : temporary;
    if (state.own_stream == nullptr) {
      STATOR_RETURN_IF_ERROR(
          check_cuda(d_.cuStreamCreate(&state.own_stream, kStreamNonBlocking), "a stream"));
    }
    if (state.runners.empty()) {
      STATOR_RETURN_IF_ERROR(prepare(steps, count, state));
    }
    CUstream stream =
        options.stream != nullptr ? static_cast<CUstream>(options.stream) : state.own_stream;
    const auto launch_all = [&](CUstream to) { return launch(steps, count, options, state, to); };
    if (options.step_ns != nullptr) {
      StepClock clock(d_, count, stream);
      const Status launched = launch_timed(steps, count, options, state, stream, &clock);
      clock.open();
      STATOR_RETURN_IF_ERROR(wait(stream));  // also after an error: the gate's flag is ours
      STATOR_RETURN_IF_ERROR(launched);
      clock.read(options.step_ns);
      for (int64_t i = 0; i < count; ++i) options.step_ns[i] /= options.repeat;
      return {};
    }
    STATOR_RETURN_IF_ERROR(run_as_graph(steps, count, options, state, stream, launch_all));
    return options.stream == nullptr ? wait(stream) : Status();
  }

 private:
  struct Counts {
    int64_t buffers = 0, sizes = 0;
  };

  Status load_image(const TensorData& image) {
    STATOR_TRY(const std::vector<std::string_view> cubins,
               split_cubins({image.as<char>(), static_cast<size_t>(image.size_bytes)}));
    for (const std::string_view cubin : cubins) {
      CUmodule module = nullptr;
      const Status loaded = check_cuda(d_.cuModuleLoadData(&module, cubin.data()),
                                       "loading the engine's machine code");
      if (!loaded.ok()) {
        return Error{ErrorCode::kIncompatible, loaded.error().message + "; the GPU here is " +
                                                   gpu_.name + ", " + gpu_.architecture()};
      }
      modules_.push_back(module);
    }
    return {};
  }

  Status load_kernel(size_t i, std::vector<PlanKernel>& host) {
    const Payload& payload = payloads_[i];
    Counts& counts = counts_[i];
    const auto add_epilogue = [&](const std::optional<KernelPayload>& epilogue) -> Status {
      if (!epilogue.has_value()) return {};
      counts.sizes += 1 + epilogue->sizes;
      return add_function(i, *epilogue);
    };
    if (const auto* kernel = std::get_if<KernelPayload>(&payload)) {
      counts = {kernel->buffers,
                kernel->sizes + kMapSizes * static_cast<int64_t>(kernel->maps.size())};
      return add_function(i, *kernel);
    }
    if (const auto* gemm = std::get_if<GemmPayload>(&payload)) {
      counts = {gemm->buffers, kGemmSizes};
      return add_epilogue(gemm->epilogue);
    }
    if (const auto* conv = std::get_if<ConvolutionPayload>(&payload)) {
      counts = {conv->buffers, static_cast<int64_t>(2 * conv->filter.size())};
      return add_epilogue(conv->epilogue);
    }
    if (const auto* attention = std::get_if<AttentionPayload>(&payload)) {
      counts = {attention->buffers, kAttentionSizes};
      return {};
    }
    const std::string& call = std::get<HostPayload>(payload).call;
    host[i] = {"reference", "host call", call, {}};
    STATOR_TRY(const CallPayload layer, parse_call_payload(call));
    counts = {layer.inputs + layer.outputs, layer.inputs};  // inputs, for the copies
    has_host_calls_ = true;
    return {};
  }

  Status add_function(size_t i, const KernelPayload& payload) {
    LoadedKernel& kernel = functions_[i];
    kernel.payload = payload;
    if (payload.module < 0 || static_cast<size_t>(payload.module) >= modules_.size()) {
      return Error{ErrorCode::kInvalidFile,
                   "the engine has no machine code for " + payload.function};
    }
    STATOR_RETURN_IF_ERROR(check_cuda(
        d_.cuModuleGetFunction(&kernel.function, modules_[static_cast<size_t>(payload.module)],
                               payload.function.c_str()),
        "looking for kernel " + payload.function));
    if (payload.shared_bytes > 48 * 1024) {
      return check_cuda(
          d_.cuFuncSetAttribute(kernel.function, kFunctionDynamicShared, payload.shared_bytes),
          "shared memory for " + payload.function);
    }
    return {};
  }

  Runner make_runner(const BoundStep& step) const {
    const auto index = static_cast<size_t>(step.kernel);
    const Payload& payload = payloads_[index];
    const auto found = functions_.find(index);
    const LoadedKernel* function = found == functions_.end() ? nullptr : &found->second;
    if (std::holds_alternative<KernelPayload>(payload)) {
      return make_generated(*function);
    }
    if (const auto* gemm = std::get_if<GemmPayload>(&payload)) {
      return gemm->sparse ? make_sparse_gemm(*gemm, function, step)
                          : make_gemm(*gemm, function, step);
    }
    if (const auto* conv = std::get_if<ConvolutionPayload>(&payload)) {
      return make_convolution(*conv, function, step);
    }
    if (const auto* attention = std::get_if<AttentionPayload>(&payload)) {
      return make_attention(*attention, step);
    }
    return make_host_call(*host_code_, step.kernel, counts_[index].buffers, counts_[index].sizes);
  }

  Status launch_timed(const BoundStep* steps, int64_t count, const RunOptions& options,
                      CudaRunState& state, CUstream stream, StepClock* clock) const {
    for (int64_t i = 0; i < count; ++i) {
      clock->mark(i, stream);
      for (int again = 0; again < options.repeat; ++again) {
        STATOR_RETURN_IF_ERROR(state.runners[static_cast<size_t>(i)]->launch(
            steps[i], static_cast<char*>(options.scratch), stream));
      }
    }
    clock->mark(count, stream);
    return {};
  }

  Status launch(const BoundStep* steps, int64_t count, const RunOptions& options,
                CudaRunState& state, CUstream stream) const {
    for (int64_t begin = 0, end = 0; begin < count; begin = end) {
      end = group_end(steps, begin, count);
      int32_t last = 0;
      for (int64_t i = begin; i < end; ++i) last = std::max(last, steps[i].lane);
      STATOR_RETURN_IF_ERROR(fork(last, state, stream));
      for (int64_t i = begin; i < end; ++i) {
        const int32_t lane = steps[i].lane;
        STATOR_RETURN_IF_ERROR(state.runners[static_cast<size_t>(i)]->launch(
            steps[i], static_cast<char*>(options.scratch) + lane * options.scratch_per_thread,
            lane == 0 ? stream : state.lanes[static_cast<size_t>(lane) - 1]));
      }
      STATOR_RETURN_IF_ERROR(join(last, state, stream));
    }
    return {};
  }

  /// Lanes 1 … last go on from where the stream is.
  Status fork(int32_t last, CudaRunState& state, CUstream stream) const {
    if (last == 0) return {};
    STATOR_RETURN_IF_ERROR(state.make_lanes(last));
    STATOR_RETURN_IF_ERROR(check_cuda(d_.cuEventRecord(state.forked, stream), "forking a stream"));
    for (size_t lane = 0; lane < static_cast<size_t>(last); ++lane) {
      STATOR_RETURN_IF_ERROR(
          check_cuda(d_.cuStreamWaitEvent(state.lanes[lane], state.forked, 0), "forking a stream"));
    }
    return {};
  }
  /// The stream goes on from where all of them are.
  Status join(int32_t last, CudaRunState& state, CUstream stream) const {
    for (size_t lane = 0; lane < static_cast<size_t>(last); ++lane) {
      STATOR_RETURN_IF_ERROR(
          check_cuda(d_.cuEventRecord(state.joined[lane], state.lanes[lane]), "joining a stream"));
      STATOR_RETURN_IF_ERROR(
          check_cuda(d_.cuStreamWaitEvent(stream, state.joined[lane], 0), "joining a stream"));
    }
    return {};
  }

  Status prepare(const BoundStep* steps, int64_t count, CudaRunState& state) const {
    for (int64_t i = 0; i < count; ++i) {
      Runner runner = make_runner(steps[i]);
      if (!runner.ok()) {
        state.runners.clear();
        return runner.error().in("step " + std::to_string(i));
      }
      state.runners.push_back(std::move(runner).value());
    }
    return {};
  }

  /// Launches the steps one by one at the first sight of these addresses, and as one graph from the
  /// second on. Inside a capture of the caller's the steps become part of that one.
  template <typename LaunchAll>
  Status run_as_graph(const BoundStep* steps, int64_t count, const RunOptions& options,
                      CudaRunState& state, CUstream stream, const LaunchAll& launch_all) const {
    int capturing = 0;
    if (options.stream != nullptr) {
      d_.cuStreamIsCapturing(stream, &capturing);
    }
    if (options.state == nullptr || capturing != 0 || count < 2 || !capturable(state)) {
      return launch_all(stream);
    }
    gather_addresses(steps, count, options.scratch, state);
    CudaRunState::Graph& graph = state.find_graph();
    if (graph.exec != nullptr) {
      return check_cuda(d_.cuGraphLaunch(graph.exec, stream), "launching the engine's graph");
    }
    if (!graph.seen) {
      graph.seen = true;
      ++state.unseen;
      return launch_all(stream);
    }
    STATOR_RETURN_IF_ERROR(check_cuda(
        d_.cuStreamBeginCapture_v2(state.own_stream, kCaptureThreadLocal), "capturing a graph"));
    const Status launched = launch_all(state.own_stream);
    CUgraph captured = nullptr;
    const Status ended =
        check_cuda(d_.cuStreamEndCapture(state.own_stream, &captured), "capturing a graph");
    STATOR_RETURN_IF_ERROR(launched);
    STATOR_RETURN_IF_ERROR(ended);
    const Status made = check_cuda(d_.cuGraphInstantiateWithFlags(&graph.exec, captured, 0),
                                   "making the engine's graph");
    d_.cuGraphDestroy(captured);
    STATOR_RETURN_IF_ERROR(made);
    return check_cuda(d_.cuGraphLaunch(graph.exec, stream), "launching the engine's graph");
  }

  static bool capturable(const CudaRunState& state) {
    for (const auto& runner : state.runners) {
      if (!runner->capturable()) return false;
    }
    return true;
  }

  void gather_addresses(const BoundStep* steps, int64_t count, void* scratch,
                        CudaRunState& state) const {
    state.addresses.clear();
    state.addresses.push_back(scratch);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t buffers = counts_[static_cast<size_t>(steps[i].kernel)].buffers;
      state.addresses.insert(state.addresses.end(), steps[i].args->buffers,
                             steps[i].args->buffers + buffers);
    }
  }

  Status wait(CUstream stream) const {
    return check_cuda(d_.cuStreamSynchronize(stream), "running the engine");
  }

  const Driver& d_;
  const Device& gpu_;
  std::vector<CUmodule> modules_;
  std::vector<Payload> payloads_;             // by kernel of the plan
  std::vector<Counts> counts_;                // by kernel of the plan
  std::map<size_t, LoadedKernel> functions_;  // generated kernels and epilogues
  std::unique_ptr<LoadedCode> host_code_;
  bool has_host_calls_ = false;
};

/// Machine code runs on its own architecture, PTX ("compute_80") on every later one.
bool runs_on(const std::string& target, const Device& gpu) {
  int needed = 0;
  if (std::sscanf(target.c_str(), "compute_%d", &needed) == 1) {
    return gpu.major * 10 + gpu.minor >= needed;
  }
  return target == gpu.architecture();
}

class CudaExecutor : public ExecutorBackend {
 public:
  std::string name() const override { return "cuda"; }

  Result<std::unique_ptr<LoadedCode>> load(const std::vector<PlanKernel>& kernels,
                                           const std::vector<CodeVariant>& code) const override {
    STATOR_TRY(const Driver* const d, driver());
    STATOR_TRY(const Device* const gpu, device());
    const CodeVariant* fitting = nullptr;
    std::string built_for;
    for (const CodeVariant& variant : code) {
      if (variant.executor != name()) continue;
      built_for += (built_for.empty() ? "" : ", ") + variant.target;
      if (runs_on(variant.target, *gpu)) fitting = &variant;
    }
    if (fitting == nullptr && !built_for.empty()) {
      return Error{ErrorCode::kIncompatible,
                   "the engine was built for " + built_for + "; the GPU here is " + gpu->name +
                       ", " + gpu->architecture() +
                       ". Build it on this machine, or with hardware_compatible"};
    }
    auto loaded = std::make_unique<CudaCode>(*d, *gpu);
    STATOR_RETURN_IF_ERROR(
        loaded->load(kernels, fitting == nullptr ? TensorData() : fitting->image));
    return std::unique_ptr<LoadedCode>(std::move(loaded));
  }

  Result<TensorData> allocate(int64_t size_bytes, void** writable) const override {
    STATOR_TRY(const Driver* const d, driver());
    STATOR_TRY(const Device* const gpu, device());
    const CurrentContext current(*gpu);
    CUdeviceptr address = 0;
    STATOR_RETURN_IF_ERROR(check_cuda(
        d->cuMemAlloc_v2(&address, static_cast<size_t>(std::max<int64_t>(size_bytes, 1))),
        std::to_string(size_bytes) + " bytes of GPU memory"));
    *writable = reinterpret_cast<void*>(address);
    TensorData data;
    data.data = *writable;
    data.size_bytes = size_bytes;
    data.owner = std::shared_ptr<const void>(*writable, [d, gpu](const void* p) {
      const CurrentContext here(*gpu);
      d->cuMemFree_v2(reinterpret_cast<CUdeviceptr>(p));
    });
    return data;
  }

  int current_device() const override { return current_device_number(); }

  Result<std::shared_ptr<void>> enter_device(int number) const override {
    STATOR_TRY(const Device* const gpu, device(number));
    return std::shared_ptr<void>(std::make_shared<CurrentContext>(*gpu));
  }

  bool host_memory() const override { return false; }
  int64_t io_alignment() const override { return 16; }

  Status copy_to_device(void* to, const void* from, int64_t size_bytes) const override {
    STATOR_TRY(const Driver* const d, driver());
    STATOR_TRY(const Device* const gpu, device());
    const CurrentContext current(*gpu);
    if (size_bytes == 0) return {};
    return check_cuda(d->cuMemcpyHtoD_v2(reinterpret_cast<CUdeviceptr>(to), from,
                                         static_cast<size_t>(size_bytes)),
                      "copying to the GPU");
  }
  Status copy_on_device(void* to, const void* from, int64_t size_bytes,
                        void* stream) const override {
    STATOR_TRY(const Driver* const d, driver());
    STATOR_TRY(const Device* const gpu, device());
    const CurrentContext current(*gpu);
    return check_cuda(d->cuMemcpyDtoDAsync_v2(
                          reinterpret_cast<CUdeviceptr>(to), reinterpret_cast<CUdeviceptr>(from),
                          static_cast<size_t>(size_bytes), static_cast<CUstream>(stream)),
                      "copying on the GPU");
  }
  Status copy_to_host(void* to, const void* from, int64_t size_bytes) const override {
    STATOR_TRY(const Driver* const d, driver());
    STATOR_TRY(const Device* const gpu, device());
    const CurrentContext current(*gpu);
    if (size_bytes == 0) return {};
    return check_cuda(d->cuMemcpyDtoH_v2(to, reinterpret_cast<CUdeviceptr>(from),
                                         static_cast<size_t>(size_bytes)),
                      "copying from the GPU");
  }

  Result<TensorData> allocate_shared(int64_t size_bytes, void** writable) const override {
    STATOR_TRY(const Driver* const d, driver());
    STATOR_TRY(const Device* const gpu, device());
    const CurrentContext current(*gpu);
    STATOR_RETURN_IF_ERROR(check_cuda(
        d->cuMemHostAlloc(writable, static_cast<size_t>(size_bytes), kHostPortableMapped),
        "memory that the GPU and the host share"));
    std::memset(*writable, 0, static_cast<size_t>(size_bytes));
    TensorData data;
    data.data = *writable;
    data.size_bytes = size_bytes;
    data.owner = std::shared_ptr<const void>(*writable, [d, gpu](const void* p) {
      const CurrentContext here(*gpu);
      d->cuMemFreeHost(const_cast<void*>(p));
    });
    return data;
  }

  int thread_count() const override { return 1; }
};

}  // namespace
}  // namespace cuda

ExecutorBackend& cuda_executor() {
  static auto& executor = *new cuda::CudaExecutor();
  return executor;
}

}  // namespace stator
