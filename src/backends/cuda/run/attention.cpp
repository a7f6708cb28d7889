// SPDX-License-Identifier: Apache-2.0
//
// Attention without masks through cuDNN's one operation for it.
#include "backends/cuda/run/step_runner.h"
#include "backends/cuda/shared/cudnn.h"

namespace stator::cuda {
namespace {

constexpr int kSdpaQ = 2800, kSdpaK = 2801, kSdpaV = 2802, kSdpaO = 2803, kSdpaScale = 2805;
constexpr int kTensorDataType = 901, kTensorDimensions = 902, kTensorStrides = 903, kTensorId = 906,
              kTensorAlignment = 900, kTensorVirtual = 907, kTensorByValue = 908;
constexpr int64_t kQ = 1, kK = 2, kV = 3, kO = 4, kScale = 5;

class Attend : public StepRunner {
 public:
  explicit Attend(const AttentionPayload& payload) : p_(payload) {
    scale_ = static_cast<float>(payload.scale);
  }

  Status prepare(const BoundStep& step) {
    const int64_t* s = step.args->sizes;
    const int64_t batch = s[0], heads = s[1], kv_heads = s[2], queries = s[3], keys = s[4],
                  qk = s[5], channels = s[6];
    empty_ = batch * heads * queries * channels == 0;
    if (empty_) {
      return {};
    }
    if (keys == 0 || qk == 0) {
      return Error{ErrorCode::kUnsupported, "attention over nothing"};
    }
    offsets_ = {s[7], s[11], s[15], s[19]};
    const auto tensor = [&](int64_t id, int64_t head_count, int64_t length, int64_t width,
                            const int64_t* strides) {
      return dnn_tensor(id, p_.dtype, {batch, head_count, length, width},
                        {strides[0], strides[1], strides[2], 1});
    };
    STATOR_TRY(DnnDescriptor q, tensor(kQ, heads, queries, qk, s + 8));
    STATOR_TRY(DnnDescriptor k, tensor(kK, kv_heads, keys, qk, s + 12));
    STATOR_TRY(DnnDescriptor v, tensor(kV, kv_heads, keys, channels, s + 16));
    STATOR_TRY(DnnDescriptor o, tensor(kO, heads, queries, channels, s + 20));
    STATOR_TRY(DnnDescriptor scale, scalar());
    STATOR_TRY(DnnDescriptor sdpa, DnnDescriptor::create(kDnnOperationSdpa));
    STATOR_RETURN_IF_ERROR(sdpa.set(kSdpaQ, q));
    STATOR_RETURN_IF_ERROR(sdpa.set(kSdpaK, k));
    STATOR_RETURN_IF_ERROR(sdpa.set(kSdpaV, v));
    STATOR_RETURN_IF_ERROR(sdpa.set(kSdpaO, o));
    STATOR_RETURN_IF_ERROR(sdpa.set(kSdpaScale, scale));
    STATOR_RETURN_IF_ERROR(sdpa.finalize());
    STATOR_TRY(plan_, make_dnn_plan({&sdpa}, 0, kLibraryWorkspace));
    return {};
  }

  Status launch(const BoundStep& step, char* scratch, CUstream stream) override {
    if (empty_) {
      return {};
    }
    void* const* buffers = step.args->buffers;
    const int64_t element = dtype_bytes(p_.dtype);
    const auto at = [&](int buffer, size_t which) -> void* {
      return static_cast<char*>(buffers[buffer]) + offsets_[which] * element;
    };
    return plan_.run({kQ, kK, kV, kO, kScale},
                     {at(p_.q, 0), at(p_.k, 1), at(p_.v, 2), at(p_.out, 3), &scale_}, scratch,
                     stream);
  }

 private:
  /// The scale, read from the host when the plan runs.
  static Result<DnnDescriptor> scalar() {
    STATOR_TRY(DnnDescriptor tensor, DnnDescriptor::create(kDnnTensor));
    const int type = dnn_data_type(DType::kFloat32);
    const bool yes = true, no = false;
    STATOR_RETURN_IF_ERROR(tensor.set(kTensorDataType, kDnnTypeDataType, 1, &type));
    STATOR_RETURN_IF_ERROR(tensor.set(kTensorDimensions, {1, 1, 1, 1}));
    STATOR_RETURN_IF_ERROR(tensor.set(kTensorStrides, {1, 1, 1, 1}));
    STATOR_RETURN_IF_ERROR(tensor.set(kTensorId, kScale));
    STATOR_RETURN_IF_ERROR(tensor.set(kTensorAlignment, 16));
    STATOR_RETURN_IF_ERROR(tensor.set(kTensorVirtual, kDnnTypeBoolean, 1, &no));
    STATOR_RETURN_IF_ERROR(tensor.set(kTensorByValue, kDnnTypeBoolean, 1, &yes));
    STATOR_RETURN_IF_ERROR(tensor.finalize());
    return tensor;
  }

  const AttentionPayload& p_;
  DnnPlan plan_;
  std::vector<int64_t> offsets_;
  float scale_ = 1;
  bool empty_ = false;
};

}  // namespace

Runner make_attention(const AttentionPayload& payload, const BoundStep& step) {
  auto attend = std::make_unique<Attend>(payload);
  STATOR_RETURN_IF_ERROR(attend->prepare(step));
  return std::unique_ptr<StepRunner>(std::move(attend));
}

}  // namespace stator::cuda
