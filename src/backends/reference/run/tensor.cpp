// SPDX-License-Identifier: Apache-2.0
#include "backends/reference/run/tensor.h"

#include <cmath>
#include <cstring>

#include "base/check.h"

namespace stator::reference {
namespace {

template <typename T>
T load(const void* data, int64_t i) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + i * static_cast<int64_t>(sizeof(T)),
              sizeof(T));
  return value;
}
template <typename T>
void store(void* data, int64_t i, T value) {
  std::memcpy(static_cast<char*>(data) + i * static_cast<int64_t>(sizeof(T)), &value, sizeof(T));
}

float from_bfloat16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value = 0;
  std::memcpy(&value, &wide, 4);
  return value;
}

uint16_t to_bfloat16(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, 4);
  if (std::isnan(value)) {
    return 0x7fc0;
  }
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace

int64_t Tensor::count() const {
  int64_t n = 1;
  for (const int64_t size : shape) {
    n *= size;
  }
  return n;
}

double Tensor::real(int64_t i) const {
  switch (dtype) {
    case DType::kFloat32:
      return load<float>(data, i);
    case DType::kFloat64:
      return load<double>(data, i);
    case DType::kFloat16:
      return static_cast<double>(load<_Float16>(data, i));
    case DType::kBFloat16:
      return from_bfloat16(load<uint16_t>(data, i));
    default:
      return static_cast<double>(integer(i));
  }
}

int64_t Tensor::integer(int64_t i) const {
  switch (dtype) {
    case DType::kInt8:
      return load<int8_t>(data, i);
    case DType::kUInt8:
      return load<uint8_t>(data, i);
    case DType::kInt16:
      return load<int16_t>(data, i);
    case DType::kInt32:
      return load<int32_t>(data, i);
    case DType::kInt64:
      return load<int64_t>(data, i);
    case DType::kBool:
      return load<uint8_t>(data, i) != 0 ? 1 : 0;
    default: {
      const double value = real(i);
      // What x86's conversion gives for what does not fit, NaN too.
      return value >= -9.2233720368547758e18 && value < 9.2233720368547758e18
                 ? static_cast<int64_t>(value)
                 : INT64_MIN;
    }
  }
}

void Tensor::put_real(int64_t i, double value) {
  switch (dtype) {
    case DType::kFloat32:
      return store(data, i, static_cast<float>(value));
    case DType::kFloat64:
      return store(data, i, value);
    case DType::kFloat16:
      return store(data, i, static_cast<_Float16>(static_cast<float>(value)));
    case DType::kBFloat16:
      return store(data, i, to_bfloat16(static_cast<float>(value)));
    case DType::kBool:
      return store(data, i, static_cast<uint8_t>(value != 0 ? 1 : 0));
    case DType::kInt64: {
      const bool fits = value >= -9.2233720368547758e18 && value < 9.2233720368547758e18;
      return put_integer(i, fits ? static_cast<int64_t>(value) : INT64_MIN);
    }
    default: {  // smaller integers wrap, after a conversion to 32 bits
      const bool fits = value >= -2147483648.0 && value < 2147483648.0;
      return put_integer(i, fits ? static_cast<int64_t>(value) : INT32_MIN);
    }
  }
}

void Tensor::put_integer(int64_t i, int64_t value) {
  switch (dtype) {
    case DType::kInt8:
      return store(data, i, static_cast<int8_t>(value));
    case DType::kUInt8:
      return store(data, i, static_cast<uint8_t>(value));
    case DType::kInt16:
      return store(data, i, static_cast<int16_t>(value));
    case DType::kInt32:
      return store(data, i, static_cast<int32_t>(value));
    case DType::kInt64:
      return store(data, i, value);
    case DType::kBool:
      return store(data, i, static_cast<uint8_t>(value != 0 ? 1 : 0));
    case DType::kFloat32:
      return store(data, i, static_cast<float>(value));
    default:
      return put_real(i, static_cast<double>(value));
  }
}

void Tensor::copy(int64_t to, const Tensor& from, int64_t i) {
  const int64_t bytes = dtype_bytes(dtype);
  std::memcpy(static_cast<char*>(data) + to * bytes,
              static_cast<const char*>(from.data) + i * bytes, static_cast<size_t>(bytes));
}

std::vector<int64_t> strides_of(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t k = shape.size(); k-- > 1;) {
    strides[k - 1] = strides[k] * shape[k];
  }
  return strides;
}

int64_t offset_of(const std::vector<int64_t>& index, const std::vector<int64_t>& strides) {
  int64_t offset = 0;
  for (size_t k = 0; k < index.size(); ++k) {
    offset += index[k] * strides[k];
  }
  return offset;
}

int64_t broadcast_offset(const std::vector<int64_t>& index, const Tensor& tensor) {
  const size_t lead = index.size() - tensor.shape.size();
  int64_t offset = 0;
  for (size_t k = 0; k < tensor.shape.size(); ++k) {
    offset = offset * tensor.shape[k] + (tensor.shape[k] == 1 ? 0 : index[lead + k]);
  }
  return offset;
}

}  // namespace stator::reference
