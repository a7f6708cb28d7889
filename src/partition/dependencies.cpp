// SPDX-License-Identifier: Apache-2.0
#include "partition/dependencies.h"

#include <algorithm>
#include <map>
#include <set>

#include "graph/schema.h"
#include "graph/uses.h"

namespace stator {
namespace {

/// Symbols that a caller's arguments give.
std::set<std::string> symbols_of_inputs(const Graph& graph) {
  std::set<std::string> names;
  for (const GraphInput& input : graph.inputs) {
    collect_symbols(graph.value(input.value), names);
  }
  graph.bounds.expand(&names);
  return names;
}

void unique(std::vector<int>& items) {
  std::sort(items.begin(), items.end());
  items.erase(std::unique(items.begin(), items.end()), items.end());
}

}  // namespace

std::vector<ValueId> values_used(const Node& node) {
  std::vector<ValueId> used;
  const auto add = [&](ValueId id) {
    if (std::find(used.begin(), used.end(), id) == used.end()) {
      used.push_back(id);
    }
  };
  for (const NamedArgument& arg : node.args) {
    for_each_use(arg.value, add);
  }
  return used;
}

std::set<std::string> symbols_of(const Graph& graph, const Node& node) {
  std::set<std::string> names;
  for (const NamedArgument& arg : node.args) {
    collect_symbols(arg.value, names);
  }
  for (const ValueId id : node.outputs) {
    collect_symbols(graph.value(id), names);
  }
  graph.bounds.expand(&names);
  return names;
}

bool writes_argument(const Node& node) {
  const Schema* schema = find_schema(node.target);
  return schema != nullptr && schema->is_mutating;
}

Dependencies find_dependencies(const Graph& graph) {
  const std::vector<NodeId>& order = graph.order();
  Dependencies d;
  d.before.resize(order.size());
  d.after.resize(order.size());
  std::map<ValueId, int> producer;
  std::map<std::string, int> symbol_source;
  const std::set<std::string> given = symbols_of_inputs(graph);
  int last_write = -1, last_draw = -1;
  for (int at = 0; at < static_cast<int>(order.size()); ++at) {
    const Node& node = graph.node(order[static_cast<size_t>(at)]);
    std::vector<int>& before = d.before[static_cast<size_t>(at)];
    for (const ValueId id : values_used(node)) {
      if (const auto it = producer.find(id); it != producer.end()) {
        before.push_back(it->second);
      }
    }
    for (const std::string& name : symbols_of(graph, node)) {
      if (given.count(name) == 0) {
        const auto [it, first] = symbol_source.emplace(name, at);
        if (!first) {
          before.push_back(it->second);
        }
      }
    }
    if (last_write >= 0) {
      before.push_back(last_write);
    }
    if (writes_argument(node)) {
      for (int earlier = last_write + 1; earlier < at; ++earlier) {
        before.push_back(earlier);
      }
      last_write = at;
    }
    if (draws_random_numbers(node)) {
      if (last_draw >= 0) {
        before.push_back(last_draw);
      }
      last_draw = at;
    }
    for (const ValueId id : node.outputs) {
      producer[id] = at;
    }
    unique(before);
    for (const int earlier : before) {
      d.after[static_cast<size_t>(earlier)].push_back(at);
    }
  }
  return d;
}

}  // namespace stator
