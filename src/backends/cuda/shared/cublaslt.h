// SPDX-License-Identifier: Apache-2.0
//
// The part of cuBLASLt that Stator uses (docs.nvidia.com/cuda/cublas, "Using the cuBLASLt API").
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cuda/shared/driver.h"
#include "stator/result.h"

namespace stator::cuda {

struct LtAlgorithm {
  uint64_t data[8];
};
struct LtHeuristic {
  LtAlgorithm algorithm;
  size_t workspace_bytes;
  int state;
  float waves;
  int reserved[4];
};

// cudaDataType_t and cublasComputeType_t.
inline constexpr int kR32F = 0, kR16F = 2, kR16BF = 14;
inline constexpr int kCompute32F = 68, kCompute32FFastTf32 = 77;
// Attributes and their values.
inline constexpr int kDescTransA = 3, kDescTransB = 4, kDescEpilogue = 7, kDescBiasPointer = 8,
                     kDescBiasType = 26;
inline constexpr int kLayoutBatchCount = 5, kLayoutBatchStride = 6;
inline constexpr int kPreferWorkspace = 1, kPreferAlignmentA = 5, kPreferAlignmentB = 6,
                     kPreferAlignmentC = 7, kPreferAlignmentD = 8;
inline constexpr int kEpilogueDefault = 1, kEpilogueRelu = 2, kEpilogueBias = 4, kEpilogueGelu = 32;

struct CublasLt {
  void* handle = nullptr;
  int (*create)(void**);
  int (*desc_create)(void**, int, int);
  int (*desc_destroy)(void*);
  int (*desc_set)(void*, int, const void*, size_t);
  int (*layout_create)(void**, int, uint64_t, uint64_t, int64_t);
  int (*layout_destroy)(void*);
  int (*layout_set)(void*, int, const void*, size_t);
  int (*preference_create)(void**);
  int (*preference_destroy)(void*);
  int (*preference_set)(void*, int, const void*, size_t);
  int (*heuristic)(void*, void*, void*, void*, void*, void*, void*, int, LtHeuristic*, int*);
  int (*matmul)(void*, void*, const void*, const void*, void*, const void*, void*, const void*,
                const void*, void*, void*, void*, const LtAlgorithm*, void*, size_t, CUstream);
};

/// Loaded once, with one handle for the process (its functions are safe for threads).
Result<const CublasLt*> cublaslt();

}  // namespace stator::cuda
