// SPDX-License-Identifier: Apache-2.0
#include "graph/operator_set.h"

#include <algorithm>

namespace stator {
namespace {

/// "aten.add" of "aten.add.Tensor"; the name itself when it has no overload part.
std::string packet_of(const std::string& name) {
  const size_t first = name.find('.');
  const size_t last = name.rfind('.');
  return first == last ? name : name.substr(0, last);
}

}  // namespace

std::string canonical_operator_name(std::string_view name) {
  constexpr std::string_view kPrefix = "torch.ops.";
  if (name.substr(0, kPrefix.size()) == kPrefix) {
    name.remove_prefix(kPrefix.size());
  }
  std::string text(name);
  if (const size_t colons = text.find("::"); colons != std::string::npos) {
    text.replace(colons, 2, ".");
  }
  return text;
}

std::string qualified_operator_name(std::string_view target) {
  // "namespace.operator.overload" has two dots, "higher_order.cond" no overload; a Python function
  // has one ("_operator.mul").
  const bool is_operator =
      std::count(target.begin(), target.end(), '.') >= 2 || target.starts_with("higher_order.");
  return is_operator ? "torch.ops." + std::string(target) : std::string(target);
}

bool contains_operator(const std::set<std::string>& operators, std::string_view target) {
  if (operators.empty() || target.empty()) {
    return false;
  }
  const std::string overload = canonical_operator_name(target);
  const std::string packet = packet_of(overload);
  return std::any_of(operators.begin(), operators.end(), [&](const std::string& entry) {
    const std::string wanted = canonical_operator_name(entry);
    return wanted == overload || wanted == packet;
  });
}

bool contains_operator(const std::set<std::string>& operators, const Node& node) {
  return contains_operator(operators, node.target) ||
         contains_operator(operators, node.original_target);
}

}  // namespace stator
