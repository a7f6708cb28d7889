// SPDX-License-Identifier: Apache-2.0
//
// Guards from PyTorch's text, and symbols in the place of the functions that sizes are made of.
#include <algorithm>
#include <cctype>
#include <set>

#include "graph/conditions.h"
#include "stator/graph.h"

namespace stator {
namespace {

/// torch.export's name for the placeholder of an argument: the keys of its path joined, lower
/// case, with '_' for all that no identifier holds (torch/_export/utils.py,
/// placeholder_naming_pass).
std::string placeholder_name(const std::vector<std::string>& keys) {
  std::string name;
  for (const std::string& key : keys) {
    name += name.empty() ? "" : "_";
    for (const char c : key) {
      const auto u = static_cast<unsigned char>(c);
      name += std::isalnum(u) != 0 ? static_cast<char>(std::tolower(u)) : '_';
    }
  }
  return name;
}

std::string path(const std::vector<std::string>& keys) {
  std::string text = keys.empty() ? "" : keys.front();
  for (size_t i = 1; i < keys.size(); ++i) text += "[" + keys[i] + "]";
  return text;
}

/// "x_1" for "x": what is appended to a name that is taken, or one of Python's own ("input").
bool is_numbered(std::string_view name, std::string_view plain) {
  return name.size() > plain.size() + 1 && name.starts_with(plain) && name[plain.size()] == '_' &&
         name.find_first_not_of("0123456789", plain.size() + 1) == std::string_view::npos;
}

/// The user input that torch.export gave this name; null where that is not certain.
const Value* find_input(const Graph& graph, const std::string& name) {
  const Value* found = nullptr;
  for (const GraphInput& input : graph.inputs) {
    const Value& value = graph.value(input.value);
    if (input.kind != InputKind::kUserInput) continue;
    if (value.name != name && !is_numbered(value.name, name)) continue;
    if (found != nullptr) return nullptr;
    found = &value;
  }
  return found;
}

/// The value of an input's property, as the graph's sizes say it.
Result<Expr> value_of(const Graph& graph, const InputProperty& property) {
  if (const Value* found = find_input(graph, placeholder_name(property.keys))) {
    const Value& value = *found;
    if (property.kind == InputProperty::kValue && value.kind == ValueKind::kSymInt) {
      return value.expr;
    }
    const bool strides = property.kind == InputProperty::kStride;
    const std::vector<Expr>& list = strides ? value.tensor.strides : value.tensor.shape;
    if (value.kind == ValueKind::kTensor && (strides || property.kind == InputProperty::kSize) &&
        property.dim < static_cast<int64_t>(list.size())) {
      return list[static_cast<size_t>(property.dim)];
    }
  }
  return Error{ErrorCode::kUnsupported,
               "it names " + path(property.keys) + ", of which the graph has no such size"};
}

/// Where `word` stands in the text outside of brackets; npos where it does not.
size_t find_outside(std::string_view text, std::string_view word, size_t from) {
  int depth = 0;
  for (size_t at = from; at < text.size(); ++at) {
    if (depth == 0 && text.substr(at).starts_with(word)) return at;
    depth += text[at] == '(' || text[at] == '[' ? 1 : 0;
    depth -= text[at] == ')' || text[at] == ']' ? 1 : 0;
  }
  return std::string_view::npos;
}

/// "a and b and c" → a, b, c; the text itself where it is no such thing.
std::vector<std::string_view> conjuncts(std::string_view text) {
  constexpr std::string_view kAnd = " and ";
  if (find_outside(text, " or ", 0) != std::string_view::npos) return {text};
  std::vector<std::string_view> parts;
  size_t begin = 0;
  for (size_t end = find_outside(text, kAnd, 0); end != std::string_view::npos;
       end = find_outside(text, kAnd, begin)) {
    parts.push_back(text.substr(begin, end - begin));
    begin = end + kAnd.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

void rename(Bounds& bounds, std::vector<Expr>& list) {
  for (Expr& e : list) e = bounds.name_functions(e);
}

void rename(Bounds& bounds, Argument& argument) {
  if (auto* one = std::get_if<Expr>(&argument); one != nullptr && !one->is_float()) {
    *one = bounds.name_functions(*one);
  } else if (auto* list = std::get_if<std::vector<Expr>>(&argument)) {
    rename(bounds, *list);
  }
}

}  // namespace

std::string readable_condition(std::string_view text) {
  std::string s;
  for (size_t at = 0; at < text.size();) {
    if (text.substr(at).starts_with("L['")) {
      const size_t end = text.find("']", at);
      if (end != std::string_view::npos) {
        s += text.substr(at + 3, end - at - 3);
        at = end + 2;
        continue;
      }
    }
    if (text.substr(at).starts_with(".size()")) {
      s += ".shape";
      at += 7;
      continue;
    }
    s += text[at++];
  }
  return s;
}

Result<Expr> Graph::read_guard(std::string_view text) const {
  const auto resolve = [this](const InputProperty& property) { return value_of(*this, property); };
  Result<Expr> condition = parse_expr(text, resolve);
  if (condition.ok()) return condition;
  return Error{ErrorCode::kUnsupported,
               "the condition " + readable_condition(text) +
                   " of the exported program cannot be checked: " + condition.error().message};
}

Status Graph::add_guard(std::string_view text, const std::string& source) {
  for (const std::string_view part : conjuncts(text)) {
    STATOR_TRY(const Expr condition, read_guard(part));
    if (holds_for_all(condition, bounds)) {
      continue;  // what the inputs' sizes say already
    }
    guards.push_back({simplify(condition, bounds), readable_condition(part), source});
  }
  return {};
}

void Graph::add_implied_guards() {
  std::set<std::string> given;  // by the inputs
  for (const GraphInput& input : inputs) {
    for (const Expr& size : value(input.value).tensor.shape) size.collect_symbols(given);
  }
  for (const NodeId id : order_) {
    const Node& n = node(id);
    const std::string_view name = n.target;
    const size_t dot = name.rfind('.');
    const std::string_view operation = name.substr(0, dot), overload = name.substr(dot + 1);
    if (operation != "aten.squeeze" && operation != "aten.squeeze_copy") continue;
    const ValueId self = n.tensor("self");
    if (value(self).kind != ValueKind::kTensor) continue;
    const std::vector<Expr>& shape = value(self).tensor.shape;
    const auto rank = static_cast<int64_t>(shape.size());
    std::vector<int64_t> dims;
    if (overload == "default") {
      for (int64_t d = 0; d < rank; ++d) dims.push_back(d);
    } else {
      dims = overload == "dim" ? std::vector<int64_t>{n.integer("dim")} : n.integers("dim");
    }
    for (const int64_t dim : dims) {
      if (dim < -rank || dim >= rank) continue;
      const Expr& size = shape[static_cast<size_t>(dim < 0 ? dim + rank : dim)];
      std::set<std::string> used;
      size.collect_symbols(used);
      const bool known = std::includes(given.begin(), given.end(), used.begin(), used.end());
      if (size.is_constant() || !known || bounds.proves_not_equal(size, 1)) continue;
      guards.push_back({Expr::none(Expr::equal(size, 1)),
                        "dimension " + std::to_string(dim) + " of " + value(self).name +
                            ", which is squeezed, is not 1",
                        n.source().str()});
    }
  }
}

void Graph::name_size_functions() {
  for (Value& value : values_) {
    rename(bounds, value.tensor.shape);
    rename(bounds, value.tensor.strides);
    value.expr = bounds.name_functions(value.expr);
  }
  for (const NodeId id : order_) {
    for (NamedArgument& argument : node(id).args) rename(bounds, argument.value);
  }
  for (GraphOutput& output : outputs) rename(bounds, output.value);
}

}  // namespace stator
