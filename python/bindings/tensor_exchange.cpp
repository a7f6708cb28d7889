// SPDX-License-Identifier: Apache-2.0
#include "tensor_exchange.h"

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>

#include "base/check.h"

namespace nb = nanobind;

namespace stator {
namespace {

std::unique_ptr<TensorExchange>& torch_table() {
  static auto* table = new std::unique_ptr<TensorExchange>();
  return *table;
}

constexpr size_t kMostAxes = 16;  // of a tensor of an engine; plan/validate_buffers.cpp

void raise_python_error(void*, const char*, const char* message) {
  PyErr_SetString(PyExc_MemoryError, message);
}

}  // namespace

TensorExchange::TensorExchange(nb::handle tensor_type) {
  const nb::object capsule = nb::getattr(tensor_type, "__dlpack_c_exchange_api__", nb::none());
  if (!PyCapsule_CheckExact(capsule.ptr())) {
    throw nb::import_error(
        "stator needs a PyTorch with DLPack's C exchange table (torch 2.11 or newer)");
  }
  const auto* table = static_cast<const dlpack::Exchange*>(
      PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  if (table == nullptr) {
    throw nb::python_error();
  }
  if (table->header.version.major != 1 || table->tensor_from_object == nullptr) {
    throw nb::import_error(
        "this PyTorch's DLPack exchange table has a version that stator does not know");
  }
  table_ = table;
}

bool TensorExchange::borrow(nb::handle object, dlpack::Tensor* out) const {
  if (table_->tensor_from_object(object.ptr(), out) == 0) {
    return true;
  }
  PyErr_Clear();
  return false;
}

nb::object TensorExchange::allocate(DType dtype, const std::vector<int64_t>& shape,
                                    const std::vector<int64_t>& order, dlpack::Device device,
                                    void** data) const {
  STATOR_CHECK(shape.size() <= kMostAxes, "a result has more axes than an engine can have");
  std::array<int64_t, kMostAxes> in_memory, strides;
  int64_t elements = 1;
  for (size_t k = order.size(); k-- > 0;) {
    const auto axis = static_cast<size_t>(order[k]);
    in_memory[k] = shape[axis];
    strides[axis] = elements;
    elements *= std::max<int64_t>(shape[axis], 1);
  }
  dlpack::Tensor prototype{};
  prototype.device = device;
  prototype.ndim = static_cast<int32_t>(shape.size());
  prototype.dtype = to_dlpack(dtype);
  prototype.shape = order.empty() ? const_cast<int64_t*>(shape.data()) : in_memory.data();
  dlpack::ManagedTensorVersioned* managed = nullptr;
  if (table_->allocate(&prototype, &managed, nullptr, raise_python_error) != 0) {
    throw nb::python_error();
  }
  *data = static_cast<char*>(managed->tensor.data) + managed->tensor.byte_offset;
  // Seen with its own axes by the tensor that is made now; the memory stays what it is.
  int64_t* const own_shape = managed->tensor.shape;
  int64_t* const own_strides = managed->tensor.strides;
  if (!order.empty()) {
    managed->tensor.shape = const_cast<int64_t*>(shape.data());
    managed->tensor.strides = strides.data();
  }
  void* object = nullptr;
  const int failed = table_->managed_to_object(managed, &object);
  managed->tensor.shape = own_shape;
  managed->tensor.strides = own_strides;
  if (failed != 0) {
    managed->deleter(managed);
    throw nb::python_error();
  }
  return nb::steal(static_cast<PyObject*>(object));
}

void* TensorExchange::current_stream(dlpack::Device device) const {
  void* stream = nullptr;
  if (table_->current_stream == nullptr ||
      table_->current_stream(device.type, device.id, &stream) != 0) {
    throw nb::python_error();
  }
  // The default stream has the handle 0 in PyTorch, and CU_STREAM_LEGACY in the driver.
  return stream != nullptr ? stream : reinterpret_cast<void*>(uintptr_t{1});
}

const TensorExchange& TensorExchange::torch() {
  if (!torch_table()) {
    throw std::runtime_error("stator was used before torch was imported");
  }
  return *torch_table();
}

void TensorExchange::set_torch(nb::handle tensor_type) {
  torch_table() = std::make_unique<TensorExchange>(tensor_type);
}

dlpack::DataType to_dlpack(DType dtype) {
  const auto bits = static_cast<uint8_t>(8 * dtype_bytes(dtype));
  if (dtype == DType::kBool) {
    return {6, 8, 1};
  }
  if (dtype == DType::kBFloat16) {
    return {4, 16, 1};
  }
  if (dtype == DType::kUInt8) {
    return {1, 8, 1};
  }
  if (is_complex(dtype)) {
    return {5, bits, 1};
  }
  return {static_cast<uint8_t>(is_floating_point(dtype) ? 2 : 0), bits, 1};
}

bool matches(const dlpack::DataType& type, DType dtype) {
  const dlpack::DataType wanted = to_dlpack(dtype);
  return type.code == wanted.code && type.bits == wanted.bits && type.lanes == wanted.lanes;
}

bool is_dense(const dlpack::Tensor& tensor, const std::vector<int64_t>& order) {
  if (tensor.strides == nullptr && order.empty()) {
    return true;
  }
  int64_t expected = 1;
  bool dense = true;
  for (int32_t k = tensor.ndim - 1; k >= 0; --k) {
    const int32_t axis = order.empty() ? k : static_cast<int32_t>(order[static_cast<size_t>(k)]);
    if (tensor.shape[axis] == 0) {
      return true;
    }
    if (tensor.shape[axis] != 1) {
      dense = dense && tensor.strides != nullptr && tensor.strides[axis] == expected;
      expected *= tensor.shape[axis];
    }
  }
  return dense;
}

}  // namespace stator
