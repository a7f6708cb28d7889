// SPDX-License-Identifier: Apache-2.0
//
// The part of cuSPARSELt that Stator uses (docs.nvidia.com/cuda/cusparselt): products of a matrix
// of which two in four neighbours are zero.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cuda/shared/driver.h"
#include "stator/result.h"

namespace stator::cuda {

/// What the library keeps in memory of ours: 512 bytes, in versions before 0.8 up to 11024.
struct alignas(16) SparseObject {
  unsigned char data[16384] = {};
};

inline constexpr int kSparseCompute32F = 2, kSparseHalf = 0;  // a compute type, 50 percent
inline constexpr int kSparseOrderColumn = 1, kSparseOrderRow = 2;
inline constexpr int kSparseRelu = 0, kSparseBiasPointer = 8;  // of a product
inline constexpr int kSparseConfigId = 0, kSparseConfigMaxId = 1;

struct CusparseLt {
  SparseObject handle;
  int (*init)(SparseObject*);
  int (*dense)(const SparseObject*, SparseObject*, int64_t rows, int64_t columns, int64_t leading,
               uint32_t alignment, int type, int order);
  int (*structured)(const SparseObject*, SparseObject*, int64_t rows, int64_t columns,
                    int64_t leading, uint32_t alignment, int type, int order, int sparsity);
  int (*matrix_destroy)(const SparseObject*);
  int (*product)(const SparseObject*, SparseObject*, int op_a, int op_b, const SparseObject* a,
                 const SparseObject* b, const SparseObject* c, const SparseObject* d, int compute);
  int (*product_set)(const SparseObject*, SparseObject*, int attribute, const void*, size_t);
  int (*selection)(const SparseObject*, SparseObject*, const SparseObject* product, int algorithm);
  int (*selection_set)(const SparseObject*, SparseObject*, int attribute, const void*, size_t);
  int (*selection_get)(const SparseObject*, const SparseObject*, int attribute, void*, size_t);
  int (*workspace)(const SparseObject*, const SparseObject* plan, size_t*);
  int (*plan)(const SparseObject*, SparseObject*, const SparseObject* product,
              const SparseObject* selection);
  int (*plan_destroy)(const SparseObject*);
  int (*compressed_size)(const SparseObject*, const SparseObject* plan, size_t* bytes,
                         size_t* buffer_bytes);
  int (*compress)(const SparseObject*, const SparseObject* plan, const void* from, void* to,
                  void* buffer, CUstream);
  int (*matmul)(const SparseObject*, const SparseObject* plan, const void* alpha, const void* a,
                const void* b, const void* beta, const void* c, void* d, void* workspace,
                CUstream* streams, int32_t stream_count);
};

/// Loaded once for each device.
Result<const CusparseLt*> cusparselt();

}  // namespace stator::cuda
