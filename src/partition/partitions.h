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

/// min_block_size where the user chose none: a graph that is whole (every operator convertible) is
/// compiled whatever its size; blocks of a mixed graph need kLeastBlockOfMixedGraph operators. One
/// engine call costs what PyTorch's dispatch of two operators does, so two are never slower, and
/// on tensors that do not fit a cache one pass over memory is half the time.
constexpr int64_t kChooseBlockSize = 0;
constexpr int64_t kLeastBlockOfMixedGraph = 2;

struct PartitionOptions {
  int64_t min_block_size = kChooseBlockSize;  // INT64_MAX: nothing is compiled
  std::set<std::string> torch_executed_ops;   // "aten.add.Tensor" or the packet "aten.add"
  bool require_full_compilation = false;      // also switches the size filter off
  bool without_pytorch = false;  // nothing can run the rest: messages say what else to do
  bool use_fast_partitioner = true;
  int64_t memory_budget = 0;  // bytes for each engine's build; 0: no limit
};

/// Why a node runs in PyTorch. kRandom: draws random numbers, or writes its arguments.
enum class FallbackKind : uint8_t {
  kNotConvertible,  // no converter, or the converter refused; `reason` is its answer
  kTorchExecuted,
  kStateful,
  kBelowMinBlockSize,
};
/// "not_convertible", "torch_executed", "stateful", "below_min_block_size".
const char* fallback_kind_name(FallbackKind kind);

struct Fallback {
  NodeId node = -1;
  FallbackKind kind = FallbackKind::kNotConvertible;
  std::string reason;  // a clause that can follow "because"
};

struct Segment {
  bool engine = false;
  std::string name;  // "_run_on_acc_0", "_run_on_gpu_1": numbered together, in execution order
  std::vector<NodeId> nodes;  // in execution order
  /// Of a PyTorch segment: views that engines before it have too, made again before its nodes, so
  /// that they are views there.
  std::vector<NodeId> views;
  std::vector<ValueId> inputs;  // values from outside (not constants), in order of first use
  std::vector<std::string>
      symbol_inputs;             // symbols used but not readable off an input's plain dimensions
  std::vector<ValueId> outputs;  // values used outside, in order of definition
  int64_t operator_count = 0;    // compute operators (no size queries)
};

struct Partitions {
  std::vector<Segment> segments;    // engine and PyTorch segments alternate
  std::vector<Fallback> fallbacks;  // one for each operator in PyTorch, in graph order
  int64_t total_operators = 0, supported_operators = 0;
  int64_t min_block_size = 1;  // the one that was applied
  /// Operator counts of all blocks, those below min_block_size too, in execution order.
  std::vector<int64_t> block_sizes;
  /// Counts of unsupported or excluded targets ("aten.nonzero.default" → 2).
  std::map<std::string, int64_t> unsupported;
};

/// True for nodes that are no operators for the counts: size queries, SymInt arithmetic, getitem.
bool is_bookkeeping(std::string_view target);

/// kUnsupported with all fallbacks listed when require_full_compilation cannot be met.
Result<Partitions> partition(const Graph& graph, const SupportQuery& query,
                             const PartitionOptions& options);

/// The dry-run report, to the letter of requirements D-6 … D-13. `settings` is the text after
/// "Compiled with: ".
std::string dry_run_report(const Graph& graph, const Partitions& partitions,
                           const std::string& settings);
/// The same content for tools, with what each part costs (partition/cost.h; `sizes`: of symbols)
/// and which part feeds which.
std::string dry_run_report_json(const Graph& graph, const Partitions& partitions,
                                const std::string& settings,
                                const std::map<std::string, int64_t>& sizes);
/// One self-contained page that draws such a report.
std::string dry_run_report_html(const std::string& json);

}  // namespace stator
