// SPDX-License-Identifier: Apache-2.0
//
// Lowering: graph → graph. The pipeline is a table of passes; each pass is a header with a picture
// and one function that says how often it fired.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "stator/graph.h"

namespace stator {

/// Computes one node whose inputs are all constants; handed in by the compiler (which has the
/// reference backend). Returns one TensorData for each output, without bytes where nobody uses it,
/// or an error when it cannot (the node then stays).
using ConstantEvaluator = std::function<Result<std::vector<TensorData>>(const Graph&, const Node&)>;

struct LoweringOptions {
  std::set<std::string> disabled_passes;
  ConstantEvaluator evaluate_constant;  // may be empty: no folding
  /// Targets that the user keeps in PyTorch: no pass rewrites such a node
  /// ("aten.layer_norm.default", or packet "aten.layer_norm").
  std::set<std::string> torch_executed_ops;
  std::function<void(const std::string& pass, const Graph&)> after_pass;  // dumps; may be empty
};

struct LoweringPass {
  const char* name;
  int (*run)(Graph&, const LoweringOptions&);
  const char* why;
};

const std::vector<LoweringPass>& lowering_passes();
/// Runs the table in order, verifying the graph after each pass that fired (always: it is cheap).
Status lower(Graph& graph, const LoweringOptions& options);

}  // namespace stator
