// SPDX-License-Identifier: Apache-2.0
//
// torch.Tensor objects in and out without linking libtorch: through DLPack's C exchange table,
// which costs some tens of nanoseconds a tensor.
#pragma once

#include <nanobind/nanobind.h>

#include <vector>

#include "dlpack_abi.h"
#include "stator/dtype.h"

namespace stator {

class TensorExchange {
 public:
  /// From torch.Tensor; throws nanobind errors when this PyTorch has no exchange table.
  explicit TensorExchange(nanobind::handle tensor_type);
  /// Borrows a tensor's address, shape and strides. False when `object` is no tensor or cannot be
  /// exported.
  bool borrow(nanobind::handle object, dlpack::Tensor* out) const;
  /// A new dense tensor made by PyTorch's own allocator; *data receives its address. `order` names
  /// its axes from the slowest in memory to the fastest; empty: row-major.
  nanobind::object allocate(DType dtype, const std::vector<int64_t>& shape,
                            const std::vector<int64_t>& order, dlpack::Device device,
                            void** data) const;
  /// PyTorch's current stream of a CUDA device, as the driver's CUstream: never null.
  void* current_stream(dlpack::Device device) const;

  /// The table of torch.Tensor, set by the module at import.
  static const TensorExchange& torch();
  static void set_torch(nanobind::handle tensor_type);

 private:
  const dlpack::Exchange* table_ = nullptr;
};

dlpack::DataType to_dlpack(DType dtype);
/// True when the element type is `dtype`.
bool matches(const dlpack::DataType& type, DType dtype);
/// True for a tensor without gaps whose axes lie in memory in this order (sizes of 0 and 1 do not
/// matter); empty: row-major.
bool is_dense(const dlpack::Tensor& tensor, const std::vector<int64_t>& order);
inline bool is_contiguous(const dlpack::Tensor& tensor) { return is_dense(tensor, {}); }

}  // namespace stator
