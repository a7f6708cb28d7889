// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "stator/graph.h"

namespace stator {

/// What a name stands for while a graph is read.
struct Pt2Names {
  std::map<std::string, ValueId> values;
  std::map<std::string, Expr> sizes;  // SymInts
};

/// {"as_tensor": …} and its kin → Argument. Throws nlohmann::json::exception on a missing field.
Result<Argument> read_argument(const nlohmann::json& arg, const Pt2Names& names);
/// {"as_int": 3} or {"as_expr": {"expr_str": …}}.
Result<Expr> read_size(const nlohmann::json& size);

}  // namespace stator
