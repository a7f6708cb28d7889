// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/kernel_frame.h"

#include <utility>

#include "backends/cuda/codegen/source_text.h"

namespace stator::cuda {
namespace {

bool fits_int(const LoopRequest& request) {
  std::vector<Expr> counts = request.buffer_elements;
  Expr points = 1;
  for (const LoopDim& dim : request.program->dims) points = points * dim.extent;
  counts.push_back(points);
  for (const Expr& count : counts) {
    const std::optional<int64_t> greatest = request.bounds->greatest(count);
    if (!greatest.has_value() || *greatest > (int64_t{1} << 30)) return false;
  }
  return true;
}

}  // namespace

KernelScope make_scope(const LoopRequest& request) {
  KernelScope scope;
  scope.program = request.program;
  scope.buffer_types = request.buffer_types;
  scope.rounded = ops_rounded_to_halves(*request.program);
  scope.bounds = request.program->index_bounds(*request.bounds);
  for (size_t i = 0; i < request.symbols.size(); ++i) {
    scope.sizes[request.symbols[i]] = "z" + num(i);
  }
  scope.index_type = fits_int(request) ? "int" : "i64";
  return scope;
}

std::string kernel_head(const LoopRequest& request, const KernelScope& scope,
                        const std::string& bounds, int maps, int cluster) {
  std::string s = "struct " + request.name + "_args {\n";
  if (maps > 0) s += "  TensorMap maps[" + std::to_string(maps) + "];\n";
  if (!request.buffer_types.empty()) s += "  void* b[" + num(request.buffer_types.size()) + "];\n";
  if (!request.symbols.empty()) s += "  i64 s[" + num(request.symbols.size()) + "];\n";
  s += "  i64* fault;\n  i64 step;\n};\n";
  s += "extern \"C\" __global__ void ";
  if (cluster > 1) s += "__cluster_dims__(" + std::to_string(cluster) + ", 1, 1) ";
  s += "__launch_bounds__(" + bounds + ") " + request.name + "(const __grid_constant__ " +
       request.name + "_args a) {\n";
  if (maps == 0) s += "  begin_kernel();\n";
  for (size_t i = 0; i < request.buffer_types.size(); ++i) {
    const std::string type = std::string(request.written[i] ? "" : "const ") +
                             memory_type(request.buffer_types[i]) + "*";
    s += "  " + type + " __restrict__ b" + num(i) + " = (" + type + ")a.b[" + num(i) + "];\n";
  }
  for (size_t i = 0; i < request.symbols.size(); ++i) {
    s += "  const " + scope.index_type + " z" + num(i) + " = (" + scope.index_type + ")a.s[" +
         num(i) + "];\n";
  }
  return s + "  const Fault fault{a.fault, a.step};\n";
}

GeneratedKernel finish_kernel(const LoopRequest& request, std::string source, int threads,
                              int64_t shared_bytes, const Expr& grid) {
  return finish_kernel(request.name, request.buffer_types.size(), request.symbols.size(),
                       std::move(source), threads, shared_bytes, grid);
}

GeneratedKernel finish_kernel(const std::string& function, size_t buffers, size_t sizes,
                              std::string source, int threads, int64_t shared_bytes,
                              const Expr& grid) {
  GeneratedKernel kernel;
  kernel.source = std::move(source);
  kernel.payload.function = function;
  kernel.payload.threads = threads;
  kernel.payload.shared_bytes = static_cast<int>(shared_bytes);
  kernel.payload.buffers = static_cast<int>(buffers);
  kernel.payload.sizes = static_cast<int>(sizes);
  kernel.grid = grid;
  return kernel;
}

}  // namespace stator::cuda
