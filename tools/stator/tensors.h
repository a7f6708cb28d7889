// SPDX-License-Identifier: Apache-2.0
//
// Tensors from and to files (.npy, .safetensors), and at random, for run, bench and verify.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

#include "stator/result.h"
#include "stator/runtime.h"

namespace stator::cli {

struct Tensor {
  DType dtype = DType::kFloat32;
  std::vector<int64_t> shape;
  TensorData data;  // dense, row-major
};
using NamedTensors = std::map<std::string, Tensor>;

int64_t element_count(const std::vector<int64_t>& shape);

/// NumPy's .npy, format 1 to 3, little-endian, C or Fortran order.
Result<Tensor> read_npy(const std::string& path);
Status write_npy(const std::string& path, const TensorView& tensor);
Result<NamedTensors> read_safetensors(const std::string& path);
Status write_safetensors(const std::string& path,
                         const std::vector<std::pair<std::string, TensorView>>& tensors);

/// Where a command's inputs come from.
struct InputOptions {
  std::vector<std::string> files;   // "x=x.npy"
  std::string archive;              // .safetensors with tensors named as the inputs
  std::vector<std::string> shapes;  // "x=8x128": random values of that shape
  std::vector<int64_t> scalars;
  uint64_t seed = 0;
  int64_t greatest_integer = 1;
  void add_to(CLI::App& app);
  /// One tensor for each input of the engine, in order; names that the engine lacks are errors.
  Result<std::vector<Tensor>> tensors(const Engine& engine) const;
};

/// Sets shapes and addresses. The tensors, and what comes back (their copies on the engine's
/// device), must live until the context has run.
Result<std::vector<TensorData>> bind(ExecutionContext& context, const Engine& engine,
                                     const std::vector<Tensor>& inputs,
                                     const std::vector<int64_t>& scalars);
/// An output in the host's memory; `kept` holds its bytes when the engine's device has its own.
Result<TensorView> host_output(const ExecutionContext& context, const Engine& engine, int index,
                               TensorData* kept);

}  // namespace stator::cli
