// SPDX-License-Identifier: Apache-2.0
#include "lowering/passes/match.h"

#include <algorithm>

namespace stator {

ValueId tensor_operand(const Node& node, std::string_view arg) {
  const Argument* value = node.find(arg);
  const auto* use = value == nullptr ? nullptr : std::get_if<ValueUse>(value);
  return use == nullptr ? kNoValue : use->id;
}

Matcher::Matcher(Graph& graph) : graph_(graph) {
  for (const std::vector<NodeId>& users : graph.users()) {
    uses_.push_back(static_cast<int>(users.size()));
  }
  for (const GraphOutput& output : graph.outputs) {
    if (const auto* use = std::get_if<ValueUse>(&output.value)) {
      ++uses_[static_cast<size_t>(use->id)];
    }
  }
}

const Node* Matcher::producer(ValueId id, std::initializer_list<std::string_view> targets) const {
  if (id == kNoValue || graph_.value(id).producer < 0) {
    return nullptr;
  }
  const Node& node = graph_.node(graph_.value(id).producer);
  const bool wanted = std::any_of(targets.begin(), targets.end(),
                                  [&node](std::string_view t) { return node.target == t; });
  return wanted ? &node : nullptr;
}

std::optional<double> Matcher::number(const Node& node, std::string_view arg) const {
  const Argument* value = node.find(arg);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (const auto* real = std::get_if<double>(value)) {
    return *real;
  }
  if (const auto* integer = std::get_if<Expr>(value);
      integer != nullptr && integer->is_constant()) {
    return static_cast<double>(integer->constant());
  }
  const auto* use = std::get_if<ValueUse>(value);
  if (use == nullptr) {
    return std::nullopt;
  }
  const GraphInput* constant = graph_.constant(use->id);
  if (constant == nullptr || constant->data.data == nullptr) {
    return std::nullopt;
  }
  const DType dtype = graph_.value(use->id).tensor.dtype;
  if (constant->data.size_bytes != dtype_bytes(dtype)) {
    return std::nullopt;
  }
  switch (dtype) {
    case DType::kFloat32:
      return *constant->data.as<float>();
    case DType::kFloat64:
      return *constant->data.as<double>();
    case DType::kInt64:
      return static_cast<double>(*constant->data.as<int64_t>());
    default:
      return std::nullopt;
  }
}

void Matcher::replace(const Node& at, std::string target, std::vector<NamedArgument> args) {
  const ValueId old = at.outputs.front();
  Value value = graph_.value(old);
  value.producer = -1;
  const ValueId fresh = graph_.add_value(std::move(value));
  uses_.push_back(uses_[static_cast<size_t>(old)]);
  Node node;
  node.name = graph_.value(fresh).name;
  node.target = std::move(target);
  node.args = std::move(args);
  node.outputs = {fresh};
  node.stack = at.stack;
  node.original_target = at.original_target.empty() ? at.target : at.original_target;
  node.original_name = at.original_name.empty() ? at.name : at.original_name;
  const NodeId before = at.id;
  graph_.add_node(std::move(node), before);
  graph_.replace_uses(old, fresh);
}

}  // namespace stator
