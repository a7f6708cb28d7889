// SPDX-License-Identifier: Apache-2.0
//
// The text form of a graph. docs/architecture.md says where it is used; parse.cpp reads it back.
//
//   graph main(
//       %w: f32[8, 8] = parameter "0.weight",
//       %x: f32[s0, 8],
//   ) where s0 in [1, 64]:
//     %linear: f32[s0, 8] = aten.linear.default(input=%x, weight=%w, bias=None)  # m.py:3 in
//     forward return %linear
#include <cmath>
#include <sstream>

#include "graph/strides.h"
#include "stator/graph.h"
#include "symbolic/facts.h"

namespace stator {
namespace {

const char* input_kind_name(InputKind kind) {
  switch (kind) {
    case InputKind::kUserInput:
      return "input";
    case InputKind::kParameter:
      return "parameter";
    case InputKind::kBuffer:
      return "buffer";
    case InputKind::kConstant:
      return "constant";
  }
  return "";
}

std::string quoted(const std::string& text) {
  std::string s = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      s += '\\';
    }
    s += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return s + "\"";
}

std::string print_double(double value) {
  if (std::isinf(value)) {
    return value > 0 ? "inf" : "-inf";
  }
  if (std::isnan(value)) {
    return "nan";
  }
  std::ostringstream stream;
  stream.precision(17);
  stream << value;
  // The shortest text that reads back as the same number.
  for (int digits = 1; digits < 17; ++digits) {
    std::ostringstream shorter;
    shorter.precision(digits);
    shorter << value;
    if (std::stod(shorter.str()) == value) {
      stream.swap(shorter);
      break;
    }
  }
  std::string text = stream.str();
  if (text.find_first_of(".en") == std::string::npos) {
    text += ".0";
  }
  return text;
}

template <typename T, typename Print>
std::string print_list(const std::vector<T>& items, const Print& print) {
  std::string s = "[";
  for (size_t i = 0; i < items.size(); ++i) {
    s += (i > 0 ? ", " : "") + print(items[i]);
  }
  return s + "]";
}

class Printer {
 public:
  explicit Printer(const Graph& graph) : graph_(graph) {}

  std::string use(ValueId id) const {
    return id == kNoValue ? "None" : "%" + graph_.value(id).name;
  }

  std::string argument(const Argument& argument) const {
    return std::visit([this](const auto& value) { return print(value); }, argument);
  }

  /// Strides are printed where they are not those of a row-major tensor.
  std::string definition(ValueId id) const {
    const Value& value = graph_.value(id);
    std::string text = use(id) + ": " + print_type(value);
    const std::vector<Expr>& strides = value.tensor.strides;
    if (value.kind == ValueKind::kTensor && !strides.empty() &&
        !is_row_major(value.tensor, graph_.bounds)) {
      text += " strides " + print(strides);
    }
    return text;
  }

 private:
  std::string print(None) const { return "None"; }
  std::string print(ValueUse value) const {
    const std::string format = memory_format_name(value.format);
    return use(value.id) + (format.empty() ? "" : " as " + format);
  }
  std::string print(const std::vector<ValueUse>& values) const {
    return "tensors" + print_list(values, [this](ValueUse u) { return print(u); });
  }
  std::string print(const Expr& e) const { return e.str(); }
  std::string print(const std::vector<Expr>& values) const {
    return print_list(values, [](const Expr& e) { return e.str(); });
  }
  std::string print(double value) const { return print_double(value); }
  std::string print(const std::vector<double>& values) const {
    return "floats" + print_list(values, print_double);
  }
  std::string print(bool value) const { return value ? "True" : "False"; }
  std::string print(const std::vector<bool>& values) const {
    return "bools" + print_list(values, [](bool b) { return std::string(b ? "True" : "False"); });
  }
  std::string print(const std::string& value) const { return quoted(value); }
  std::string print(const std::vector<std::string>& values) const {
    return "strings" + print_list(values, quoted);
  }
  std::string print(DType value) const { return std::string("dtype.") + dtype_name(value); }
  std::string print(const MemoryFormatArg& value) const { return "format." + value.name; }
  std::string print(const DeviceArg& value) const { return "device(" + quoted(value.name) + ")"; }
  std::string print(const LayoutArg& value) const { return "layout." + value.name; }
  std::string print(const OpaqueArg& value) const {
    std::string s = "opaque(" + std::to_string(value.index) + ", " + quoted(value.text);
    if (!value.uses.empty() || !value.sizes.empty()) {
      s += ", " + print(value.uses) + ", " + print(value.sizes);
    }
    return s + ")";
  }

  const Graph& graph_;
};

std::string print_bounds(const Bounds& bounds) {
  std::string s;
  for (const auto& [name, range] : bounds.ranges()) {
    s += (s.empty() ? " where " : ", ") + name + " in [" + std::to_string(range.first) + ", " +
         (range.second == Bounds::kUnbounded ? "inf" : std::to_string(range.second)) + "]";
  }
  return s;
}

std::string print_node(const Printer& printer, const Node& node) {
  std::string line = "  ";
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    line += (i > 0 ? ", " : "") + printer.definition(node.outputs[i]);
  }
  line += (node.outputs.empty() ? "" : " = ") + node.target + "(";
  for (size_t i = 0; i < node.args.size(); ++i) {
    line += i > 0 ? ", " : "";
    line += node.args[i].name.empty() ? "" : node.args[i].name + "=";
    line += printer.argument(node.args[i].value);
  }
  line += ")";
  if (!node.stack.empty()) {
    line += "  # " + node.source().str();
  }
  return line + "\n";
}

std::string print_output(const Printer& printer, const GraphOutput& output) {
  switch (output.kind) {
    case OutputKind::kUserOutput:
      return printer.argument(output.value) +
             (output.view == kNoValue ? "" : " as " + printer.use(output.view));
    case OutputKind::kBufferMutation:
      return "buffer " + quoted(output.target) + " <- " + printer.argument(output.value);
    case OutputKind::kUserInputMutation:
      return "input " + quoted(output.target) + " <- " + printer.argument(output.value);
  }
  return "";
}

}  // namespace

std::string print_type(const Value& value) {
  switch (value.kind) {
    case ValueKind::kTensor: {
      std::string s = std::string(dtype_name(value.tensor.dtype)) +
                      print_list(value.tensor.shape, [](const Expr& e) { return e.str(); });
      if (value.tensor.device != "cpu") {
        s += "@" + value.tensor.device;
      }
      return s;
    }
    case ValueKind::kSymInt:
      return "SymInt(" + value.expr.str() + ")";
    case ValueKind::kSymFloat:
      return "SymFloat";
    case ValueKind::kSymBool:
      return "SymBool";
    case ValueKind::kNone:
      return "None";
    case ValueKind::kOpaque:
      if (value.what.empty()) {
        return "Opaque";
      }
      return "Opaque(" + quoted(value.what) + ", " +
             print_list(value.tensor.shape, [](const Expr& e) { return e.str(); }) + ")";
  }
  return "";
}

std::string print_graph(const Graph& graph) {
  const Printer printer(graph);
  std::string s = "graph " + (graph.name.empty() ? "main" : graph.name) + "(\n";
  for (const GraphInput& input : graph.inputs) {
    s += "    " + printer.definition(input.value);
    if (input.kind != InputKind::kUserInput) {
      s += std::string(" = ") + input_kind_name(input.kind) + " " + quoted(input.target);
    }
    s += ",\n";
  }
  s += ")" + print_bounds(graph.bounds) + ":\n";
  s += print_facts(graph.bounds, graph.guards);
  for (const NodeId id : graph.order()) {
    s += print_node(printer, graph.node(id));
  }
  s += "  return ";
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    s += (i > 0 ? ", " : "") + print_output(printer, graph.outputs[i]);
  }
  s += "\n";
  for (const Node& view : graph.output_views) {
    s += print_node(printer, view);
  }
  return s;
}

}  // namespace stator
