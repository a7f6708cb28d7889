// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "backends/cuda/codegen/compiled_units.h"
#include "backends/cuda/codegen/op_printer.h"
#include "backends/cuda/codegen/register.h"
#include "backends/cuda/codegen/tactics.h"
#include "backends/cuda/shared/driver.h"
#include "backends/cuda/shared/nvrtc.h"
#include "base/check.h"
#include "base/float_element.h"
#include "layer/whole_layer.h"

namespace stator {
namespace cuda {
namespace {

bool is_loop_dtype(DType dtype) { return is_plain_number(dtype) || is_half(dtype); }

bool is_math_dtype(DType dtype) { return dtype == DType::kFloat32 || is_half(dtype); }

constexpr const char* kPortable = "compute_80";  // PTX, which the driver compiles as it is loaded

/// The architecture to compile for: this machine's, or STATOR_CUDA_ARCH (to look at code for
/// another one, also without a GPU).
Result<std::string> target_architecture(const BuildOptions& options) {
  if (options.hardware_compatible) {
    return std::string(kPortable);
  }
  if (const char* wanted = std::getenv("STATOR_CUDA_ARCH")) {
    return std::string(wanted);
  }
  STATOR_TRY(const Device* const gpu, device());
  return gpu->architecture();
}

/// 90 for sm_90; without a device what every supported one can do.
int capability(const BuildOptions& options) {
  Result<std::string> architecture = target_architecture(options);
  int number = 80;
  if (architecture.ok()) (void)std::sscanf(architecture->c_str(), "sm_%d", &number);
  return number;
}

/// The architecture by the name under which its own instructions (wgmma) are compiled too.
std::string compiler_architecture(const std::string& architecture) {
  return architecture == "sm_90" ? "sm_90a" : architecture;
}

Support supports_program(const LoopProgram& program) {
  for (const LoopOp& op : program.ops) {
    if (!is_loop_dtype(op.dtype)) {
      return Support::no(std::string(dtype_name(op.dtype)) + " is not generated in loops");
    }
    if (op.kind == LoopOpKind::kReduce &&
        (op.reduce == ReduceOp::kArgMax || op.reduce == ReduceOp::kArgMin ||
         op.reduce == ReduceOp::kMean)) {
      return Support::no(std::string(name_of(op.reduce)) + " is not generated in loops");
    }
  }
  return Support::yes();
}

constexpr int64_t kByteGroup = 16;  // rows of tensor maps begin at multiples of 16 bytes

/// The tiles of gemm_kernel.h take both kinds of bytes.
bool multiplies_bytes(DType, int64_t n, int64_t k) { return n % 8 == 0 && k % kByteGroup == 0; }

bool convolves_bytes(const Convolution& conv, const TensorType& x, const TensorType& w) {
  const auto known = [](const Expr& e) { return e.is_constant(); };
  const auto step_fits = [](int64_t stride) { return stride <= 8; };
  return conv.groups == 1 && !conv.transposed && conv.stride.size() <= 2 &&
         w.shape[0].constant() % 8 == 0 && w.shape[1].constant() % kByteGroup == 0 &&
         std::all_of(x.shape.begin() + 1, x.shape.end(), known) &&
         std::all_of(conv.stride.begin(), conv.stride.end(), step_fits);
}

class CudaBackend : public CompilerBackend {
 public:
  using CompilerBackend::traits;
  BackendTraits traits(const BuildOptions& options) const override {
    BackendTraits traits;
    traits.name = "cuda";
    traits.tensor_device = "cuda";
    traits.channel_multiple = 8;
    traits.merges_products = true;
    traits.loop_unary = has_unary;
    traits.loop_elementwise = has_elementwise;
    traits.loop_dtype = is_loop_dtype;
    traits.runs_whole = is_whole_layer;
    traits.math_dtype = is_math_dtype;
    traits.fast_product = is_half;
    traits.short_step_us = 10;
    traits.few_results = 64;
    traits.long_reduction = 1 << 16;
    traits.sparse_products = options.sparse_weights;
    traits.bytes_per_us = 2e6;
    if (capability(options) == 90) {
      traits.byte_product = multiplies_bytes;
      traits.byte_convolution = convolves_bytes;
      traits.byte_group = kByteGroup;
    }
    return traits;
  }

  std::string device_key(const BuildOptions&) const override {
    Result<const Device*> gpu = device();
    Result<std::string> nvrtc = nvrtc_version();
    int version = 0;
    if (auto d = driver(); d.ok()) (*d)->cuDriverGetVersion(&version);
    return "cuda " + (gpu.ok() ? (*gpu)->name + " " + (*gpu)->architecture() : "no device") +
           " driver " + std::to_string(version) + " nvrtc " + (nvrtc.ok() ? *nvrtc : "none");
  }

  Support supports(const RegionGraph&, const Region& region) const override {
    if (const auto* loop = std::get_if<LoopProgram>(&region.body)) return supports_program(*loop);
    if (const auto* m = std::get_if<MatmulContraction>(&region.body)) {
      return supports_program(m->epilogue);
    }
    if (const auto* c = std::get_if<ConvolutionContraction>(&region.body)) {
      if (!c->w_constant) {
        return Support::no("convolutions whose weights are computed are calls");
      }
      return supports_program(c->epilogue);
    }
    return Support::yes();
  }

  std::vector<Tactic> candidates(const RegionGraph& graph, const Region& region,
                                 const BuildOptions& options) const override {
    return region_tactics(graph, region,
                          {capability(options), options.optimization_level, options.tf32,
                           options.tiling_level, options.tiling_l2_limit});
  }

  KernelLaunch launch(const RegionGraph& graph, const Region& region,
                      const Tactic& tactic) const override {
    return prepare_region(graph, region, tactic.name, "k", true).launch;
  }

  bool is_generated(const RegionGraph& graph, const Region& region,
                    const Tactic& tactic) const override {
    return prepare_region(graph, region, tactic.name, "k", true).kernel.has_value();
  }

  Result<CompiledCode> compile(const std::vector<KernelRequest>& requests,
                               const BuildOptions& options) const override;

  Result<TensorData> pack(const std::string& recipe, const TensorData& source) const override {
    return pack_constant(recipe, source);
  }

  ExecutorBackend& executor() const override {
    ExecutorBackend* executor = find_executor_backend("cuda");
    STATOR_CHECK(executor != nullptr, "the cuda executor is not built");
    return *executor;
  }
};

KernelPayload* kernel_of(Payload& payload) {
  if (auto* kernel = std::get_if<KernelPayload>(&payload)) return kernel;
  if (auto* gemm = std::get_if<GemmPayload>(&payload)) {
    return gemm->epilogue.has_value() ? &*gemm->epilogue : nullptr;
  }
  auto* conv = std::get_if<ConvolutionPayload>(&payload);
  return conv != nullptr && conv->epilogue.has_value() ? &*conv->epilogue : nullptr;
}

Result<CompiledCode> CudaBackend::compile(const std::vector<KernelRequest>& requests,
                                          const BuildOptions& options) const {
  CompiledCode code;
  code.variant.executor = "cuda";
  STATOR_TRY(code.variant.target, target_architecture(options));
  UnitList units;
  std::vector<Payload> payloads;
  try {
    for (const KernelRequest& request : requests) {
      PreparedRegion prepared = prepare_region(*request.graph, *request.region, request.tactic.name,
                                               request.name, options.tf32);
      if (prepared.kernel.has_value()) {
        KernelPayload* kernel = kernel_of(prepared.payload);
        STATOR_CHECK(kernel != nullptr, "a kernel that no payload launches");
        kernel->module = units.add(kPrelude + prepared.kernel->source);
        kernel->overlaps = capability(options) >= 90;
      }
      payloads.push_back(std::move(prepared.payload));
    }
  } catch (const InternalError& e) {
    return Error{ErrorCode::kInternal, e.what()};
  }
  STATOR_TRY(const std::vector<std::string> cubins,
             compile_units(units.sources(), compiler_architecture(code.variant.target)));
  if (!cubins.empty()) {
    const std::string image = join_cubins(cubins);
    void* writable = nullptr;
    code.variant.image = TensorData::allocate(static_cast<int64_t>(image.size()), &writable);
    std::copy(image.begin(), image.end(), static_cast<char*>(writable));
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    code.kernels.push_back(
        {"cuda",
         region_kind_name(requests[i].region->body) + std::string(" ") + requests[i].tactic.name,
         print_payload(payloads[i]),
         {}});
  }
  return code;
}

}  // namespace
}  // namespace cuda

CompilerBackend& cuda_backend() {
  static auto& backend = *new cuda::CudaBackend();
  return backend;
}

}  // namespace stator
