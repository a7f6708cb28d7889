// SPDX-License-Identifier: Apache-2.0
//
// Products with sparse weights through cuSPARSELt. Our row-major D = A Wᵀ is its column-major
// Dᵀ = W Aᵀ, with W [n, k] as the structured matrix. The weights are compressed when the step is
// prepared.
#include <string>

#include "backends/cuda/run/step_runner.h"
#include "backends/cuda/shared/cublaslt.h"
#include "backends/cuda/shared/cusparselt.h"

namespace stator::cuda {
namespace {

constexpr uint32_t kAlignment = 16;

Status check_sparse(int result, const char* what) {
  if (result == 0) return {};
  return Error{ErrorCode::kUnsupported, std::string("cuSPARSELt: ") + what +
                                            " failed with status " + std::to_string(result)};
}

class SparseGemm : public StepRunner {
 public:
  SparseGemm(const GemmPayload& payload, const LoadedKernel* epilogue)
      : p_(payload), epilogue_(epilogue), lt_(**cusparselt()), d_(**driver()) {}
  ~SparseGemm() override {
    if (planned_) lt_.plan_destroy(&plan_);
    for (const SparseObject* matrix : made_) lt_.matrix_destroy(matrix);
    if (compressed_ != 0) d_.cuMemFree_v2(compressed_);
  }

  Status prepare(const BoundStep& step) {
    const int64_t* s = step.args->sizes;
    m_ = s[0], n_ = s[1], k_ = s[2];
    a_offset_ = s[4], d_offset_ = s[10];
    const int type = p_.dtype == DType::kFloat16 ? kR16F : kR16BF;
    const SparseObject* h = &lt_.handle;
    STATOR_RETURN_IF_ERROR(check_sparse(
        lt_.structured(h, &w_, n_, k_, s[8], kAlignment, type, kSparseOrderRow, kSparseHalf),
        "describing the weights"));
    made_.push_back(&w_);
    STATOR_RETURN_IF_ERROR(
        check_sparse(lt_.dense(h, &a_, k_, m_, s[5], kAlignment, type, kSparseOrderColumn),
                     "describing an operand"));
    made_.push_back(&a_);
    STATOR_RETURN_IF_ERROR(
        check_sparse(lt_.dense(h, &out_, n_, m_, s[11], kAlignment, type, kSparseOrderColumn),
                     "describing a result"));
    made_.push_back(&out_);
    STATOR_RETURN_IF_ERROR(check_sparse(
        lt_.product(h, &product_, 0, 0, &w_, &a_, &out_, &out_, kSparseCompute32F), "a product"));
    if (p_.bias >= 0) {
      const void* bias = buffer(step, p_.bias);
      STATOR_RETURN_IF_ERROR(check_sparse(
          lt_.product_set(h, &product_, kSparseBiasPointer, &bias, sizeof bias), "a bias"));
    }
    if (p_.activation == "relu") {
      const int32_t on = 1;
      STATOR_RETURN_IF_ERROR(check_sparse(
          lt_.product_set(h, &product_, kSparseRelu, &on, sizeof on), "an activation"));
    }
    STATOR_RETURN_IF_ERROR(make_plan());
    return compress(buffer(step, p_.b) + s[7] * dtype_bytes(p_.dtype));
  }

  Status launch(const BoundStep& step, char* scratch, CUstream stream) override {
    char* temporary = epilogue_ != nullptr ? scratch + kLibraryWorkspace : nullptr;
    const int64_t element = dtype_bytes(p_.dtype);
    char* d = temporary != nullptr ? temporary : buffer(step, p_.d) + d_offset_ * element;
    const char* c = p_.residual >= 0 ? buffer(step, p_.residual) + d_offset_ * element : d;
    const auto alpha = static_cast<float>(p_.alpha);
    const float beta = p_.residual >= 0 ? 1.0F : 0.0F;
    STATOR_RETURN_IF_ERROR(check_sparse(
        lt_.matmul(&lt_.handle, &plan_, &alpha, reinterpret_cast<const void*>(compressed_),
                   buffer(step, p_.a) + a_offset_ * element, &beta, c, d, scratch, &stream, 1),
        "a product"));
    if (epilogue_ == nullptr) return {};
    return launch_kernel(*epilogue_, step, p_.buffers, temporary, kGemmSizes + 1,
                         step.args->sizes[kGemmSizes], stream);
  }

 private:
  static char* buffer(const BoundStep& step, int index) {
    return static_cast<char*>(step.args->buffers[index]);
  }

  Status make_plan() {
    const SparseObject* h = &lt_.handle;
    SparseObject selection;
    STATOR_RETURN_IF_ERROR(check_sparse(lt_.selection(h, &selection, &product_, 0), "a choice"));
    int32_t most = 0;
    STATOR_RETURN_IF_ERROR(check_sparse(
        lt_.selection_get(h, &selection, kSparseConfigMaxId, &most, sizeof most), "a choice"));
    // 0: the library's own choice.
    if (const int32_t wanted = p_.index - 1; wanted >= 0 && wanted < most) {
      STATOR_RETURN_IF_ERROR(check_sparse(
          lt_.selection_set(h, &selection, kSparseConfigId, &wanted, sizeof wanted), "a choice"));
    }
    STATOR_RETURN_IF_ERROR(check_sparse(lt_.plan(h, &plan_, &product_, &selection), "a plan"));
    planned_ = true;
    size_t workspace = 0;
    STATOR_RETURN_IF_ERROR(
        check_sparse(lt_.workspace(h, &plan_, &workspace), "asking for the workspace"));
    if (workspace > static_cast<size_t>(kLibraryWorkspace)) {
      return Error{ErrorCode::kUnsupported,
                   "cuSPARSELt wants " + std::to_string(workspace) + " bytes of workspace"};
    }
    return {};
  }

  Status compress(const void* weights) {
    size_t bytes = 0, buffer_bytes = 0;
    STATOR_RETURN_IF_ERROR(
        check_sparse(lt_.compressed_size(&lt_.handle, &plan_, &bytes, &buffer_bytes),
                     "the size of compressed weights"));
    STATOR_RETURN_IF_ERROR(check_cuda(d_.cuMemAlloc_v2(&compressed_, bytes), "compressed weights"));
    CUdeviceptr temporary = 0;
    STATOR_RETURN_IF_ERROR(check_cuda(
        d_.cuMemAlloc_v2(&temporary, std::max<size_t>(buffer_bytes, 1)), "compressing weights"));
    const Status done = check_sparse(
        lt_.compress(&lt_.handle, &plan_, weights, reinterpret_cast<void*>(compressed_),
                     reinterpret_cast<void*>(temporary), nullptr),
        "compressing weights");
    const Status ended = check_cuda(d_.cuStreamSynchronize(nullptr), "compressing weights");
    d_.cuMemFree_v2(temporary);
    return done.ok() ? ended : done;
  }

  const GemmPayload& p_;
  const LoadedKernel* epilogue_;
  const CusparseLt& lt_;
  const Driver& d_;
  int64_t m_ = 0, n_ = 0, k_ = 0, a_offset_ = 0, d_offset_ = 0;
  SparseObject w_, a_, out_, product_, plan_;
  std::vector<const SparseObject*> made_;
  bool planned_ = false;
  CUdeviceptr compressed_ = 0;
};

}  // namespace

Runner make_sparse_gemm(const GemmPayload& payload, const LoadedKernel* epilogue,
                        const BoundStep& step) {
  STATOR_TRY(const CusparseLt* const lt, cusparselt());
  (void)lt;
  auto gemm = std::make_unique<SparseGemm>(payload, epilogue);
  STATOR_RETURN_IF_ERROR(gemm->prepare(step));
  return std::unique_ptr<StepRunner>(std::move(gemm));
}

}  // namespace stator::cuda
