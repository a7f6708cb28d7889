// SPDX-License-Identifier: Apache-2.0
#include "pt2/check_types.h"

#include <algorithm>

#include "graph/schema.h"

namespace stator {
namespace {

Error contradiction(const Node& node, const std::string& what) {
  const std::string source = node.source().str();
  return Error{ErrorCode::kInvalidFile, "node '" + node.name + "' (" + node.target + ")" +
                                            (source.empty() ? "" : " at " + source) + ": " + what +
                                            "; the archive contradicts itself"};
}

std::vector<const Value*> tensor_operands(const Graph& graph, const Node& node) {
  std::vector<const Value*> operands;
  const auto add = [&](ValueId id) {
    if (id != kNoValue && graph.value(id).kind == ValueKind::kTensor) {
      operands.push_back(&graph.value(id));
    }
  };
  for (const NamedArgument& argument : node.args) {
    if (const auto* use = std::get_if<ValueUse>(&argument.value)) add(use->id);
  }
  return operands;
}

/// "operand %x f32[4, 8]".
std::string operand_text(const Value& value) {
  return "operand %" + value.name + " is " + print_type(value);
}

/// Whether a dimension may be what two sizes broadcast to; only what is proved is wrong.
bool broadcasts(const Expr& operand, const Expr& result, const Bounds& bounds) {
  return operand.is_constant(1) || !bounds.proves_not_equal(operand, result);
}

Status check_pointwise(const Graph& graph, const Node& node, const Value& result) {
  const std::vector<const Value*> operands = tensor_operands(graph, node);
  if (operands.empty()) return {};
  size_t rank = 0;
  for (const Value* operand : operands) rank = std::max(rank, operand->tensor.shape.size());
  const std::vector<Expr>& shape = result.tensor.shape;
  if (shape.size() != rank) {
    return contradiction(
        node, "the result is " + print_type(result) + ", " + operand_text(*operands.front()));
  }
  std::vector<bool> all_one(rank, true);
  for (const Value* operand : operands) {
    const std::vector<Expr>& sizes = operand->tensor.shape;
    for (size_t k = 0; k < sizes.size(); ++k) {
      const size_t d = rank - sizes.size() + k;
      if (!broadcasts(sizes[k], shape[d], graph.bounds)) {
        return contradiction(node,
                             "the result is " + print_type(result) + ", " + operand_text(*operand));
      }
      all_one[d] = all_one[d] && sizes[k].is_constant(1);
    }
  }
  for (size_t d = 0; d < rank; ++d) {
    if (all_one[d] && graph.bounds.proves_not_equal(shape[d], Expr(1))) {
      return contradiction(
          node, "the result is " + print_type(result) + ", " + operand_text(*operands.front()));
    }
  }
  return {};
}

/// Views of the same bytes as numbers of another type, and conversions, which give their argument
/// itself where there is nothing to convert.
bool changes_dtype(const std::string& target) {
  return target.starts_with("aten.to.") || target.starts_with("aten.type_as.") ||
         target.starts_with("aten.view_as_") || target == "aten.view.dtype" ||
         target.starts_with("aten.real") || target.starts_with("aten.imag") ||
         target.starts_with("aten._view_as");
}

Status check_view(const Graph& graph, const Node& node, const Value& result) {
  const std::vector<const Value*> operands = tensor_operands(graph, node);
  if (operands.empty() || changes_dtype(node.target)) return {};
  if (operands.front()->tensor.dtype == result.tensor.dtype) return {};
  return contradiction(
      node, "the view is " + print_type(result) + ", " + operand_text(*operands.front()));
}

Status check_node(const Graph& graph, const Node& node) {
  const Schema* schema = find_schema(node.target);
  if (schema == nullptr) return {};
  if (schema->output_count >= 1 &&
      node.outputs.size() != static_cast<size_t>(schema->output_count)) {
    return contradiction(node, "it has " + std::to_string(node.outputs.size()) + " results, its " +
                                   "schema " + std::to_string(schema->output_count));
  }
  for (const ValueId id : node.outputs) {
    const Value& result = graph.value(id);
    if (result.kind != ValueKind::kTensor) continue;
    if (schema->is_pointwise) STATOR_RETURN_IF_ERROR(check_pointwise(graph, node, result));
    if (schema->is_view) STATOR_RETURN_IF_ERROR(check_view(graph, node, result));
  }
  return {};
}

}  // namespace

Status check_types(const Graph& graph) {
  for (const NodeId id : graph.order()) {
    STATOR_RETURN_IF_ERROR(check_node(graph, graph.node(id)));
  }
  return {};
}

}  // namespace stator
