// SPDX-License-Identifier: Apache-2.0
//
// Partitions: the lowered graph cut into engine segments and PyTorch segments, in execution order.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/support.h"
#include "stator/graph.h"

namespace stator {

/// Asked for every node: can it be converted, and if not, why.
using SupportQuery = std::function<Support(const Graph&, const Node&)>;

struct PartitionOptions {
  int64_t min_block_size = 5;                // INT64_MAX: nothing is compiled
  std::set<std::string> torch_executed_ops;  // "aten.add.Tensor" or the packet "aten.add"
  bool require_full_compilation = false;
  bool use_fast_partitioner = true;
  /// An engine is taken whatever its size when the whole graph is supported
  /// (require_full_compilation, the C++ door).
};

/// Why a node runs in PyTorch.
enum class FallbackKind : uint8_t { kNoConverter, kRefused, kTorchExecuted, kBelowMinBlockSize };
struct Fallback {
  NodeId node = -1;
  FallbackKind kind = FallbackKind::kNoConverter;
  std::string reason;  // a sentence
};

struct Segment {
  bool engine = false;
  std::string name;  // "_run_on_acc_0", "_run_on_gpu_1": numbered together, in execution order
  std::vector<NodeId> nodes;    // in execution order
  std::vector<ValueId> inputs;  // values from outside (not constants), in order of first use
  std::vector<std::string>
      symbol_inputs;             // symbols used but not readable off an input's plain dimensions
  std::vector<ValueId> outputs;  // values used outside, in order of definition
  int64_t operator_count = 0;    // compute operators (no getitem, no size queries)
};

struct Partitions {
  std::vector<Segment> segments;
  std::vector<Fallback> fallbacks;
  int64_t total_operators = 0, supported_operators = 0;
  /// Counts of unsupported or excluded targets ("aten.nonzero.default" → 2).
  std::map<std::string, int64_t> unsupported;
};

/// True for nodes that are no operators for the counts: size queries, SymInt arithmetic, getitem.
bool is_bookkeeping(const Node& node);

/// kUnsupported with all fallbacks listed when require_full_compilation cannot be met.
Result<Partitions> partition(const Graph& graph, const SupportQuery& query,
                             const PartitionOptions& options);

/// The dry-run report, to the letter of requirements D-6 … D-13. `settings` is the text after
/// "Compiled with: ".
std::string dry_run_report(const Graph& graph, const Partitions& partitions,
                           const PartitionOptions& options, const std::string& settings);
/// The same content for tools.
std::string dry_run_report_json(const Graph& graph, const Partitions& partitions,
                                const PartitionOptions& options, const std::string& settings);

}  // namespace stator
