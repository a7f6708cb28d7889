// SPDX-License-Identifier: Apache-2.0
//
// What an argument refers to: the values that it uses, and the sizes that are written in it.
#pragma once

#include <set>
#include <string>

#include "stator/graph.h"

namespace stator {

/// Calls visit(ValueId&) for every value that an argument uses; a None in a list is left out.
template <typename Visit>
void for_each_use(Argument& argument, const Visit& visit) {
  const auto each = [&visit](std::vector<ValueUse>& uses) {
    for (ValueUse& use : uses) {
      if (use.id != kNoValue) visit(use.id);
    }
  };
  if (auto* use = std::get_if<ValueUse>(&argument)) {
    if (use->id != kNoValue) visit(use->id);
  } else if (auto* uses = std::get_if<std::vector<ValueUse>>(&argument)) {
    each(*uses);
  } else if (auto* opaque = std::get_if<OpaqueArg>(&argument)) {
    each(opaque->uses);
  }
}

/// The same with visit(ValueId).
template <typename Visit>
void for_each_use(const Argument& argument, const Visit& visit) {
  for_each_use(const_cast<Argument&>(argument), [&visit](ValueId& id) { visit(ValueId(id)); });
}

/// Adds the symbols of the sizes in an argument.
inline void collect_symbols(const Argument& argument, std::set<std::string>& names) {
  const auto each = [&names](const std::vector<Expr>& sizes) {
    for (const Expr& size : sizes) size.collect_symbols(names);
  };
  if (const auto* one = std::get_if<Expr>(&argument)) {
    one->collect_symbols(names);
  } else if (const auto* list = std::get_if<std::vector<Expr>>(&argument)) {
    each(*list);
  } else if (const auto* opaque = std::get_if<OpaqueArg>(&argument)) {
    each(opaque->sizes);
  }
}

/// Adds the symbols of a value's sizes, or of the number that it is.
inline void collect_symbols(const Value& value, std::set<std::string>& names) {
  value.expr.collect_symbols(names);
  for (const Expr& size : value.tensor.shape) size.collect_symbols(names);
}

/// Whether a symbol is the value, or stands as a plain dimension of it: who has the value can read
/// the symbol there.
inline bool shows_symbol(const Value& value, const std::string& name) {
  const auto is = [&name](const Expr& e) { return e.is_symbol() && e.symbol_name() == name; };
  if (value.kind == ValueKind::kSymInt && is(value.expr)) return true;
  for (const Expr& size : value.tensor.shape) {
    if (is(size)) return true;
  }
  return false;
}

}  // namespace stator
