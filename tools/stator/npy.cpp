// SPDX-License-Identifier: Apache-2.0
//
// .npy: "\x93NUMPY", version, header length, a Python dict as text, then the data
// (numpy.lib.format).
#include <charconv>
#include <cstring>

#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "tensors.h"

namespace stator::cli {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

struct Code {
  const char* text;
  DType dtype;
};
constexpr Code kCodes[] = {
    {"<f4", DType::kFloat32}, {"<f8", DType::kFloat64}, {"<f2", DType::kFloat16},
    {"|i1", DType::kInt8},    {"|u1", DType::kUInt8},   {"<i2", DType::kInt16},
    {"<i4", DType::kInt32},   {"<i8", DType::kInt64},   {"|b1", DType::kBool},
};

Error bad(const std::string& path, const std::string& what) {
  return Error{ErrorCode::kInvalidFile, path + ": " + what};
}

/// The text after `key` and a colon.
std::string_view after(std::string_view header, std::string_view key) {
  const size_t at = header.find("'" + std::string(key) + "':");
  if (at == std::string_view::npos) {
    return {};
  }
  header.remove_prefix(at + key.size() + 3);
  while (!header.empty() && header.front() == ' ') {
    header.remove_prefix(1);
  }
  return header;
}

Result<std::vector<int64_t>> parse_shape(const std::string& path, std::string_view text) {
  std::vector<int64_t> shape;
  int64_t count = 1;
  if (text.empty() || text.front() != '(') {
    return bad(path, "its header has no shape");
  }
  const char* p = text.data() + 1;
  const char* const end = text.data() + text.size();
  while (p < end && *p != ')') {
    if (*p == ' ' || *p == ',') {
      ++p;
      continue;
    }
    int64_t size = 0;
    const auto [next, error] = std::from_chars(p, end, size);
    if (error != std::errc() || size < 0 || __builtin_mul_overflow(count, size, &count)) {
      return bad(path, "its header has a damaged shape");
    }
    shape.push_back(size);
    p = next;
  }
  return shape;
}

/// Column-major bytes → row-major.
TensorData transposed(const Tensor& tensor, const uint8_t* source) {
  void* writable = nullptr;
  const int64_t bytes = dtype_bytes(tensor.dtype);
  const int64_t count = element_count(tensor.shape);
  TensorData data = TensorData::allocate(count * bytes, &writable);
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i;
    int64_t offset = 0;
    int64_t stride = count;
    for (size_t k = tensor.shape.size(); k-- > 0;) {
      stride /= tensor.shape[k];
      offset += (rest % tensor.shape[k]) * stride;
      rest /= tensor.shape[k];
    }
    std::memcpy(static_cast<uint8_t*>(writable) + i * bytes, source + offset * bytes,
                static_cast<size_t>(bytes));
  }
  return data;
}

}  // namespace

Result<Tensor> read_npy(const std::string& path) {
  STATOR_TRY(const MappedFile file, MappedFile::open(path));
  const int64_t size = file.size_bytes();
  if (size < 10 || std::memcmp(file.data(), kMagic.data(), kMagic.size()) != 0) {
    return bad(path, "it is no .npy file");
  }
  int64_t begin = 10;
  int64_t length = file.data()[8] | file.data()[9] << 8;
  if (file.data()[6] >= 2) {
    if (size < 12) {
      return bad(path, "it is truncated");
    }
    uint32_t wide = 0;
    std::memcpy(&wide, file.data() + 8, 4);
    begin = 12;
    length = wide;
  }
  if (begin + length > size) {
    return bad(path, "it is truncated");
  }
  const std::string_view header(reinterpret_cast<const char*>(file.data() + begin),
                                static_cast<size_t>(length));
  Tensor tensor;
  const std::string_view descr = after(header, "descr");
  bool known = false;
  for (const Code& code : kCodes) {
    if (descr.substr(1, 3) == code.text) {
      tensor.dtype = code.dtype;
      known = true;
    }
  }
  if (!known) {
    return bad(path, "its element type " + std::string(descr.substr(0, 5)) + " is not supported");
  }
  STATOR_TRY(tensor.shape, parse_shape(path, after(header, "shape")));
  const int64_t bytes = element_count(tensor.shape) * dtype_bytes(tensor.dtype);
  if (size - begin - length < bytes) {
    return bad(path, "it is truncated");
  }
  tensor.data = file.slice(begin + length, bytes);
  if (after(header, "fortran_order").starts_with("True") && tensor.shape.size() > 1) {
    tensor.data = transposed(tensor, file.data() + begin + length);
  }
  return tensor;
}

Status write_npy(const std::string& path, const TensorView& tensor) {
  std::string code;
  for (const Code& known : kCodes) {
    if (known.dtype == tensor.dtype) {
      code = known.text;
    }
  }
  if (code.empty()) {
    return Error{ErrorCode::kUnsupported, path + ": .npy has no element type " +
                                              dtype_name(tensor.dtype) +
                                              "; write a .safetensors file"};
  }
  std::string header = "{'descr': '" + code + "', 'fortran_order': False, 'shape': (";
  for (const int64_t size : tensor.shape) {
    header += std::to_string(size) + ", ";
  }
  header += "), }";
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  std::string prefix(kMagic);
  prefix += '\x01';
  prefix += '\0';
  prefix += static_cast<char>(header.size() & 255);
  prefix += static_cast<char>(header.size() >> 8);
  STATOR_TRY(AtomicFile file, AtomicFile::create(path));
  STATOR_RETURN_IF_ERROR(file.write(prefix.data(), static_cast<int64_t>(prefix.size())));
  STATOR_RETURN_IF_ERROR(file.write(header.data(), static_cast<int64_t>(header.size())));
  STATOR_RETURN_IF_ERROR(file.write(tensor.data, tensor.size_bytes()));
  return file.commit();
}

}  // namespace stator::cli
