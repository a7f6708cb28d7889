// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/shared/cusparselt.h"

#include "backends/cuda/shared/library.h"

namespace stator::cuda {
namespace {

Result<const CusparseLt*> load_cusparselt() {
  STATOR_TRY(const Device* const gpu, device());
  STATOR_TRY(void* const library, open_library({"libcusparseLt.so.0"}));
  auto lt = std::make_unique<CusparseLt>();
  const auto bind = [library](const char* name, auto* function) {
    return bind_symbol(library, name, function);
  };
  STATOR_RETURN_IF_ERROR(bind("cusparseLtInit", &lt->init));
  STATOR_RETURN_IF_ERROR(bind("cusparseLtDenseDescriptorInit", &lt->dense));
  STATOR_RETURN_IF_ERROR(bind("cusparseLtStructuredDescriptorInit", &lt->structured));
  STATOR_RETURN_IF_ERROR(bind("cusparseLtMatDescriptorDestroy", &lt->matrix_destroy));
  STATOR_RETURN_IF_ERROR(bind("cusparseLtMatmulDescriptorInit", &lt->product));
  STATOR_RETURN_IF_ERROR(bind("cusparseLtMatmulDescSetAttribute", &lt->product_set));
  STATOR_RETURN_IF_ERROR(bind("cusparseLtMatmulAlgSelectionInit", &lt->selection));
  STATOR_RETURN_IF_ERROR(bind("cusparseLtMatmulAlgSetAttribute", &lt->selection_set));
  STATOR_RETURN_IF_ERROR(bind("cusparseLtMatmulAlgGetAttribute", &lt->selection_get));
  STATOR_RETURN_IF_ERROR(bind("cusparseLtMatmulGetWorkspace", &lt->workspace));
  STATOR_RETURN_IF_ERROR(bind("cusparseLtMatmulPlanInit", &lt->plan));
  STATOR_RETURN_IF_ERROR(bind("cusparseLtMatmulPlanDestroy", &lt->plan_destroy));
  STATOR_RETURN_IF_ERROR(bind("cusparseLtSpMMACompressedSize", &lt->compressed_size));
  STATOR_RETURN_IF_ERROR(bind("cusparseLtSpMMACompress", &lt->compress));
  STATOR_RETURN_IF_ERROR(bind("cusparseLtMatmul", &lt->matmul));
  const CurrentContext current(*gpu);
  if (lt->init(&lt->handle) != 0) {
    return Error{ErrorCode::kUnsupported, "cuSPARSELt does not start on this GPU"};
  }
  return lt.release();
}

}  // namespace

Result<const CusparseLt*> cusparselt() {
  static auto& loaded = *new PerDevice<const CusparseLt*>();
  return loaded.get(load_cusparselt);
}

}  // namespace stator::cuda
