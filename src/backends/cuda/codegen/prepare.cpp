// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/prepare.h"

#include <charconv>

#include "backends/cuda/codegen/epilogue.h"
#include "base/float_element.h"

namespace stator::cuda {

bool is_library_dtype(DType dtype) { return dtype == DType::kFloat32 || is_half(dtype); }

const RegionTensor& buffer_tensor(const RegionGraph& graph, const Region& region, int buffer) {
  const auto index = static_cast<size_t>(buffer);
  const size_t inputs = region.inputs.size();
  const int32_t id = index < inputs ? region.inputs[index] : region.outputs[index - inputs];
  return graph.tensors[static_cast<size_t>(id)];
}

int buffer_count(const Region& region) {
  return static_cast<int>(region.inputs.size() + region.outputs.size());
}

LoopRequest loop_request(const RegionGraph& graph, const Region& region, const LoopProgram& program,
                         const std::string& name) {
  LoopRequest request;
  request.program = &program;
  request.bounds = &graph.bounds;
  request.name = name;
  (void)region_signature(graph, region, &request.symbols);
  const auto add = [&](int32_t id, bool written) {
    const TensorType& type = graph.tensors[static_cast<size_t>(id)].type;
    request.buffer_types.push_back(type.dtype);
    request.buffer_elements.push_back(product(type.shape));
    request.written.push_back(written);
  };
  for (const int32_t id : region.inputs) add(id, false);
  for (const int32_t id : region.outputs) add(id, true);
  return request;
}

std::vector<Expr> symbol_sizes(const LoopRequest& request) {
  std::vector<Expr> sizes;
  for (const std::string& symbol : request.symbols) sizes.push_back(Expr::symbol(symbol));
  return sizes;
}

PreparedRegion prepare_kernel(GeneratedKernel kernel, const LoopRequest& request) {
  return prepare_kernel(std::move(kernel), symbol_sizes(request));
}

Expr dense_index(const std::vector<LoopDim>& dims) {
  Expr dense = 0;
  for (size_t k = 0; k < dims.size(); ++k) {
    dense = dense * dims[k].extent + Expr::symbol(index_symbol(static_cast<int>(k)));
  }
  return dense;
}

PreparedRegion prepare_kernel(GeneratedKernel kernel, std::vector<Expr> sizes) {
  PreparedRegion prepared;
  prepared.payload = kernel.payload;
  prepared.launch.task_count = kernel.grid;
  prepared.launch.sizes = std::move(sizes);
  add_sizes(kernel.map_sizes, &prepared.launch.sizes);
  prepared.kernel = std::move(kernel);
  return prepared;
}

PreparedRegion prepare_loop(const RegionGraph& graph, const Region& region,
                            const LoopProgram& program, const std::string& name) {
  const LoopRequest request = loop_request(graph, region, program, name);
  return prepare_kernel(generate_loop(request), request);
}

void add_sizes(const std::vector<Expr>& more, std::vector<Expr>* sizes) {
  sizes->insert(sizes->end(), more.begin(), more.end());
}

int library_proposals(int optimization_level) {
  switch (optimization_level) {
    case 0:
    case 1:
      return 1;
    case 2:
      return 3;
    case 3:
      return 4;
    default:
      return 12;
  }
}

int trailing_number(const std::string& text) {
  int number = 0;
  const size_t space = text.find_last_of(' ');
  std::from_chars(text.data() + space + 1, text.data() + text.size(), number);
  return number;
}

const LoopProgram& epilogue_program(const Region& region) {
  const auto* matmul = std::get_if<MatmulContraction>(&region.body);
  return matmul != nullptr ? matmul->epilogue
                           : std::get<ConvolutionContraction>(region.body).epilogue;
}

void add_epilogue_kernel(const RegionGraph& graph, const Region& region, DType dtype,
                         const Expr& elements, const Expr& row_length, const std::string& name,
                         PreparedRegion* prepared, std::optional<KernelPayload>* payload) {
  const LoopProgram loop =
      as_loop(epilogue_program(region), buffer_count(region), dtype, row_length);
  LoopRequest request = loop_request(graph, region, loop, name);
  request.buffer_types.push_back(dtype);
  request.buffer_elements.push_back(elements);
  request.written.push_back(false);
  prepared->kernel = generate_loop(request);
  *payload = prepared->kernel->payload;
  prepared->launch.sizes.push_back(prepared->kernel->grid);
  for (const Expr& size : symbol_sizes(request)) prepared->launch.sizes.push_back(size);
  prepared->launch.scratch_bytes =
      prepared->launch.scratch_bytes + elements * Expr(dtype_bytes(dtype));
}

std::vector<int64_t> constants(const std::vector<Expr>& sizes, size_t count) {
  std::vector<int64_t> values;
  for (size_t i = 0; i < count; ++i) {
    if (!sizes[i].is_constant()) return {};
    values.push_back(sizes[i].constant());
  }
  return values;
}

}  // namespace stator::cuda
