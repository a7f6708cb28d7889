// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/shared/cublaslt.h"

#include "backends/cuda/shared/library.h"

namespace stator::cuda {
namespace {

Result<const CublasLt*> load_cublaslt() {
  STATOR_TRY(const Device* const gpu, device());
  STATOR_TRY(void* const library, open_library({"libcublasLt.so.13", "libcublasLt.so.12"}));
  auto lt = std::make_unique<CublasLt>();
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cublasLtCreate", &lt->create));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cublasLtMatmulDescCreate", &lt->desc_create));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cublasLtMatmulDescDestroy", &lt->desc_destroy));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cublasLtMatmulDescSetAttribute", &lt->desc_set));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cublasLtMatrixLayoutCreate", &lt->layout_create));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cublasLtMatrixLayoutDestroy", &lt->layout_destroy));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cublasLtMatrixLayoutSetAttribute", &lt->layout_set));
  STATOR_RETURN_IF_ERROR(
      bind_symbol(library, "cublasLtMatmulPreferenceCreate", &lt->preference_create));
  STATOR_RETURN_IF_ERROR(
      bind_symbol(library, "cublasLtMatmulPreferenceDestroy", &lt->preference_destroy));
  STATOR_RETURN_IF_ERROR(
      bind_symbol(library, "cublasLtMatmulPreferenceSetAttribute", &lt->preference_set));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cublasLtMatmulAlgoGetHeuristic", &lt->heuristic));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cublasLtMatmul", &lt->matmul));
  const CurrentContext current(*gpu);
  if (lt->create(&lt->handle) != 0) {
    return Error{ErrorCode::kUnsupported, "cuBLASLt does not start on this GPU"};
  }
  return lt.release();
}

}  // namespace

Result<const CublasLt*> cublaslt() {
  static auto& loaded = *new PerDevice<const CublasLt*>();
  return loaded.get(load_cublaslt);
}

}  // namespace stator::cuda
