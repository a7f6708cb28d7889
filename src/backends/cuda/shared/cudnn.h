// SPDX-License-Identifier: Apache-2.0
//
// cuDNN's backend (graph) interface, as far as Stator uses it: descriptors with attributes that
// make an operation graph, engine configurations for it, and plans that run
// (docs.nvidia.com/deeplearning/cudnn, "Graph API").
#pragma once

#include <cstdint>
#include <vector>

#include "backends/cuda/shared/driver.h"
#include "stator/dtype.h"
#include "stator/result.h"

namespace stator::cuda {

// cudnnBackendDescriptorType_t
inline constexpr int kDnnPointwise = 0, kDnnConvolution = 1, kDnnEngineHeuristics = 4,
                     kDnnExecutionPlan = 5, kDnnOperationConvolution = 10,
                     kDnnOperationPointwise = 13, kDnnOperationGraph = 15, kDnnVariantPack = 16,
                     kDnnTensor = 17, kDnnEngine = 2, kDnnEngineConfig = 3, kDnnOperationSdpa = 41;
// cudnnBackendAttributeType_t
inline constexpr int kDnnTypeHandle = 0, kDnnTypeDataType = 1, kDnnTypeBoolean = 2,
                     kDnnTypeInt64 = 3, kDnnTypeFloat = 4, kDnnTypeDouble = 5, kDnnTypePointer = 6,
                     kDnnTypeConvolutionMode = 7, kDnnTypeHeuristicMode = 8,
                     kDnnTypeNumericalNote = 11, kDnnTypePointwiseMode = 14,
                     kDnnTypeDescriptor = 15;

/// One descriptor; destroyed with it.
class DnnDescriptor {
 public:
  DnnDescriptor() = default;
  DnnDescriptor(DnnDescriptor&& other) noexcept : handle_(other.handle_) {
    other.handle_ = nullptr;
  }
  DnnDescriptor& operator=(DnnDescriptor&& other) noexcept;
  ~DnnDescriptor();
  static Result<DnnDescriptor> create(int type);
  Status set(int attribute, int type, int64_t count, const void* values);
  Status set(int attribute, int64_t value) { return set(attribute, kDnnTypeInt64, 1, &value); }
  Status set(int attribute, const std::vector<int64_t>& values) {
    return set(attribute, kDnnTypeInt64, static_cast<int64_t>(values.size()), values.data());
  }
  Status set(int attribute, const DnnDescriptor& other) {
    return set(attribute, kDnnTypeDescriptor, 1, &other.handle_);
  }
  Status finalize();
  void* handle() const { return handle_; }

 private:
  void* handle_ = nullptr;
};

/// cudnnDataType_t of an element type; -1 when cuDNN has none.
int dnn_data_type(DType dtype);

/// A dense or strided tensor; `id` names its address when the plan runs.
Result<DnnDescriptor> dnn_tensor(int64_t id, DType dtype, const std::vector<int64_t>& sizes,
                                 const std::vector<int64_t>& strides, bool virtual_tensor = false);

/// A plan of an operation graph, ready to run.
struct DnnPlan {
  DnnDescriptor plan;
  int64_t workspace_bytes = 0;
  Status run(const std::vector<int64_t>& ids, const std::vector<void*>& addresses, void* workspace,
             CUstream stream) const;
};

/// The `index`-th plan that the library's heuristic proposes and that needs no more workspace;
/// `tensor_cores` false: none that rounds float32 operands for them.
Result<DnnPlan> make_dnn_plan(const std::vector<const DnnDescriptor*>& operations, int index,
                              int64_t workspace_limit, bool tensor_cores = true);

}  // namespace stator::cuda
