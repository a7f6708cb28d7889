// SPDX-License-Identifier: Apache-2.0
//
// Matrix products through cuBLASLt. It counts columns first; a row-major D = A B is the
// column-major Dᵀ = Bᵀ Aᵀ, so that our b is its A, our a its B, and a bias over our columns one
// over its rows.
#include <algorithm>

#include "backends/cuda/run/step_runner.h"
#include "backends/cuda/shared/cublaslt.h"

namespace stator::cuda {
namespace {

int data_type(DType dtype) {
  return dtype == DType::kFloat16 ? kR16F : dtype == DType::kBFloat16 ? kR16BF : kR32F;
}

Status check_lt(int result, const char* what) {
  if (result == 0) {
    return {};
  }
  return Error{ErrorCode::kInternal,
               std::string("cuBLASLt: ") + what + " failed with status " + std::to_string(result)};
}

struct Operand {
  int64_t offset, leading, batch_stride;
};

class Gemm : public StepRunner {
 public:
  Gemm(const GemmPayload& payload, const LoadedKernel* epilogue)
      : p_(payload), epilogue_(epilogue) {}
  ~Gemm() override {
    const CublasLt& lt = **cublaslt();
    for (void* layout : {a_, b_, d_}) {
      if (layout != nullptr) lt.layout_destroy(layout);
    }
    if (desc_ != nullptr) lt.desc_destroy(desc_);
    if (preference_ != nullptr) lt.preference_destroy(preference_);
  }

  Status prepare(const BoundStep& step) {
    const int64_t* s = step.args->sizes;
    m_ = s[0], n_ = s[1], k_ = s[2], batch_ = s[3];
    operand_a_ = {s[4], s[5], s[6]};
    operand_b_ = {s[7], s[8], s[9]};
    operand_d_ = {s[10], s[11], s[12]};
    // A product over nothing is one of a column of zeros by a row of zeros, the same in each batch.
    nothing_ = k_ == 0;
    if (nothing_) {
      k_ = 1;
      operand_a_ = operand_b_ = {0, 1, 0};
      if (std::max(m_, n_) * size(p_.dtype) > kZeros) {
        return Error{ErrorCode::kUnsupported, "a matrix product over nothing with " +
                                                  std::to_string(std::max(m_, n_)) +
                                                  " rows or columns on CUDA"};
      }
    }
    if (empty()) {
      return {};
    }
    const CublasLt& lt = **cublaslt();
    const int compute = p_.tf32 ? kCompute32FFastTf32 : kCompute32F;
    STATOR_RETURN_IF_ERROR(check_lt(lt.desc_create(&desc_, compute, kR32F), "a descriptor"));
    set_desc(kDescTransA, p_.b_transposed ? 1 : 0);
    set_desc(kDescTransB, p_.a_transposed ? 1 : 0);
    int epilogue = p_.activation == "relu"        ? kEpilogueRelu
                   : p_.activation == "gelu_tanh" ? kEpilogueGelu
                                                  : 0;
    if (p_.bias >= 0) {
      epilogue |= kEpilogueBias;
      set_desc(kDescBiasType, data_type(p_.out));
      set_bias(step);
    }
    set_desc(kDescEpilogue, epilogue == 0 ? kEpilogueDefault : epilogue);
    STATOR_RETURN_IF_ERROR(make_layout(&a_, p_.dtype, p_.b_transposed ? k_ : n_,
                                       p_.b_transposed ? n_ : k_, operand_b_));
    STATOR_RETURN_IF_ERROR(make_layout(&b_, p_.dtype, p_.a_transposed ? m_ : k_,
                                       p_.a_transposed ? k_ : m_, operand_a_));
    STATOR_RETURN_IF_ERROR(make_layout(&d_, p_.out, n_, m_, operand_d_));
    return choose_algorithm(step);
  }

  Status launch(const BoundStep& step, char* scratch, CUstream stream) override {
    if (empty()) {
      return {};
    }
    const CublasLt& lt = **cublaslt();
    void* temporary = epilogue_ != nullptr ? scratch + kLibraryWorkspace : nullptr;
    char* d = temporary != nullptr ? static_cast<char*>(temporary)
                                   : buffer(step, p_.d) + operand_d_.offset * size(p_.out);
    const char* a = buffer(step, p_.a) + operand_a_.offset * size(p_.dtype);
    const char* b = buffer(step, p_.b) + operand_b_.offset * size(p_.dtype);
    if (nothing_) {
      a = b = scratch + workspace();
      STATOR_RETURN_IF_ERROR(fill_with_zeros(scratch + workspace(), stream));
    }
    const char* c =
        p_.residual >= 0 ? buffer(step, p_.residual) + operand_d_.offset * size(p_.out) : d;
    if (p_.bias >= 0) {
      set_bias(step);
    }
    const auto alpha = static_cast<float>(p_.alpha);
    const float beta = p_.residual >= 0 ? 1.0F : 0.0F;
    STATOR_RETURN_IF_ERROR(
        check_lt(lt.matmul(lt.handle, desc_, &alpha, b, a_, a, b_, &beta, c, d_, d, d_,
                           &chosen_.algorithm, scratch, static_cast<size_t>(workspace()), stream),
                 "a matrix product"));
    if (epilogue_ == nullptr) {
      return {};
    }
    return launch_kernel(*epilogue_, step, p_.buffers, temporary, kGemmSizes + 1,
                         step.args->sizes[kGemmSizes], stream);
  }

 private:
  static constexpr int64_t kZeros = kLibraryWorkspace / 2;
  int64_t workspace() const { return nothing_ ? kLibraryWorkspace - kZeros : kLibraryWorkspace; }
  Status fill_with_zeros(char* memory, CUstream stream) const {
    const auto bytes = static_cast<size_t>(std::max(m_, n_) * size(p_.dtype));
    return check_cuda(
        (*driver())->cuMemsetD8Async(reinterpret_cast<CUdeviceptr>(memory), 0, bytes, stream),
        "filling memory with zeros");
  }
  bool empty() const { return m_ == 0 || n_ == 0 || batch_ == 0; }
  static int64_t size(DType dtype) { return dtype_bytes(dtype); }
  static char* buffer(const BoundStep& step, int index) {
    return static_cast<char*>(step.args->buffers[index]);
  }
  void set_desc(int attribute, int32_t value) {
    (*cublaslt())->desc_set(desc_, attribute, &value, sizeof value);
  }
  void set_bias(const BoundStep& step) {
    const void* bias = buffer(step, p_.bias);
    (*cublaslt())->desc_set(desc_, kDescBiasPointer, &bias, sizeof bias);
  }
  Status make_layout(void** layout, DType dtype, int64_t rows, int64_t columns,
                     const Operand& operand) const {
    const CublasLt& lt = **cublaslt();
    // A leading dimension of an extent of one is never stepped along; it must only be large enough.
    const int64_t leading = std::max(operand.leading, rows);
    STATOR_RETURN_IF_ERROR(
        check_lt(lt.layout_create(layout, data_type(dtype), static_cast<uint64_t>(rows),
                                  static_cast<uint64_t>(columns), leading),
                 "a layout"));
    const auto count = static_cast<int32_t>(batch_);
    lt.layout_set(*layout, kLayoutBatchCount, &count, sizeof count);
    lt.layout_set(*layout, kLayoutBatchStride, &operand.batch_stride, sizeof(int64_t));
    return {};
  }

  /// The largest power of two up to 256 that divides what an operand may begin at.
  static uint32_t alignment(const void* address, const Operand& operand, int64_t element) {
    uint64_t bits = reinterpret_cast<uintptr_t>(address);
    for (const int64_t v : {operand.offset, operand.leading, operand.batch_stride}) {
      bits |= static_cast<uint64_t>(v * element);
    }
    uint32_t a = 256;
    while (a > 1 && bits % a != 0) {
      a /= 2;
    }
    return a;
  }

  Status choose_algorithm(const BoundStep& step) {
    const CublasLt& lt = **cublaslt();
    STATOR_RETURN_IF_ERROR(check_lt(lt.preference_create(&preference_), "a preference"));
    const auto set = [&](int attribute, const auto& value) {
      lt.preference_set(preference_, attribute, &value, sizeof value);
    };
    set(kPreferWorkspace, static_cast<uint64_t>(workspace()));
    // Callers' tensors begin at multiples of 16 bytes, whatever this call's do.
    const auto at_most_16 = [](uint32_t a) { return std::min<uint32_t>(a, 16); };
    const uint32_t d = at_most_16(alignment(nullptr, operand_d_, size(p_.out)));
    set(kPreferAlignmentA, at_most_16(alignment(nullptr, operand_b_, size(p_.dtype))));
    set(kPreferAlignmentB, at_most_16(alignment(nullptr, operand_a_, size(p_.dtype))));
    set(kPreferAlignmentC, d);
    set(kPreferAlignmentD, d);
    const std::vector<int64_t> sizes(step.args->sizes, step.args->sizes + 4);
    const int wanted = sizes == p_.tuned ? p_.index : 0;
    std::vector<LtHeuristic> proposed(static_cast<size_t>(wanted) + 1);
    int count = 0;
    STATOR_RETURN_IF_ERROR(check_lt(lt.heuristic(lt.handle, desc_, a_, b_, d_, d_, preference_,
                                                 wanted + 1, proposed.data(), &count),
                                    "the choice of an algorithm"));
    if (count == 0) {
      return Error{ErrorCode::kUnsupported, "cuBLASLt has no algorithm for this product"};
    }
    chosen_ = proposed[static_cast<size_t>(std::min(wanted, count - 1))];
    return {};
  }

  const GemmPayload& p_;
  const LoadedKernel* epilogue_;
  int64_t m_ = 0, n_ = 0, k_ = 0, batch_ = 0;
  Operand operand_a_{}, operand_b_{}, operand_d_{};
  void *desc_ = nullptr, *a_ = nullptr, *b_ = nullptr, *d_ = nullptr, *preference_ = nullptr;
  LtHeuristic chosen_{};
  bool nothing_ = false;  // the product is over no element
};

}  // namespace

Runner make_gemm(const GemmPayload& payload, const LoadedKernel* epilogue, const BoundStep& step) {
  STATOR_TRY(const CublasLt* const lt, cublaslt());
  (void)lt;
  auto gemm = std::make_unique<Gemm>(payload, epilogue);
  STATOR_RETURN_IF_ERROR(gemm->prepare(step));
  return std::unique_ptr<StepRunner>(std::move(gemm));
}

}  // namespace stator::cuda
