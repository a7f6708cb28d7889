// SPDX-License-Identifier: Apache-2.0
//
// InputCheck: what must hold of the sizes of a program's inputs, whichever of its parts run them:
// ranks, fixed sizes, sizes that belong together, ranges and guards. An engine checks its own
// inputs; a program of several parts checks the user's.
#pragma once

#include <string>
#include <vector>

#include "stator/graph.h"
#include "symbolic/program.h"

namespace stator {

class InputCheck {
 public:
  /// A user's argument: a tensor of these sizes, an integer, or (unchecked) something else.
  struct Input {
    std::string name;
    bool checked = true;
    bool is_tensor = true;
    std::vector<Expr> sizes;
  };
  InputCheck(std::vector<Input> inputs, Bounds bounds, const std::vector<Guard>& guards);
  explicit InputCheck(const Graph& graph);

  /// The user's inputs of the graph: of each, the sizes of a tensor, or an integer alone.
  struct Given {
    bool is_tensor = true;
    std::vector<int64_t> sizes;
  };
  /// kInvalidArgument names the argument, the dimension, what it is and what is allowed.
  Status check(const std::vector<Given>& inputs) const;

  // What it was made of.
  const std::vector<Input>& inputs() const { return inputs_; }
  const Bounds& bounds() const { return bounds_; }
  const std::vector<Guard>& guards() const { return guards_; }

 private:
  struct Symbol {
    std::string name;
    size_t input, dim;
    int64_t least, greatest;
  };
  std::string place(size_t input, size_t dim) const;
  /// The sizes at hand: of all symbols, or of those that an expression uses.
  std::string symbols_text(const std::vector<Given>& inputs, const Expr* used_by = nullptr) const;

  std::vector<Input> inputs_;
  Bounds bounds_;
  std::vector<std::vector<SizeSlot>> slots_;  // of each input's sizes; -1: not checked
  std::vector<Symbol> symbols_;               // parallel to program_.symbols
  std::vector<Guard> guards_;
  std::vector<SizeSlot> conditions_;  // parallel to guards_
  SizeProgram program_;
};

}  // namespace stator
