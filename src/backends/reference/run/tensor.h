// SPDX-License-Identifier: Apache-2.0
//
// Dense row-major tensors for the reference kernels. Elements are read as double (floating point)
// or int64 (integers and bool), which hold every value of the supported types exactly.
#pragma once

#include <cstdint>
#include <vector>

#include "layer/fault_site.h"
#include "stator/dtype.h"

namespace stator::reference {

struct Tensor {
  DType dtype = DType::kFloat32;
  std::vector<int64_t> shape;
  void* data = nullptr;

  int64_t count() const;
  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  bool is_real() const { return is_floating_point(dtype); }
  double real(int64_t i) const;      // of any dtype
  int64_t integer(int64_t i) const;  // of an integer or bool; a real one truncates
  void put_real(int64_t i, double value);
  void put_integer(int64_t i, int64_t value);
  /// Copies one element of the same dtype.
  void copy(int64_t to, const Tensor& from, int64_t i);
};

/// Row-major strides in elements.
std::vector<int64_t> strides_of(const std::vector<int64_t>& shape);
/// Calls visit(index) for every index of `shape` in row-major order.
template <typename Visit>
void for_each_index(const std::vector<int64_t>& shape, const Visit& visit) {
  for (const int64_t size : shape) {
    if (size == 0) {
      return;
    }
  }
  std::vector<int64_t> index(shape.size(), 0);
  while (true) {
    visit(static_cast<const std::vector<int64_t>&>(index));
    size_t k = shape.size();
    while (k-- > 0) {
      if (++index[k] < shape[k]) {
        break;
      }
      index[k] = 0;
    }
    if (k == static_cast<size_t>(-1)) {
      return;
    }
  }
}
int64_t offset_of(const std::vector<int64_t>& index, const std::vector<int64_t>& strides);
/// The offset in `tensor` of an index of the shape it is broadcast to.
int64_t broadcast_offset(const std::vector<int64_t>& index, const Tensor& tensor);

/// Thrown by a kernel that meets wrong data; the executor reports it.
struct Fault {
  FaultSite site;
  int64_t value, limit;
};

}  // namespace stator::reference
