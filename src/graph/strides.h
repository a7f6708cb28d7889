// SPDX-License-Identifier: Apache-2.0
//
// What the strides that PyTorch noted for a value say: the order of its axes in memory, and which
// operators give a part of their argument's memory in place of memory of their own.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "stator/graph.h"

namespace stator {

/// Axes from the slowest in memory to the fastest.
using AxisOrder = std::vector<int64_t>;

struct DenseOrder {
  AxisOrder axes;
  /// The strides of axes of one element, which nobody needs, are those of a dense tensor too.
  bool exact = true;
};

/// The order of a tensor without gaps and overlaps: channels_last of four axes is {0, 2, 3, 1}.
/// Nullopt where it has some, or where that cannot be proved.
std::optional<DenseOrder> dense_order(const TensorMeta& meta, const Bounds& bounds);
/// True when the strides are those of a row-major tensor, but for axes of one element.
bool is_row_major(const TensorMeta& meta, const Bounds& bounds);
/// True when both lie in memory in the same way, but for axes of one element.
bool same_strides(const TensorMeta& a, const TensorMeta& b, const Bounds& bounds);

/// Whether axes in this order hold the bytes of a row-major tensor: only axes of one element move.
bool moves_nothing(const AxisOrder& order, const std::vector<Expr>& shape);
/// The sizes in memory order.
std::vector<Expr> in_memory_order(const std::vector<Expr>& shape, const AxisOrder& order);

/// Whether the node's results are views of its first tensor argument: the same memory, seen in
/// another way. reshape, contiguous and the like are where they need not copy.
bool is_alias(const Graph& graph, const Node& node);
/// The argument that an alias looks into; kNoValue for other nodes.
ValueId aliased_argument(const Graph& graph, const Node& node);

/// Whether the node's values depend on how its arguments lie in memory: as_strided and its kin.
bool sees_memory(const Node& node);
bool sees_memory(const Graph& graph);  // one of its nodes

/// Which values share memory: every value's root is the one that owns it.
class Memory {
 public:
  explicit Memory(const Graph& graph);
  ValueId root(ValueId id) const;
  /// How many outputs of the graph lie in the memory of `root`.
  int outputs(ValueId root) const;
  /// Whether a node that works in place writes to the memory of `root`.
  bool is_written(ValueId root) const;
  /// From now on `id` is the memory of `argument`.
  void merge(ValueId id, ValueId argument);

 private:
  std::map<ValueId, ValueId> parent_;  // aliases and what they look into
  std::map<ValueId, int> outputs_;     // by root
  std::map<ValueId, bool> written_;    // by root
};

}  // namespace stator
