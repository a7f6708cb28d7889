// SPDX-License-Identifier: Apache-2.0
//
// Convolutions through cuDNN: convolution, + residual, + bias, relu as one operation graph.
#include "backends/cuda/run/step_runner.h"
#include "backends/cuda/shared/cudnn.h"

namespace stator::cuda {
namespace {

// Attributes of cuDNN's descriptors.
constexpr int kPointwiseMode = 0, kPointwisePrecision = 1;
constexpr int kConvCompute = 100, kConvMode = 101, kConvDilations = 102, kConvStrides = 103,
              kConvPost = 104, kConvPre = 105, kConvSpatialDims = 106;
constexpr int kForwardAlpha = 700, kForwardBeta = 701, kForwardConv = 702, kForwardW = 703,
              kForwardX = 704, kForwardY = 705;
constexpr int kPwDescriptor = 750, kPwX = 751, kPwB = 752, kPwY = 753;
constexpr int kModeAdd = 0, kModeRelu = 100;
constexpr int64_t kX = 1, kW = 2, kY = 3, kZ = 4, kBias = 5;  // ids of the tensors in memory

/// [N, spatial…, C] as cuDNN's [N, C, spatial…] with the strides that it really has.
void channels_first(const std::vector<int64_t>& last, std::vector<int64_t>* sizes,
                    std::vector<int64_t>* strides) {
  const size_t rank = last.size();
  std::vector<int64_t> dense(rank, 1);
  for (size_t i = rank - 1; i > 0; --i) {
    dense[i - 1] = dense[i] * last[i];
  }
  sizes->assign({last[0], last[rank - 1]});
  strides->assign({dense[0], dense[rank - 1]});
  for (size_t i = 1; i + 1 < rank; ++i) {
    sizes->push_back(last[i]);
    strides->push_back(dense[i]);
  }
}

class Convolve : public StepRunner {
 public:
  Convolve(const ConvolutionPayload& payload, const LoadedKernel* epilogue)
      : p_(payload), epilogue_(epilogue) {}

  Status prepare(const BoundStep& step) {
    const size_t rank = p_.stride.size() + 2;
    const std::vector<int64_t> x(step.args->sizes, step.args->sizes + rank);
    const std::vector<int64_t> y(step.args->sizes + rank, step.args->sizes + 2 * rank);
    for (const std::vector<int64_t>* shape : {&x, &y}) {
      for (const int64_t size : *shape) {
        empty_ = empty_ || size == 0;
      }
    }
    if (empty_) {
      return {};
    }
    STATOR_TRY(DnnDescriptor x_tensor, tensor(kX, x));
    // The filter lies as [O, kernel…, C/groups], which is channels-last too.
    STATOR_TRY(DnnDescriptor w_tensor, tensor(kW, p_.filter));
    STATOR_TRY(DnnDescriptor conv, convolution());
    std::vector<DnnDescriptor> kept;  // tensors and descriptors that the operations name
    std::vector<DnnDescriptor> operations;
    const bool more = p_.residual >= 0 || p_.bias >= 0 || p_.relu;
    STATOR_TRY(DnnDescriptor first, tensor(more ? 100 : kY, y, more));
    STATOR_TRY(DnnDescriptor forward, DnnDescriptor::create(kDnnOperationConvolution));
    STATOR_RETURN_IF_ERROR(forward.set(kForwardConv, conv));
    STATOR_RETURN_IF_ERROR(forward.set(kForwardX, x_tensor));
    STATOR_RETURN_IF_ERROR(forward.set(kForwardW, w_tensor));
    STATOR_RETURN_IF_ERROR(forward.set(kForwardY, first));
    const float one = 1, zero = 0;
    STATOR_RETURN_IF_ERROR(forward.set(kForwardAlpha, kDnnTypeFloat, 1, &one));
    STATOR_RETURN_IF_ERROR(forward.set(kForwardBeta, kDnnTypeFloat, 1, &zero));
    STATOR_RETURN_IF_ERROR(forward.finalize());
    operations.push_back(std::move(forward));
    DnnDescriptor value = std::move(first);
    if (p_.residual >= 0) {
      STATOR_TRY(DnnDescriptor z, tensor(kZ, y));
      STATOR_TRY(value, pointwise(kModeAdd, std::move(value), &z, y, p_.bias < 0 && !p_.relu, 101,
                                  &kept, &operations));
      kept.push_back(std::move(z));
    }
    if (p_.bias >= 0) {
      std::vector<int64_t> shape(y.size(), 1);
      shape.back() = y.back();
      STATOR_TRY(DnnDescriptor bias, tensor(kBias, shape));
      STATOR_TRY(value, pointwise(kModeAdd, std::move(value), &bias, y, !p_.relu, 102, &kept,
                                  &operations));
      kept.push_back(std::move(bias));
    }
    if (p_.relu) {
      STATOR_TRY(value,
                 pointwise(kModeRelu, std::move(value), nullptr, y, true, 103, &kept, &operations));
    }
    std::vector<const DnnDescriptor*> graph;
    for (const DnnDescriptor& operation : operations) {
      graph.push_back(&operation);
    }
    STATOR_TRY(plan_, make_dnn_plan(graph, p_.tuned == x || p_.tuned.empty() ? p_.index : 0,
                                    kLibraryWorkspace, p_.dtype != DType::kFloat32 || p_.tf32));
    return {};
  }

  Status launch(const BoundStep& step, char* scratch, CUstream stream) override {
    if (empty_) {
      return {};
    }
    void* temporary = epilogue_ != nullptr ? scratch + kLibraryWorkspace : nullptr;
    void* const* buffers = step.args->buffers;
    std::vector<int64_t> ids = {kX, kW, kY};
    std::vector<void*> addresses = {buffers[p_.x], buffers[p_.w],
                                    temporary != nullptr ? temporary : buffers[p_.y]};
    if (p_.residual >= 0) {
      ids.push_back(kZ);
      addresses.push_back(buffers[p_.residual]);
    }
    if (p_.bias >= 0) {
      ids.push_back(kBias);
      addresses.push_back(buffers[p_.bias]);
    }
    STATOR_RETURN_IF_ERROR(plan_.run(ids, addresses, scratch, stream));
    if (epilogue_ == nullptr) {
      return {};
    }
    const auto first = static_cast<int>(2 * (p_.stride.size() + 2));
    return launch_kernel(*epilogue_, step, p_.buffers, temporary, first + 1,
                         step.args->sizes[first], stream);
  }

 private:
  Result<DnnDescriptor> tensor(int64_t id, const std::vector<int64_t>& shape,
                               bool virtual_tensor = false) const {
    std::vector<int64_t> sizes, strides;
    channels_first(shape, &sizes, &strides);
    return dnn_tensor(id, virtual_tensor ? DType::kFloat32 : p_.dtype, sizes, strides,
                      virtual_tensor);
  }

  Result<DnnDescriptor> convolution() const {
    STATOR_TRY(DnnDescriptor conv, DnnDescriptor::create(kDnnConvolution));
    const int compute = 0 /* float */, mode = 1 /* cross-correlation */;
    STATOR_RETURN_IF_ERROR(conv.set(kConvCompute, kDnnTypeDataType, 1, &compute));
    STATOR_RETURN_IF_ERROR(conv.set(kConvMode, kDnnTypeConvolutionMode, 1, &mode));
    STATOR_RETURN_IF_ERROR(conv.set(kConvSpatialDims, static_cast<int64_t>(p_.stride.size())));
    STATOR_RETURN_IF_ERROR(conv.set(kConvStrides, p_.stride));
    STATOR_RETURN_IF_ERROR(conv.set(kConvDilations, p_.dilation));
    STATOR_RETURN_IF_ERROR(conv.set(kConvPre, p_.pad_before));
    STATOR_RETURN_IF_ERROR(conv.set(kConvPost, p_.pad_after));
    STATOR_RETURN_IF_ERROR(conv.finalize());
    return conv;
  }

  /// value (op) operand → a new value, the result in memory when it is the last.
  Result<DnnDescriptor> pointwise(int mode, DnnDescriptor value, const DnnDescriptor* operand,
                                  const std::vector<int64_t>& shape, bool last, int64_t id,
                                  std::vector<DnnDescriptor>* kept,
                                  std::vector<DnnDescriptor>* operations) const {
    STATOR_TRY(DnnDescriptor what, DnnDescriptor::create(kDnnPointwise));
    const int precision = 0;  // float
    STATOR_RETURN_IF_ERROR(what.set(kPointwiseMode, kDnnTypePointwiseMode, 1, &mode));
    STATOR_RETURN_IF_ERROR(what.set(kPointwisePrecision, kDnnTypeDataType, 1, &precision));
    STATOR_RETURN_IF_ERROR(what.finalize());
    STATOR_TRY(DnnDescriptor result, tensor(last ? kY : id, shape, !last));
    STATOR_TRY(DnnDescriptor operation, DnnDescriptor::create(kDnnOperationPointwise));
    STATOR_RETURN_IF_ERROR(operation.set(kPwDescriptor, what));
    STATOR_RETURN_IF_ERROR(operation.set(kPwX, value));
    if (operand != nullptr) {
      STATOR_RETURN_IF_ERROR(operation.set(kPwB, *operand));
    }
    STATOR_RETURN_IF_ERROR(operation.set(kPwY, result));
    STATOR_RETURN_IF_ERROR(operation.finalize());
    operations->push_back(std::move(operation));
    kept->push_back(std::move(what));
    kept->push_back(std::move(value));
    return result;
  }

  const ConvolutionPayload& p_;
  const LoadedKernel* epilogue_;
  DnnPlan plan_;
  bool empty_ = false;
};

}  // namespace

Runner make_convolution(const ConvolutionPayload& payload, const LoadedKernel* epilogue,
                        const BoundStep& step) {
  auto convolve = std::make_unique<Convolve>(payload, epilogue);
  STATOR_RETURN_IF_ERROR(convolve->prepare(step));
  return std::unique_ptr<StepRunner>(std::move(convolve));
}

}  // namespace stator::cuda
