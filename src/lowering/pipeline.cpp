// SPDX-License-Identifier: Apache-2.0
#include "lowering/pipeline.h"

#include "lowering/passes/passes.h"

namespace stator {

const std::vector<LoweringPass>& lowering_passes() {
  static const auto& passes = *new std::vector<LoweringPass>{
      {"functionalize", functionalize, "operators that write an argument become functional"},
      {"remove_no_ops", remove_no_ops, "dropout, alias, contiguous, casts to the same type"},
      {"share_common_nodes", share_common_nodes, "equal nodes have one value"},
      {"fold_constants", fold_constants, "nodes of constants are computed now"},
      {"recognize_activations", recognize_activations, "GELU and SiLU that are written out"},
      {"recognize_rms_norm", recognize_rms_norm, "RMSNorm that is written out"},
      {"recognize_attention", recognize_attention, "attention that is written out"},
      {"remove_no_ops_again", remove_no_ops, "what the recognizers left behind"},
  };
  return passes;
}

Status lower(Graph& graph, const LoweringOptions& options) {
  for (const LoweringPass& pass : lowering_passes()) {
    if (options.disabled_passes.contains(pass.name)) {
      continue;
    }
    if (pass.run(graph, options) == 0) {
      continue;
    }
    graph.remove_dead_nodes();
    if (const Status status = verify_graph(graph); !status.ok()) {
      return Error{ErrorCode::kInternal,
                   "after the pass " + std::string(pass.name) + ": " + status.error().message};
    }
    if (options.after_pass) {
      options.after_pass(pass.name, graph);
    }
  }
  return {};
}

}  // namespace stator
