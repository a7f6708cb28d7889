// SPDX-License-Identifier: Apache-2.0
//
// Two neighbouring dims i < I, j < J become one when every index reads them as (i * J + j) * c:
// then the loop is over the pair, and a dense tensor is one run.
#include "optimizer/fusion/merge_dims.h"

#include <map>
#include <optional>

namespace stator {
namespace {

/// The expression with dims k and k+1 as one, or nullopt.
std::optional<Expr> merged(const Expr& e, int k, const Expr& inner_extent) {
  const std::string outer = index_symbol(k), inner = index_symbol(k + 1);
  if (!e.uses_symbol(outer) && !e.uses_symbol(inner)) {
    return e;
  }
  const std::optional<LinearForm> form = linear_form(e, {outer, inner});
  if (!form.has_value()) {
    return std::nullopt;
  }
  const Expr& c = form->coefficients.at(inner);
  if (!(form->coefficients.at(outer) == c * inner_extent)) {
    return std::nullopt;
  }
  return form->constant_term + c * Expr::symbol(outer);
}

bool visit_indices(LoopProgram& p, const std::function<bool(Expr&)>& visit) {
  for (LoopOp& op : p.ops) {
    if ((op.kind == LoopOpKind::kLoad || op.kind == LoopOpKind::kIndex) && !visit(op.index)) {
      return false;
    }
  }
  for (LoopStore& store : p.stores) {
    if (!visit(store.index)) {
      return false;
    }
  }
  return true;
}

bool merge(LoopProgram& p, int k) {
  const auto at = static_cast<size_t>(k);
  if (p.dims[at].reduction != p.dims[at + 1].reduction) {
    return false;
  }
  const Expr inner_extent = p.dims[at + 1].extent;
  const bool possible =
      visit_indices(p, [&](Expr& e) { return merged(e, k, inner_extent).has_value(); });
  if (!possible) {
    return false;
  }
  std::map<std::string, Expr> renamed;
  for (size_t d = at + 2; d < p.dims.size(); ++d) {
    renamed[index_symbol(static_cast<int>(d))] =
        Expr::symbol(index_symbol(static_cast<int>(d) - 1));
  }
  visit_indices(p, [&](Expr& e) {
    e = merged(e, k, inner_extent)->substitute(renamed);
    return true;
  });
  p.dims[at].extent = p.dims[at].extent * inner_extent;
  p.dims.erase(p.dims.begin() + static_cast<int64_t>(at) + 1);
  return true;
}

}  // namespace

void merge_dims(LoopProgram& program) {
  for (int k = static_cast<int>(program.dims.size()) - 2; k >= 0; --k) {
    (void)merge(program, k);
  }
}

}  // namespace stator
