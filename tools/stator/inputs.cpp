// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>
#include <cstring>
#include <random>

#include "base/allocate.h"
#include "commands.h"
#include "tensors.h"

namespace stator::cli {
namespace {

Result<std::vector<int64_t>> parse_shape(const std::string& text) {
  std::vector<int64_t> shape;
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    int64_t size = 0;
    const auto [next, error] = std::from_chars(p, end, size);
    if (error != std::errc() || size < 0 || (next != end && *next != 'x')) {
      return Error{ErrorCode::kInvalidArgument,
                   "'" + text + "' is not a shape; write sizes with x between: 8x128"};
    }
    shape.push_back(size);
    p = next == end ? next : next + 1;
  }
  return shape;
}

/// The shape of an input nobody described: fixed sizes as they are, others the least one from 2 on.
std::vector<int64_t> default_shape(const TensorInfo& info) {
  std::vector<int64_t> shape = info.shape;
  for (size_t k = 0; k < shape.size(); ++k) {
    if (shape[k] < 0) {
      shape[k] = std::min(std::max<int64_t>(info.least[k], 2), info.greatest[k]);
    }
  }
  return shape;
}

template <typename T, typename Draw>
void fill(void* data, int64_t count, const Draw& draw) {
  T* out = static_cast<T*>(data);
  for (int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<T>(draw());
  }
}

uint16_t bfloat16_bits(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, 4);
  return static_cast<uint16_t>(bits >> 16);
}

Result<Tensor> random_tensor(const TensorInfo& info, std::vector<int64_t> shape,
                             int64_t greatest_integer, std::mt19937_64& engine) {
  Tensor tensor{info.dtype, std::move(shape), {}};
  int64_t bytes = dtype_bytes(info.dtype);
  for (const int64_t size : tensor.shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes)) {
      return Error{ErrorCode::kInvalidArgument,
                   "input '" + info.name + "' cannot have the size " + std::to_string(size)};
    }
  }
  void* data = nullptr;
  Result<TensorData> memory = allocate_if_there_is(bytes, &data);
  if (!memory.ok()) return memory.error().in("input '" + info.name + "'");
  tensor.data = std::move(memory).value();
  const int64_t count = bytes / dtype_bytes(info.dtype);
  std::normal_distribution<float> normal;
  std::uniform_int_distribution<int64_t> integer(0, greatest_integer);
  const auto real = [&] { return normal(engine); };
  const auto whole = [&] { return integer(engine); };
  switch (info.dtype) {
    case DType::kFloat32:
      fill<float>(data, count, real);
      break;
    case DType::kFloat64:
      fill<double>(data, count, real);
      break;
    case DType::kBFloat16:
      fill<uint16_t>(data, count, [&] { return bfloat16_bits(real()); });
      break;
    case DType::kFloat16:
      fill<_Float16>(data, count, real);
      break;
    case DType::kBool:
      fill<uint8_t>(data, count, [&] { return whole() & 1; });
      break;
    case DType::kInt8:
    case DType::kUInt8:
      fill<uint8_t>(data, count, whole);
      break;
    case DType::kInt16:
      fill<int16_t>(data, count, whole);
      break;
    case DType::kInt32:
      fill<int32_t>(data, count, whole);
      break;
    case DType::kInt64:
      fill<int64_t>(data, count, whole);
      break;
    default:
      return Error{ErrorCode::kUnsupported, "input '" + info.name + "' is " +
                                                dtype_name(info.dtype) +
                                                ", which cannot be drawn at random"};
  }
  return tensor;
}

std::string names_of(const Engine& engine) {
  std::string s;
  for (const TensorInfo& info : engine.inputs()) {
    s += (s.empty() ? "" : ", ") + info.name;
  }
  return s;
}

Status check_name(const Engine& engine, const std::string& name) {
  for (const TensorInfo& info : engine.inputs()) {
    if (info.name == name) {
      return {};
    }
  }
  return Error{ErrorCode::kInvalidArgument,
               "the engine has no input '" + name + "'; its inputs are " + names_of(engine)};
}

}  // namespace

int64_t element_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    count *= size;
  }
  return count;
}

void InputOptions::add_to(CLI::App& app) {
  app.add_option("--input", files, "One input from a file: --input x=x.npy")->take_all();
  app.add_option("--inputs", archive, "A .safetensors file with tensors named as the inputs");
  app.add_option("--shape", shapes, "Shape of an input drawn at random: --shape x=8x128")
      ->take_all();
  app.add_option("--scalar", scalars, "Values of the integer inputs, in order");
  app.add_option("--seed", seed, "Seed of the random inputs")->capture_default_str();
  app.add_option("--max-int", greatest_integer, "Greatest value in random integer inputs")
      ->capture_default_str();
}

Result<std::vector<Tensor>> InputOptions::tensors(const Engine& engine) const {
  NamedTensors given;
  if (!archive.empty()) {
    STATOR_TRY(given, read_safetensors(archive));
  }
  for (const std::string& text : files) {
    STATOR_TRY(const auto pair, split_assignment(text));
    STATOR_TRY(given[pair.first], read_npy(pair.second));
  }
  std::map<std::string, std::vector<int64_t>> wanted;
  for (const std::string& text : shapes) {
    STATOR_TRY(const auto pair, split_assignment(text));
    STATOR_RETURN_IF_ERROR(check_name(engine, pair.first));
    STATOR_TRY(wanted[pair.first], parse_shape(pair.second));
  }
  for (const auto& [name, tensor] : given) {
    STATOR_RETURN_IF_ERROR(check_name(engine, name));
  }
  std::mt19937_64 random(seed);
  std::vector<Tensor> inputs;
  for (const TensorInfo& info : engine.inputs()) {
    if (const auto found = given.find(info.name); found != given.end()) {
      if (found->second.dtype != info.dtype) {
        return Error{ErrorCode::kInvalidArgument, "input '" + info.name + "' must be " +
                                                      dtype_name(info.dtype) + ", got " +
                                                      dtype_name(found->second.dtype)};
      }
      inputs.push_back(found->second);
      continue;
    }
    const auto shape = wanted.find(info.name);
    STATOR_TRY(Tensor tensor,
               random_tensor(info, shape == wanted.end() ? default_shape(info) : shape->second,
                             greatest_integer, random));
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

Result<std::vector<TensorData>> bind(ExecutionContext& context, const Engine& engine,
                                     const std::vector<Tensor>& inputs,
                                     const std::vector<int64_t>& scalars) {
  std::vector<std::vector<int64_t>> shapes;
  for (const Tensor& tensor : inputs) {
    shapes.push_back(tensor.shape);
  }
  STATOR_RETURN_IF_ERROR(context.set_shapes(shapes, scalars));
  std::vector<TensorData> kept;
  for (size_t i = 0; i < engine.inputs().size(); ++i) {
    const std::vector<int64_t>& order = engine.inputs()[i].order;
    TensorData host = inputs[i].data;
    if (!order.empty()) {  // files hold row-major tensors
      const TensorData rows = host;
      void* turned = nullptr;
      host = TensorData::allocate(std::max<int64_t>(rows.size_bytes, 1), &turned);
      host.size_bytes = rows.size_bytes;
      copy_in_order({const_cast<void*>(rows.data), inputs[i].dtype, inputs[i].shape, {}}, order,
                    turned);
      kept.push_back(host);
    }
    const void* address = host.data;
    if (!engine.host_memory()) {
      void* device = nullptr;
      STATOR_TRY(TensorData copy, engine.allocate(std::max<int64_t>(host.size_bytes, 1), &device));
      STATOR_RETURN_IF_ERROR(engine.copy_to_device(device, host.data, host.size_bytes));
      address = device;
      kept.push_back(std::move(copy));
    }
    STATOR_RETURN_IF_ERROR(context.set_input(static_cast<int>(i), address));
  }
  return kept;
}

Result<TensorView> host_output(const ExecutionContext& context, const Engine& engine, int index,
                               TensorData* kept) {
  TensorView view = context.output(index);
  if (!engine.host_memory()) {
    void* host = nullptr;
    *kept = TensorData::allocate(std::max<int64_t>(view.size_bytes(), 1), &host);
    STATOR_RETURN_IF_ERROR(engine.copy_to_host(host, view.data, view.size_bytes()));
    view.data = host;
  }
  if (!view.order.empty()) {
    const TensorData held = *kept;
    void* rows = nullptr;
    *kept = TensorData::allocate(std::max<int64_t>(view.size_bytes(), 1), &rows);
    copy_in_order(view, {}, rows);
    view.data = rows;
    view.order.clear();
  }
  return view;
}

}  // namespace stator::cli
