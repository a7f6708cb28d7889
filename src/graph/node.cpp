// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "stator/graph.h"

namespace stator {
namespace {

std::string where(const Node& node, std::string_view arg) {
  return node.target + " (" + node.name + "): argument '" + std::string(arg) + "' ";
}

/// The argument as a T; a defect of ours when it is something else.
template <typename T>
const T& expect(const Node& node, std::string_view arg, const char* what) {
  const Argument* value = node.find(arg);
  STATOR_CHECK(value != nullptr, where(node, arg) + "is missing");
  const T* typed = std::get_if<T>(value);
  STATOR_CHECK(typed != nullptr, where(node, arg) + "is not " + what);
  return *typed;
}

}  // namespace

const Argument* Node::find(std::string_view arg) const {
  for (const NamedArgument& named : args) {
    if (named.name == arg) {
      return &named.value;
    }
  }
  return nullptr;
}

bool Node::is_none(std::string_view arg) const {
  const Argument* value = find(arg);
  return value == nullptr || std::holds_alternative<None>(*value);
}

ValueId Node::tensor(std::string_view arg) const {
  return is_none(arg) ? kNoValue : expect<ValueUse>(*this, arg, "a tensor").id;
}

std::vector<ValueId> Node::tensors(std::string_view arg) const {
  std::vector<ValueId> ids;
  if (is_none(arg)) {
    return ids;
  }
  for (const ValueUse use : expect<std::vector<ValueUse>>(*this, arg, "a list of tensors")) {
    ids.push_back(use.id);
  }
  return ids;
}

Expr Node::sym_int(std::string_view arg) const {
  const Argument* value = find(arg);
  if (value != nullptr && std::holds_alternative<bool>(*value)) {
    return Expr(std::get<bool>(*value) ? 1 : 0);
  }
  return expect<Expr>(*this, arg, "an integer");
}

int64_t Node::integer(std::string_view arg) const {
  const Expr value = sym_int(arg);
  STATOR_CHECK(value.is_constant(), where(*this, arg) + "is not a constant");
  return value.constant();
}

int64_t Node::integer(std::string_view arg, int64_t otherwise) const {
  return is_none(arg) ? otherwise : integer(arg);
}

std::vector<Expr> Node::sym_ints(std::string_view arg) const {
  return is_none(arg) ? std::vector<Expr>{}
                      : expect<std::vector<Expr>>(*this, arg, "a list of integers");
}

std::vector<int64_t> Node::integers(std::string_view arg) const {
  std::vector<int64_t> values;
  for (const Expr& e : sym_ints(arg)) {
    STATOR_CHECK(e.is_constant(), where(*this, arg) + "is not constant");
    values.push_back(e.constant());
  }
  return values;
}

bool Node::boolean(std::string_view arg, bool otherwise) const {
  if (is_none(arg)) {
    return otherwise;
  }
  const Argument* value = find(arg);
  if (const auto* integer = std::get_if<Expr>(value);
      integer != nullptr && integer->is_constant()) {
    return integer->constant() != 0;
  }
  return expect<bool>(*this, arg, "a bool");
}

double Node::number(std::string_view arg, double otherwise) const {
  if (is_none(arg)) {
    return otherwise;
  }
  const Argument* value = find(arg);
  if (const auto* real = std::get_if<double>(value)) {
    return *real;
  }
  return static_cast<double>(integer(arg));
}

std::string Node::string(std::string_view arg, std::string_view otherwise) const {
  return is_none(arg) ? std::string(otherwise) : expect<std::string>(*this, arg, "a string");
}

std::optional<DType> Node::dtype(std::string_view arg) const {
  if (is_none(arg)) {
    return std::nullopt;
  }
  return expect<DType>(*this, arg, "a dtype");
}

void Node::set(std::string_view arg, Argument value) {
  for (NamedArgument& named : args) {
    if (named.name == arg) {
      named.value = std::move(value);
      return;
    }
  }
  args.push_back({std::string(arg), std::move(value)});
}

}  // namespace stator
