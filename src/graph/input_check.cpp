// SPDX-License-Identifier: Apache-2.0
#include "graph/input_check.h"

#include <algorithm>
#include <set>

namespace stator {
namespace {

std::string range_text(int64_t least, int64_t greatest) {
  if (greatest == Bounds::kUnbounded) return std::to_string(least) + " or more";
  if (least == INT64_MIN) return std::to_string(greatest) + " or less";
  return std::to_string(least) + ".." + std::to_string(greatest);
}

}  // namespace

namespace {

std::vector<InputCheck::Input> user_inputs(const Graph& graph) {
  std::vector<InputCheck::Input> inputs;
  for (const GraphInput& input : graph.inputs) {
    if (input.kind != InputKind::kUserInput) continue;
    const Value& value = graph.value(input.value);
    InputCheck::Input& in = inputs.emplace_back();
    in.name = value.name;
    in.is_tensor = value.kind == ValueKind::kTensor;
    in.checked = in.is_tensor || value.kind == ValueKind::kSymInt;
    if (in.is_tensor) {
      in.sizes = value.tensor.shape;
    } else if (in.checked) {
      in.sizes = {value.expr};
    }
  }
  return inputs;
}

}  // namespace

InputCheck::InputCheck(const Graph& graph)
    : InputCheck(user_inputs(graph), graph.bounds, graph.guards) {}

InputCheck::InputCheck(std::vector<Input> inputs, Bounds bounds, const std::vector<Guard>& guards)
    : inputs_(std::move(inputs)), bounds_(std::move(bounds)) {
  std::set<std::string> bound;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    for (size_t dim = 0; dim < inputs_[i].sizes.size(); ++dim) {
      const Expr& size = inputs_[i].sizes[dim];
      if (!size.is_symbol() || !bound.insert(size.symbol_name()).second) continue;
      const auto range = bounds_.ranges().find(size.symbol_name());
      const bool known = range != bounds_.ranges().end();
      const int64_t least = known ? range->second.first : (inputs_[i].is_tensor ? 0 : INT64_MIN);
      symbols_.push_back(
          {size.symbol_name(), i, dim, least, known ? range->second.second : Bounds::kUnbounded});
      program_.symbols.push_back(size.symbol_name());
    }
  }
  // What depends on a symbol that no argument shows cannot be computed here.
  const auto slot = [&](const Expr& e) -> SizeSlot {
    std::set<std::string> used;
    e.collect_symbols(used);
    return std::includes(bound.begin(), bound.end(), used.begin(), used.end()) ? program_.add(e)
                                                                               : -1;
  };
  for (const Input& input : inputs_) {
    std::vector<SizeSlot>& slots = slots_.emplace_back();
    for (const Expr& size : input.sizes) {
      const SizeSlot plain = slot(size);
      slots.push_back(plain >= 0 ? plain : slot(bounds_.expand(size)));
    }
  }
  for (const Guard& guard : guards) {
    if (const SizeSlot condition = slot(guard.condition); condition >= 0) {
      guards_.push_back(guard);
      conditions_.push_back(condition);
    }
  }
}

std::string InputCheck::place(size_t input, size_t dim) const {
  const Input& in = inputs_[input];
  return in.is_tensor ? "dimension " + std::to_string(dim) + " of argument '" + in.name + "'"
                      : "argument '" + in.name + "'";
}

std::string InputCheck::symbols_text(const std::vector<Given>& inputs, const Expr* used_by) const {
  std::string text;
  for (const Symbol& symbol : symbols_) {
    if (used_by != nullptr && !used_by->uses_symbol(symbol.name)) continue;
    text += (text.empty() ? "" : ", ") + place(symbol.input, symbol.dim) + " is " +
            std::to_string(inputs[symbol.input].sizes[symbol.dim]);
  }
  return text;
}

Status InputCheck::check(const std::vector<Given>& inputs) const {
  if (inputs.size() != inputs_.size()) {
    return invalid_argument(std::to_string(inputs.size()) + " arguments were given, " +
                            std::to_string(inputs_.size()) + " are expected");
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Input& in = inputs_[i];
    // Something else than a tensor or an integer is named by whoever knows types.
    if (in.checked && inputs[i].is_tensor != in.is_tensor) return {};
    if (in.checked && inputs[i].sizes.size() != in.sizes.size()) {
      return invalid_argument(
          "argument '" + in.name + "' has " + std::to_string(inputs[i].sizes.size()) +
          " dimensions, the model was compiled for " + std::to_string(in.sizes.size()));
    }
  }
  std::vector<int64_t> values;
  for (const Symbol& symbol : symbols_) {
    const int64_t given = inputs[symbol.input].sizes[symbol.dim];
    if (given < symbol.least || given > symbol.greatest) {
      return invalid_argument(place(symbol.input, symbol.dim) + " is " + std::to_string(given) +
                              ", allowed: " + range_text(symbol.least, symbol.greatest));
    }
    values.push_back(given);
  }
  std::vector<int64_t> table(program_.instructions.size());
  if (!program_.run(values.data(), table.data())) {
    return invalid_argument("these sizes lead to sizes that do not fit 64 bits: " +
                            symbols_text(inputs));
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    for (size_t dim = 0; dim < slots_[i].size(); ++dim) {
      const SizeSlot slot = slots_[i][dim];
      if (slot < 0 || inputs[i].sizes[dim] == table[static_cast<size_t>(slot)]) continue;
      const Expr& size = inputs_[i].sizes[dim];
      return invalid_argument(place(i, dim) + " is " + std::to_string(inputs[i].sizes[dim]) +
                              ", expected " + std::to_string(table[static_cast<size_t>(slot)]) +
                              (size.is_constant() ? "" : " (" + size.str() + ")"));
    }
  }
  for (size_t k = 0; k < guards_.size(); ++k) {
    if (table[static_cast<size_t>(conditions_[k])] != 0) continue;
    return invalid_argument(
        "the model was compiled for sizes where " + guards_[k].text +
        (guards_[k].source.empty() ? "" : " (" + guards_[k].source + ")") +
        ", which does not hold here: " + symbols_text(inputs, &guards_[k].condition) +
        ". Compile it again with an example of these sizes");
  }
  return {};
}

}  // namespace stator
