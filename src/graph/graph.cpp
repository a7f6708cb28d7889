// SPDX-License-Identifier: Apache-2.0
#include "stator/graph.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/check.h"
#include "graph/schema.h"
#include "graph/uses.h"

namespace stator {
namespace {

/// Python's arithmetic on sizes and truths, which only its result is wanted of.
bool is_arithmetic(const std::string& target) {
  static const std::set<std::string, std::less<>> kFunctions = {
      "_operator.add", "_operator.sub", "_operator.mul",     "_operator.floordiv",
      "_operator.mod", "_operator.neg", "_operator.truediv", "_operator.pow",
      "_operator.eq",  "_operator.ne",  "_operator.lt",      "_operator.le",
      "_operator.gt",  "_operator.ge",  "_operator.and_",    "_operator.or_",
      "torch.sym_max", "torch.sym_min", "torch.sym_not",     "torch.sym_float",
  };
  return kFunctions.contains(target);
}

/// Has an effect beyond its outputs: it stays although nobody uses them.
bool has_effect(const Node& node) {
  if (is_arithmetic(node.target)) {
    return false;
  }
  const Schema* schema = find_schema(node.target);
  return schema == nullptr || schema->is_mutating || schema->output_count == 0 ||
         draws_random_numbers(node);
}

/// The node that makes each symbol which no input shows: "u0" of nonzero.
std::map<std::string, NodeId> symbol_sources(const Graph& graph) {
  std::set<std::string> given;
  for (const GraphInput& input : graph.inputs) {
    collect_symbols(graph.value(input.value), given);
  }
  std::map<std::string, NodeId> sources;
  for (const NodeId id : graph.order()) {
    for (const ValueId output : graph.node(id).outputs) {
      std::set<std::string> names;
      collect_symbols(graph.value(output), names);
      for (const std::string& name : names) {
        if (!given.contains(name) && shows_symbol(graph.value(output), name)) {
          sources.try_emplace(name, id);
        }
      }
    }
  }
  return sources;
}

}  // namespace

std::optional<ValueId> Graph::find_value(std::string_view name) const {
  for (const Value& value : values_) {
    if (value.name == name) {
      return value.id;
    }
  }
  return std::nullopt;
}

ValueId Graph::add_value(Value value) {
  value.id = static_cast<ValueId>(values_.size());
  if (value.name.empty()) {
    value.name = "value";
  }
  auto [found, fresh] = names_.try_emplace(value.name, 0);
  if (!fresh) {
    std::string name;
    do {
      name = value.name + "_" + std::to_string(++found->second);
    } while (names_.contains(name));
    names_.emplace(name, 0);
    value.name = name;
  }
  values_.push_back(std::move(value));
  return values_.back().id;
}

ValueId Graph::add_input(InputKind kind, std::string name, TensorMeta meta, std::string target,
                         TensorData data) {
  Value value;
  value.name = std::move(name);
  value.tensor = std::move(meta);
  GraphInput input;
  input.value = add_value(std::move(value));
  input.kind = kind;
  input.target = std::move(target);
  input.data = std::move(data);
  inputs.push_back(std::move(input));
  return inputs.back().value;
}

ValueId Graph::add_constant(std::string name, TensorMeta meta, TensorData data) {
  return add_input(InputKind::kConstant, name, std::move(meta), name, std::move(data));
}

NodeId Graph::add_node(Node node, std::optional<NodeId> before) {
  node.id = static_cast<NodeId>(nodes_.size());
  if (const Schema* schema = find_schema(node.target)) {
    Result<std::vector<NamedArgument>> args = normalize_arguments(*schema, std::move(node.args));
    STATOR_CHECK(args.ok(), "node " + node.name + ": " + args.error().message);
    node.args = std::move(args).value();
  }
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    Value& output = value(node.outputs[i]);
    output.producer = node.id;
    output.output_index = static_cast<int>(i);
  }
  const NodeId id = node.id;
  if (before.has_value()) {
    const auto at = std::find(order_.begin(), order_.end(), *before);
    STATOR_CHECK(at != order_.end(), "the node to insert before is not in the graph");
    order_.insert(at, id);
  } else {
    order_.push_back(id);
  }
  nodes_.push_back(std::make_unique<Node>(std::move(node)));
  return id;
}

void Graph::remove_node(NodeId id) {
  const auto at = std::find(order_.begin(), order_.end(), id);
  STATOR_CHECK(at != order_.end(), "the node to remove is not in the graph");
  order_.erase(at);
}

void Graph::replace_uses(ValueId from, ValueId to) {
  const auto replace = [from, to](ValueId& id) { id = id == from ? to : id; };
  for (const NodeId id : order_) {
    for (NamedArgument& arg : node(id).args) {
      for_each_use(arg.value, replace);
    }
  }
  for (GraphOutput& output : outputs) {
    for_each_use(output.value, replace);
  }
}

void Graph::replace_uses(ValueId from, ValueId to, MemoryFormat format) {
  const auto replace = [&](ValueUse& use) {
    if (use.id != from) return;
    use.id = to;
    if (use.format == MemoryFormat::kNoted) use.format = format;
  };
  for (const NodeId id : order_) {
    for (NamedArgument& arg : node(id).args) {
      if (auto* use = std::get_if<ValueUse>(&arg.value)) {
        replace(*use);
      } else if (auto* uses = std::get_if<std::vector<ValueUse>>(&arg.value)) {
        std::for_each(uses->begin(), uses->end(), replace);
      } else if (auto* opaque = std::get_if<OpaqueArg>(&arg.value)) {
        std::for_each(opaque->uses.begin(), opaque->uses.end(), replace);
      }
    }
  }
}

const char* memory_format_name(MemoryFormat format) {
  static constexpr const char* kNames[] = {"", "contiguous_format", "channels_last",
                                           "channels_last_3d"};
  return kNames[static_cast<size_t>(format)];
}

void Graph::remove_dead_nodes() {
  std::vector<char> used(values_.size(), 0);
  const auto mark = [&used](ValueId id) { used[static_cast<size_t>(id)] = 1; };
  // A number of the graph is used through its expression: its symbols are uses of who makes them.
  const std::map<std::string, NodeId> sources = symbol_sources(*this);
  std::set<NodeId> needed;
  const auto mark_sources = [&](const Argument& argument) {
    std::set<std::string> names;
    collect_symbols(argument, names);
    for (const std::string& name : names) {
      if (const auto source = sources.find(name); source != sources.end()) {
        needed.insert(source->second);
      }
    }
  };
  const auto mark_argument = [&](const Argument& argument) {
    for_each_use(argument, mark);
    mark_sources(argument);
  };
  for (const GraphOutput& output : outputs) {
    mark_argument(output.value);
  }
  std::vector<NodeId> kept;
  for (size_t i = order_.size(); i-- > 0;) {
    const Node& n = node(order_[i]);
    const bool live = has_effect(n) || needed.contains(n.id) ||
                      std::any_of(n.outputs.begin(), n.outputs.end(), [&used](ValueId id) {
                        return used[static_cast<size_t>(id)] != 0;
                      });
    if (!live) {
      continue;
    }
    kept.push_back(n.id);
    for (const NamedArgument& arg : n.args) {
      mark_argument(arg.value);
    }
    for (const ValueId output : n.outputs) {
      mark_sources(value(output).tensor.shape);
    }
  }
  std::reverse(kept.begin(), kept.end());
  order_ = std::move(kept);
  std::erase_if(inputs, [&used](const GraphInput& input) {
    return input.kind == InputKind::kConstant && used[static_cast<size_t>(input.value)] == 0;
  });
}

std::vector<std::vector<NodeId>> Graph::users() const {
  std::vector<std::vector<NodeId>> users(values_.size());
  for (const NodeId id : order_) {
    for (const NamedArgument& arg : node(id).args) {
      for_each_use(arg.value, [&users, id](ValueId value) {
        std::vector<NodeId>& list = users[static_cast<size_t>(value)];
        if (list.empty() || list.back() != id) {
          list.push_back(id);
        }
      });
    }
  }
  return users;
}

bool Graph::is_output(ValueId id) const {
  bool found = false;
  for (const GraphOutput& output : outputs) {
    for_each_use(output.value, [&found, id](ValueId value) { found = found || value == id; });
  }
  return found;
}

const GraphInput* Graph::constant(ValueId id) const {
  if (id == kNoValue || value(id).producer != -1) {
    return nullptr;
  }
  for (const GraphInput& input : inputs) {
    if (input.value == id) {
      return input.kind == InputKind::kUserInput ? nullptr : &input;
    }
  }
  return nullptr;
}

}  // namespace stator
