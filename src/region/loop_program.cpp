// SPDX-License-Identifier: Apache-2.0
#include "region/loop_program.h"

#include <algorithm>

namespace stator {
namespace {

/// Calls visit(OpId) for every op that `op` reads.
template <typename Visit>
void visit_operands(const LoopOp& op, const Visit& visit) {
  for (const OpId id : {op.a, op.b, op.c, op.guard}) {
    if (id != kNoOp) {
      visit(id);
    }
  }
  for (const Indirect& indirect : op.indirect) {
    visit(indirect.op);
  }
}

}  // namespace

std::string index_symbol(int k) { return "$" + std::to_string(k); }

int LoopProgram::outer_rank() const {
  int rank = 0;
  while (rank < static_cast<int>(dims.size()) && !dims[static_cast<size_t>(rank)].reduction) {
    ++rank;
  }
  return rank;
}

bool LoopProgram::has_reduction() const { return outer_rank() < static_cast<int>(dims.size()); }

std::vector<bool> LoopProgram::inner_values() const {
  std::vector<bool> inner(ops.size(), false);
  for (size_t i = 0; i < ops.size(); ++i) {
    const LoopOp& op = ops[i];
    if (op.kind == LoopOpKind::kReduce) {
      continue;  // what it folds is inner, its result is not
    }
    bool depends = false;
    for (int k = outer_rank(); k < static_cast<int>(dims.size()); ++k) {
      const bool reads_index = op.kind == LoopOpKind::kLoad || op.kind == LoopOpKind::kIndex;
      depends = depends || (reads_index && op.index.uses_symbol(index_symbol(k)));
    }
    visit_operands(op, [&](OpId id) { depends = depends || inner[static_cast<size_t>(id)]; });
    inner[i] = depends;
  }
  return inner;
}

std::vector<int> LoopProgram::passes() const {
  std::vector<int> pass(ops.size(), 0);
  for (size_t i = 0; i < ops.size(); ++i) {
    visit_operands(ops[i], [&](OpId id) {
      const auto at = static_cast<size_t>(id);
      const int after = pass[at] + (ops[at].kind == LoopOpKind::kReduce ? 1 : 0);
      pass[i] = std::max(pass[i], after);
    });
  }
  return pass;
}

Bounds LoopProgram::index_bounds(const Bounds& sizes) const {
  Bounds bounds = sizes;
  for (size_t k = 0; k < dims.size(); ++k) {
    bounds.set_index(index_symbol(static_cast<int>(k)), dims[k].extent);
  }
  return bounds;
}

}  // namespace stator
