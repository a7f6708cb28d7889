// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include "graph/operator_set.h"
#include "graph/schema.h"
#include "graph/strides.h"
#include "graph/uses.h"
#include "lowering/passes/passes.h"

namespace stator {
namespace {

constexpr int64_t kSlackBytes = int64_t{1} << 20;

/// Bytes of a tensor of fixed sizes; -1 for others.
int64_t fixed_bytes(const Value& value) {
  if (value.kind != ValueKind::kTensor) {
    return -1;
  }
  int64_t bytes = dtype_bytes(value.tensor.dtype);
  for (const Expr& size : value.tensor.shape) {
    if (!size.is_constant()) {
      return -1;
    }
    bytes *= size.constant();
  }
  return bytes;
}

bool has_symbols(const Argument& argument) {
  std::set<std::string> names;
  collect_symbols(argument, names);
  return !names.empty();
}

/// Bytes of the constants that a node reads; -1 when it reads anything else.
int64_t constant_input_bytes(const Graph& graph, const Node& node) {
  int64_t total = 0;
  for (const NamedArgument& arg : node.args) {
    bool readable = true;
    for_each_use(arg.value, [&](ValueId id) {
      const GraphInput* constant = graph.constant(id);
      readable = readable && constant != nullptr && constant->data.data != nullptr;
      total += readable ? constant->data.size_bytes : 0;
    });
    if (!readable || has_symbols(arg.value)) {
      return -1;
    }
  }
  return total;
}

/// Moving weights around is the builder's work, which packs them anyway: folding a transpose would
/// only make a second copy.
bool only_moves(const std::string& target) {
  static constexpr const char* kViews[] = {"aten.t.default",         "aten.transpose.int",
                                           "aten.permute.default",   "aten.view.default",
                                           "aten.reshape.default",   "aten.expand.default",
                                           "aten.unsqueeze.default", "aten.numpy_T.default"};
  return std::find(std::begin(kViews), std::end(kViews), target) != std::end(kViews);
}

/// What says that weights are integers with a scale: products are computed on the integers.
bool marks_quantization(const std::string& target) {
  return target.starts_with("quantized_decomposed.dequantize_") ||
         target.starts_with("aten.fake_quantize_") || target.starts_with("tensorrt.quantize_op");
}

bool foldable(const Graph& graph, const Node& node) {
  if (!is_pure(node) || node.outputs.empty() || marks_quantization(node.target)) {
    return false;
  }
  const int64_t input_bytes = constant_input_bytes(graph, node);
  if (input_bytes < 0 || (only_moves(node.target) && input_bytes > kSlackBytes)) {
    return false;
  }
  int64_t output_bytes = 0;
  for (const ValueId id : node.outputs) {
    const int64_t bytes = fixed_bytes(graph.value(id));
    if (bytes < 0) {
      return false;
    }
    output_bytes += bytes;
  }
  return output_bytes <= input_bytes + kSlackBytes;
}

/// Whether the caller could tell the node's results from constants of the graph: a view of a weight
/// is that weight's memory, and a constant is row-major.
bool shows(const Graph& graph, const Memory& memory, const Node& node) {
  const bool alias = is_alias(graph, node);
  return std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId id) {
    return (alias && memory.outputs(memory.root(id)) > 0) ||
           (graph.is_output(id) && !is_row_major(graph.value(id).tensor, graph.bounds));
  });
}

}  // namespace

int fold_constants(Graph& graph, const LoweringOptions& options) {
  if (!options.evaluate_constant) {
    return 0;
  }
  int fired = 0;
  const Memory memory(graph);
  const std::vector<NodeId> order = graph.order();
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    if (contains_operator(options.torch_executed_ops, node) || !foldable(graph, node) ||
        shows(graph, memory, node)) {
      continue;
    }
    Result<std::vector<TensorData>> results = options.evaluate_constant(graph, node);
    if (!results.ok() || results->size() != node.outputs.size()) {
      continue;
    }
    const std::vector<ValueId> outputs = node.outputs;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if ((*results)[i].data == nullptr) {
        continue;  // nobody uses it
      }
      const Value value = graph.value(outputs[i]);
      TensorMeta meta = value.tensor;
      meta.strides.clear();
      const ValueId constant =
          graph.add_constant(value.name + "_folded", std::move(meta), (*results)[i]);
      graph.replace_uses(outputs[i], constant);
    }
    graph.remove_node(id);
    ++fired;
  }
  return fired;
}

}  // namespace stator
