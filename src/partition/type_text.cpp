// SPDX-License-Identifier: Apache-2.0
#include "partition/type_text.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "base/json.h"

namespace stator {
namespace {

using Json = nlohmann::json;

/// Null where the text, which comes from a file, is none.
Json parse_spec(const std::string& text) {
  Result<Json> parsed = parse_json(text);
  return parsed.ok() ? std::move(parsed).value() : Json();
}

std::string join(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) {
    text += (text.empty() ? "" : ", ") + part;
  }
  return text;
}

std::string dimension(const Expr& size, const Bounds& bounds) {
  if (size.is_constant()) {
    return std::to_string(size.constant());
  }
  const std::optional<int64_t> greatest = bounds.greatest(size);
  return "(min=" + std::to_string(bounds.least(size).value_or(0)) + ", max=" +
         (greatest && *greatest != Bounds::kUnbounded ? std::to_string(*greatest) : "inf") + ")";
}

/// Python's tuple form: "()", "(512,)", "(1, 512)".
std::string shape_text(const std::vector<Expr>& shape, const Bounds& bounds) {
  std::vector<std::string> sizes;
  for (const Expr& size : shape) {
    sizes.push_back(dimension(size, bounds));
  }
  return "(" + join(sizes) + (sizes.size() == 1 ? ",)" : ")");
}

std::string constant_kind(const Argument& value) {
  if (std::holds_alternative<Expr>(value)) {
    return std::get<Expr>(value).is_constant() ? "int" : "SymInt";
  }
  if (std::holds_alternative<double>(value)) {
    return "float";
  }
  if (std::holds_alternative<bool>(value)) {
    return "bool";
  }
  if (std::holds_alternative<std::string>(value)) {
    return "str";
  }
  return std::holds_alternative<None>(value) ? "None" : "Object";
}

/// A pytree spec as torch.utils._pytree writes it: [version, {type, context, children_spec}]; a
/// leaf has no type. Leaves are taken from `leaves` in order.
class TreeText {
 public:
  explicit TreeText(const std::vector<std::string>& leaves) : leaves_(leaves) {}

  /// The children of the root, which must use up all leaves; nullopt when the text is of another
  /// form.
  std::optional<std::vector<std::string>> children(const std::string& spec_text) {
    Json json = parse_spec(spec_text);
    if (json.is_array() && json.size() == 2) {
      json = Json(json[1]);
    }
    if (!json.is_object() || !json.contains("children_spec")) {
      return std::nullopt;
    }
    std::vector<std::string> texts;
    for (const Json& child : json["children_spec"]) {
      texts.push_back(text(child));
    }
    return ok_ && next_ == leaves_.size() ? std::optional(texts) : std::nullopt;
  }
  /// Arguments and keyword arguments: a root of (tuple, dict), each flattened by one level.
  std::optional<std::vector<std::string>> call_arguments(const std::string& spec_text) {
    Json json = parse_spec(spec_text);
    if (json.is_array() && json.size() == 2) {
      json = Json(json[1]);
    }
    if (!json.is_object() || !json.contains("children_spec") || json["children_spec"].size() != 2) {
      return std::nullopt;
    }
    std::vector<std::string> texts;
    for (const Json& part : json["children_spec"]) {
      if (!part.is_object() || !part.contains("children_spec")) {
        return std::nullopt;
      }
      for (const Json& child : part["children_spec"]) {
        texts.push_back(text(child));
      }
    }
    return ok_ && next_ == leaves_.size() ? std::optional(texts) : std::nullopt;
  }

 private:
  std::string leaf() {
    if (next_ == leaves_.size()) {
      ok_ = false;
      return "";
    }
    return leaves_[next_++];
  }

  std::string text(const Json& spec) {
    if (!spec.is_object() || !spec.contains("type")) {
      ok_ = false;
      return "";
    }
    if (spec["type"].is_null()) {
      return leaf();
    }
    const std::string type = spec["type"].is_string() ? spec["type"].get<std::string>() : "";
    std::vector<std::string> parts;
    if (!spec.contains("children_spec")) {
      ok_ = false;
      return "";
    }
    for (const Json& child : spec["children_spec"]) {
      parts.push_back(text(child));
    }
    if (type == "builtins.list") {
      return "List[" + join(parts) + "]";
    }
    if (type == "builtins.dict" || type.find("Dict") != std::string::npos) {
      add_keys(spec, parts);
      return "Dict{" + join(parts) + "}";
    }
    return "Tuple(" + join(parts) + ")";
  }

  static void add_keys(const Json& spec, std::vector<std::string>& parts) {
    const Json context = spec.contains("context") && spec["context"].is_string()
                             ? parse_spec(spec["context"].get<std::string>())
                             : Json();
    if (!context.is_array() || context.size() != parts.size()) {
      return;
    }
    for (size_t i = 0; i < parts.size(); ++i) {
      const std::string key =
          context[i].is_string() ? context[i].get<std::string>() : context[i].dump();
      parts[i] = key + ": " + parts[i];
    }
  }

  const std::vector<std::string>& leaves_;
  size_t next_ = 0;
  bool ok_ = true;
};

}  // namespace

std::string report_type(const Graph& graph, const Value& value) {
  switch (value.kind) {
    case ValueKind::kTensor:
      return "Tensor: " + shape_text(value.tensor.shape, graph.bounds) + "@" +
             torch_dtype_name(value.tensor.dtype);
    case ValueKind::kSymInt:
      return "SymInt";
    case ValueKind::kSymFloat:
      return "SymFloat";
    case ValueKind::kSymBool:
      return "SymBool";
    case ValueKind::kNone:
      return "None";
    case ValueKind::kOpaque:
      return "Object";
  }
  return "Object";
}

std::string report_list(const std::vector<std::string>& types) {
  return "List[" + join(types) + "]";
}

std::string report_inputs(const Graph& graph) {
  std::vector<std::string> leaves;
  for (const GraphInput& input : graph.inputs) {
    if (input.kind == InputKind::kUserInput) {
      leaves.push_back(report_type(graph, graph.value(input.value)));
    }
  }
  return report_list(TreeText(leaves).call_arguments(graph.input_tree).value_or(leaves));
}

std::string report_outputs(const Graph& graph) {
  std::vector<std::string> leaves;
  for (const GraphOutput& output : graph.outputs) {
    if (output.kind == OutputKind::kUserOutput) {
      const auto* use = std::get_if<ValueUse>(&output.value);
      const bool viewed = output.view != kNoValue;
      leaves.push_back(use != nullptr
                           ? report_type(graph, graph.value(viewed ? output.view : use->id))
                           : constant_kind(output.value));
    }
  }
  // A dict is one output with names; a tuple or list is the list itself.
  if (graph.output_tree.find("dict") != std::string::npos ||
      graph.output_tree.find("Dict") != std::string::npos) {
    const Json tree = parse_spec(graph.output_tree);
    const Json spec = tree.is_array() && tree.size() > 1 ? tree[1] : Json();
    const std::string wrapped =
        R"([1, {"type": "builtins.tuple", "context": "null", "children_spec": [)" + spec.dump() +
        "]}]";
    return report_list(TreeText(leaves).children(wrapped).value_or(leaves));
  }
  return report_list(TreeText(leaves).children(graph.output_tree).value_or(leaves));
}

}  // namespace stator
