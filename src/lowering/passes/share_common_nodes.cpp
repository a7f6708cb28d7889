// SPDX-License-Identifier: Apache-2.0
#include <map>

#include "graph/operator_set.h"
#include "graph/schema.h"
#include "graph/strides.h"
#include "lowering/passes/passes.h"

namespace stator {
namespace {

std::string use_key(ValueUse use) {
  return "%" + std::to_string(use.id) + memory_format_name(use.format);
}

/// Whether the caller would get the same memory twice where it is not the same in PyTorch.
bool both_leave(const Graph& graph, const Memory& memory, const Node& a, const Node& b) {
  for (size_t i = 0; i < a.outputs.size(); ++i) {
    const ValueId first = memory.root(a.outputs[i]), second = memory.root(b.outputs[i]);
    const bool same = first == second;
    if (!same && memory.outputs(first) > 0 && memory.outputs(second) > 0) return true;
    if (same && graph.is_output(a.outputs[i]) && graph.is_output(b.outputs[i])) return true;
  }
  return false;
}

/// Everything that a pure node's result depends on, as text.
std::string key_of(const Graph& graph, const Node& node) {
  std::string key = node.target;
  for (const NamedArgument& arg : node.args) {
    key += "|";
    if (const auto* use = std::get_if<ValueUse>(&arg.value)) {
      key += use_key(*use);
    } else if (const auto* uses = std::get_if<std::vector<ValueUse>>(&arg.value)) {
      for (const ValueUse u : *uses) {
        key += use_key(u) + ",";
      }
    } else if (const auto* e = std::get_if<Expr>(&arg.value)) {
      key += e->str();
    } else if (const auto* list = std::get_if<std::vector<Expr>>(&arg.value)) {
      for (const Expr& item : *list) {
        key += item.str() + ",";
      }
    } else if (const auto* real = std::get_if<double>(&arg.value)) {
      key += "f" + std::to_string(*real) + "/" + std::to_string(std::hash<double>()(*real));
    } else if (const auto* flag = std::get_if<bool>(&arg.value)) {
      key += *flag ? "T" : "F";
    } else if (const auto* text = std::get_if<std::string>(&arg.value)) {
      key += "'" + *text;
    } else if (const auto* dtype = std::get_if<DType>(&arg.value)) {
      key += dtype_name(*dtype);
    } else if (!std::holds_alternative<None>(arg.value)) {
      return "";  // devices, formats and objects: rare, left alone
    }
  }
  for (const ValueId output : node.outputs) {
    key += ">" + print_type(graph.value(output));
  }
  return key;
}

}  // namespace

int share_common_nodes(Graph& graph, const LoweringOptions& options) {
  int fired = 0;
  Memory memory(graph);
  std::map<std::string, NodeId> seen;
  const std::vector<NodeId> order = graph.order();
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    if (!is_pure(node) || contains_operator(options.torch_executed_ops, node)) {
      continue;
    }
    const std::string key = key_of(graph, node);
    if (key.empty()) {
      continue;
    }
    const auto [found, fresh] = seen.emplace(key, id);
    if (fresh || both_leave(graph, memory, node, graph.node(found->second))) {
      continue;
    }
    const std::vector<ValueId> kept = graph.node(found->second).outputs;
    for (size_t i = 0; i < kept.size(); ++i) {
      graph.replace_uses(node.outputs[i], kept[i]);
      memory.merge(node.outputs[i], kept[i]);
    }
    graph.remove_node(id);
    ++fired;
  }
  return fired;
}

}  // namespace stator
