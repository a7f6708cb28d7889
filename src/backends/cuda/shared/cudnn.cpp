// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/shared/cudnn.h"

#include <algorithm>
#include <mutex>

#include "backends/cuda/shared/library.h"

namespace stator::cuda {
namespace {

struct Cudnn {
  void* handle = nullptr;
  int (*create)(void**);
  int (*set_stream)(void*, CUstream);
  int (*backend_create)(int, void**);
  int (*backend_destroy)(void*);
  int (*backend_finalize)(void*);
  int (*backend_set)(void*, int, int, int64_t, const void*);
  int (*backend_get)(void*, int, int, int64_t, int64_t*, void*);
  int (*backend_execute)(void*, void*, void*);
  const char* (*error_string)(int);
  std::mutex mutex;  // the handle carries the stream
};

Result<Cudnn*> load_cudnn() {
  STATOR_TRY(const Device* const gpu, device());
  STATOR_TRY(void* const library, open_library({"libcudnn.so.9"}));
  auto dnn = std::make_unique<Cudnn>();
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cudnnCreate", &dnn->create));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cudnnSetStream", &dnn->set_stream));
  STATOR_RETURN_IF_ERROR(
      bind_symbol(library, "cudnnBackendCreateDescriptor", &dnn->backend_create));
  STATOR_RETURN_IF_ERROR(
      bind_symbol(library, "cudnnBackendDestroyDescriptor", &dnn->backend_destroy));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cudnnBackendFinalize", &dnn->backend_finalize));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cudnnBackendSetAttribute", &dnn->backend_set));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cudnnBackendGetAttribute", &dnn->backend_get));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cudnnBackendExecute", &dnn->backend_execute));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "cudnnGetErrorString", &dnn->error_string));
  const CurrentContext current(*gpu);
  if (dnn->create(&dnn->handle) != 0) {
    return Error{ErrorCode::kUnsupported, "cuDNN does not start on this GPU"};
  }
  return dnn.release();
}

Result<Cudnn*> cudnn() {
  static auto& loaded = *new PerDevice<Cudnn*>();
  return loaded.get(load_cudnn);
}

Status check_dnn(int result, const std::string& what) {
  if (result == 0) {
    return {};
  }
  return Error{ErrorCode::kUnsupported,
               "cuDNN: " + what + ": " + std::string((*cudnn())->error_string(result))};
}

// Attributes.
constexpr int kEngineHeurMode = 200, kEngineHeurGraph = 201, kEngineHeurResults = 202;
constexpr int kPlanHandle = 400, kPlanEngineConfig = 401, kPlanWorkspace = 402;
constexpr int kGraphHandle = 800, kGraphOps = 801;
constexpr int kTensorAlignment = 900, kTensorDataType = 901, kTensorDimensions = 902,
              kTensorStrides = 903, kTensorId = 906, kTensorVirtual = 907;
constexpr int kPackIds = 1000, kPackPointers = 1001, kPackWorkspace = 1003;
constexpr int kConfigEngine = 300, kEngineNotes = 1303, kNoteTensorCore = 0;
constexpr int kHeurModeA = 3, kHeurModeFallback = 2;

/// Engine configurations in the order of one heuristic.
Status add_configs(const DnnDescriptor& graph, int mode, std::vector<DnnDescriptor>* configs) {
  STATOR_TRY(Cudnn* const dnn, cudnn());
  STATOR_TRY(DnnDescriptor heuristics, DnnDescriptor::create(kDnnEngineHeuristics));
  STATOR_RETURN_IF_ERROR(heuristics.set(kEngineHeurGraph, graph));
  STATOR_RETURN_IF_ERROR(heuristics.set(kEngineHeurMode, kDnnTypeHeuristicMode, 1, &mode));
  STATOR_RETURN_IF_ERROR(heuristics.finalize());
  constexpr int64_t kMost = 16;
  std::vector<DnnDescriptor> made;
  std::vector<void*> handles;
  for (int64_t i = 0; i < kMost; ++i) {
    STATOR_TRY(DnnDescriptor config, DnnDescriptor::create(kDnnEngineConfig));
    handles.push_back(config.handle());
    made.push_back(std::move(config));
  }
  int64_t count = 0;
  STATOR_RETURN_IF_ERROR(
      check_dnn(dnn->backend_get(heuristics.handle(), kEngineHeurResults, kDnnTypeDescriptor, kMost,
                                 &count, handles.data()),
                "engine configurations"));
  for (int64_t i = 0; i < count; ++i) {
    configs->push_back(std::move(made[static_cast<size_t>(i)]));
  }
  return {};
}

/// Whether a configuration's engine says so of itself.
bool uses_tensor_cores(const DnnDescriptor& config) {
  auto dnn = cudnn();
  auto engine = DnnDescriptor::create(kDnnEngine);
  if (!dnn.ok() || !engine.ok()) {
    return true;
  }
  void* handle = engine->handle();
  int64_t count = 0;
  if ((*dnn)->backend_get(config.handle(), kConfigEngine, kDnnTypeDescriptor, 1, &count, &handle) !=
      0) {
    return true;
  }
  int notes[32] = {};
  if ((*dnn)->backend_get(handle, kEngineNotes, kDnnTypeNumericalNote, 32, &count, notes) != 0) {
    return true;
  }
  return std::find(notes, notes + count, kNoteTensorCore) != notes + count;
}

}  // namespace

DnnDescriptor& DnnDescriptor::operator=(DnnDescriptor&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}

DnnDescriptor::~DnnDescriptor() {
  if (handle_ != nullptr) {
    (*cudnn())->backend_destroy(handle_);
  }
}

Result<DnnDescriptor> DnnDescriptor::create(int type) {
  STATOR_TRY(Cudnn* const dnn, cudnn());
  DnnDescriptor made;
  STATOR_RETURN_IF_ERROR(check_dnn(dnn->backend_create(type, &made.handle_), "a descriptor"));
  return made;
}

Status DnnDescriptor::set(int attribute, int type, int64_t count, const void* values) {
  return check_dnn((*cudnn())->backend_set(handle_, attribute, type, count, values),
                   "attribute " + std::to_string(attribute));
}

Status DnnDescriptor::finalize() {
  return check_dnn((*cudnn())->backend_finalize(handle_), "finalizing a descriptor");
}

int dnn_data_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return 0;
    case DType::kFloat16:
      return 2;
    case DType::kBFloat16:
      return 9;
    default:
      return -1;
  }
}

Result<DnnDescriptor> dnn_tensor(int64_t id, DType dtype, const std::vector<int64_t>& sizes,
                                 const std::vector<int64_t>& strides, bool virtual_tensor) {
  STATOR_TRY(DnnDescriptor tensor, DnnDescriptor::create(kDnnTensor));
  const int type = dnn_data_type(dtype);
  STATOR_RETURN_IF_ERROR(tensor.set(kTensorDataType, kDnnTypeDataType, 1, &type));
  STATOR_RETURN_IF_ERROR(tensor.set(kTensorDimensions, sizes));
  STATOR_RETURN_IF_ERROR(tensor.set(kTensorStrides, strides));
  STATOR_RETURN_IF_ERROR(tensor.set(kTensorId, id));
  STATOR_RETURN_IF_ERROR(tensor.set(kTensorAlignment, 16));
  const bool is_virtual = virtual_tensor;
  STATOR_RETURN_IF_ERROR(tensor.set(kTensorVirtual, kDnnTypeBoolean, 1, &is_virtual));
  STATOR_RETURN_IF_ERROR(tensor.finalize());
  return tensor;
}

Result<DnnPlan> make_dnn_plan(const std::vector<const DnnDescriptor*>& operations, int index,
                              int64_t workspace_limit, bool tensor_cores) {
  STATOR_TRY(Cudnn* const dnn, cudnn());
  std::vector<void*> handles;
  for (const DnnDescriptor* operation : operations) {
    handles.push_back(operation->handle());
  }
  STATOR_TRY(DnnDescriptor graph, DnnDescriptor::create(kDnnOperationGraph));
  STATOR_RETURN_IF_ERROR(graph.set(kGraphOps, kDnnTypeDescriptor,
                                   static_cast<int64_t>(handles.size()), handles.data()));
  STATOR_RETURN_IF_ERROR(graph.set(kGraphHandle, kDnnTypeHandle, 1, &dnn->handle));
  STATOR_RETURN_IF_ERROR(graph.finalize());
  std::vector<DnnDescriptor> configs;
  Status proposed = add_configs(graph, kHeurModeA, &configs);
  if (!proposed.ok() || configs.empty()) {
    STATOR_RETURN_IF_ERROR(add_configs(graph, kHeurModeFallback, &configs));
  }
  int usable = 0;
  for (DnnDescriptor& config : configs) {
    if (!config.finalize().ok()) {
      // The heuristic gives some finished; finalizing again is then refused, which does no harm.
    }
    STATOR_TRY(DnnDescriptor plan, DnnDescriptor::create(kDnnExecutionPlan));
    STATOR_RETURN_IF_ERROR(plan.set(kPlanHandle, kDnnTypeHandle, 1, &dnn->handle));
    if ((!tensor_cores && uses_tensor_cores(config)) || !plan.set(kPlanEngineConfig, config).ok() ||
        !plan.finalize().ok()) {
      continue;
    }
    int64_t workspace = 0, count = 0;
    if (dnn->backend_get(plan.handle(), kPlanWorkspace, kDnnTypeInt64, 1, &count, &workspace) !=
            0 ||
        workspace > workspace_limit || usable++ < index) {
      continue;
    }
    DnnPlan result;
    result.plan = std::move(plan);
    result.workspace_bytes = workspace;
    return result;
  }
  return Error{ErrorCode::kUnsupported, "cuDNN has no plan number " + std::to_string(index) +
                                            " for this operation (it has " +
                                            std::to_string(usable) + ")"};
}

Status DnnPlan::run(const std::vector<int64_t>& ids, const std::vector<void*>& addresses,
                    void* workspace, CUstream stream) const {
  STATOR_TRY(Cudnn* const dnn, cudnn());
  STATOR_TRY(DnnDescriptor pack, DnnDescriptor::create(kDnnVariantPack));
  const auto count = static_cast<int64_t>(ids.size());
  STATOR_RETURN_IF_ERROR(pack.set(kPackIds, kDnnTypeInt64, count, ids.data()));
  STATOR_RETURN_IF_ERROR(pack.set(kPackPointers, kDnnTypePointer, count, addresses.data()));
  STATOR_RETURN_IF_ERROR(pack.set(kPackWorkspace, kDnnTypePointer, 1, &workspace));
  STATOR_RETURN_IF_ERROR(pack.finalize());
  const std::lock_guard<std::mutex> lock(dnn->mutex);
  STATOR_RETURN_IF_ERROR(check_dnn(dnn->set_stream(dnn->handle, stream), "its stream"));
  return check_dnn(dnn->backend_execute(dnn->handle, plan.handle(), pack.handle()), "a plan's run");
}

}  // namespace stator::cuda
