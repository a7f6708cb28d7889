// SPDX-License-Identifier: Apache-2.0
//
// Written values are found by walking the graph once. A write to a value that nobody aliases is a
// new value, which every later use takes. Aliases come from operators that return views.
#include <map>
#include <set>

#include "graph/operator_set.h"
#include "graph/schema.h"
#include "graph/strides.h"
#include "graph/uses.h"
#include "lowering/passes/passes.h"

namespace stator {
namespace {

/// "aten.relu_.default" → "aten.relu.default"; "" when there is no such operator.
std::string functional_target(const std::string& target) {
  const size_t first = target.find('.');
  const size_t second = target.find('.', first + 1);
  if (second == std::string::npos || target[second - 1] != '_') {
    return "";
  }
  std::string name = target;
  name.erase(second - 1, 1);
  if (name == "aten.copy.default" || find_schema(name) != nullptr) {
    return name;
  }
  return "";
}

class Functionalizer {
 public:
  Functionalizer(Graph& graph, const LoweringOptions& options) : graph_(graph), options_(options) {}

  int run() {
    for (const GraphInput& input : graph_.inputs) {
      fixed_.insert(input.value);
    }
    const std::vector<NodeId> order = graph_.order();
    for (size_t i = 0; i < order.size(); ++i) {
      Node& node = graph_.node(order[i]);
      const Schema* schema = find_schema(node.target);
      if (schema == nullptr || node.outputs.empty()) {
        continue;
      }
      if (schema->is_mutating) {
        make_functional(node, order, i);
      } else if ((schema->is_view || is_alias(graph_, node)) && !node.args.empty()) {
        note_views(node);
      }
    }
    return fired_;
  }

 private:
  ValueId root_of(ValueId id) const {
    const auto found = root_.find(id);
    return found == root_.end() ? id : found->second;
  }

  void note_views(const Node& node) {
    if (const auto* self = std::get_if<ValueUse>(&node.args.front().value)) {
      for (const ValueId output : node.outputs) {
        root_[output] = root_of(self->id);
        aliased_.insert(root_of(self->id));
      }
    }
  }

  void make_functional(Node& node, const std::vector<NodeId>& order, size_t at) {
    const auto* self = std::get_if<ValueUse>(&node.args.front().value);
    const std::string target = functional_target(node.target);
    if (self == nullptr || target.empty() || node.outputs.size() != 1 ||
        contains_operator(options_.torch_executed_ops, node)) {
      return;
    }
    const ValueId written = self->id;
    // detach_ and the like write nothing but flags.
    const bool only_flags = target == "aten.detach.default";
    if (!only_flags && (fixed_.contains(root_of(written)) || root_.contains(written) ||
                        aliased_.contains(written))) {
      return;
    }
    node.original_target = node.original_target.empty() ? node.target : node.original_target;
    node.original_name = node.original_name.empty() ? node.name : node.original_name;
    node.target = target;
    if (const Schema* schema = find_schema(target)) {
      if (Result<std::vector<NamedArgument>> args = normalize_arguments(*schema, node.args);
          args.ok()) {
        node.args = std::move(args).value();
      }
    }
    const ValueId fresh = node.outputs.front();
    for (size_t later = at + 1; later < order.size(); ++later) {
      replace(graph_.node(order[later]), written, fresh);
    }
    for (GraphOutput& output : graph_.outputs) {
      if (auto* use = std::get_if<ValueUse>(&output.value); use != nullptr && use->id == written) {
        use->id = fresh;
      }
    }
    if (only_flags) {
      root_[fresh] = root_of(written);
      aliased_.insert(root_of(written));
    }
    ++fired_;
  }

  static void replace(Node& node, ValueId from, ValueId to) {
    for (NamedArgument& arg : node.args) {
      for_each_use(arg.value, [&](ValueId& id) { id = id == from ? to : id; });
    }
  }

  Graph& graph_;
  const LoweringOptions& options_;
  std::set<ValueId> fixed_;          // inputs and constants
  std::map<ValueId, ValueId> root_;  // views → what they look into
  std::set<ValueId> aliased_;        // values with views
  int fired_ = 0;
};

}  // namespace

int functionalize(Graph& graph, const LoweringOptions& options) {
  return Functionalizer(graph, options).run();
}

}  // namespace stator
