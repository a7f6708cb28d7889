// SPDX-License-Identifier: Apache-2.0
//
// The binary interface of DLPack 1.x and of its C exchange table, as far as tensors cross here.
// Declared from the specification (https://dmlc.github.io/dlpack/latest/c_api.html), so that the
// bindings build without torch.
#pragma once

#include <cstdint>

namespace stator::dlpack {

struct Version {
  uint32_t major;
  uint32_t minor;
};
struct Device {
  int32_t type;  // 1: CPU, 2: CUDA
  int32_t id;
};
inline constexpr int32_t kCpu = 1, kCuda = 2;
struct DataType {
  uint8_t code;  // 0 int, 1 uint, 2 float, 4 bfloat, 5 complex, 6 bool
  uint8_t bits;
  uint16_t lanes;
};
struct Tensor {
  void* data;
  Device device;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null: row-major
  uint64_t byte_offset;
};
struct ManagedTensorVersioned {
  Version version;
  void* manager_context;
  void (*deleter)(ManagedTensorVersioned* self);
  uint64_t flags;
  Tensor tensor;
};
struct ExchangeHeader {
  Version version;
  ExchangeHeader* previous;
};
/// Found as the capsule "dlpack_exchange_api" in `type(tensor).__dlpack_c_exchange_api__`.
struct Exchange {
  ExchangeHeader header;
  int (*allocate)(Tensor* prototype, ManagedTensorVersioned** out, void* error_context,
                  void (*set_error)(void* error_context, const char* kind, const char* message));
  int (*managed_from_object)(void* object, ManagedTensorVersioned** out);
  int (*managed_to_object)(ManagedTensorVersioned* tensor, void** out_object);
  int (*tensor_from_object)(void* object,
                            Tensor* out);  // borrowed: valid while the object lives; may be null
  int (*current_stream)(int32_t device_type, int32_t device_id, void** out_stream);
};

}  // namespace stator::dlpack
