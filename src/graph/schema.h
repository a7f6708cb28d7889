// SPDX-License-Identifier: Apache-2.0
//
// Facts about ATen operators as data: argument names, types and defaults of each overload, and its
// traits. The table src/graph/aten_schemas.inc is generated from PyTorch's own schemas by
// scripts/generate_schemas.py.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "stator/graph.h"

namespace stator {

struct SchemaArgument {
  std::string name;
  std::string type;  // "Tensor", "Tensor?", "SymInt[]", "Scalar", "float", "bool", "ScalarType?", …
  bool keyword_only = false;
  bool has_default = false;
  Argument default_value;  // when has_default
};

struct Schema {
  std::string target;  // "aten.add.Tensor"
  std::vector<SchemaArgument> arguments;
  int output_count = 1;      // -1: a list
  bool is_mutating = false;  // writes an argument
  bool is_view = false;      // output aliases an input
  bool is_random = false;    // nondeterministic_seeded
  bool is_pointwise = false;
};

/// The schema of an operator, or nullptr when it is not in the table.
const Schema* find_schema(std::string_view target);
/// Puts `args` (any order, by name or positional with empty names) into schema order with defaults.
/// Error when one is unknown or missing.
Result<std::vector<NamedArgument>> normalize_arguments(const Schema& schema,
                                                       std::vector<NamedArgument> args);
/// True when the node draws random numbers: its schema says so, and its dropout probability, where
/// it has one, is not 0.
bool draws_random_numbers(const Node& node);
/// True when removing, repeating or reordering the node cannot be noticed.
bool is_pure(const Node& node);

}  // namespace stator
