// SPDX-License-Identifier: Apache-2.0
#include "pt2/model.h"

#include <charconv>

#include "base/check.h"
#include "graph/schema.h"
#include "pt2/arguments.h"

namespace stator {
namespace {

using nlohmann::json;

constexpr int64_t kMostBytes = int64_t{1} << 47;  // what a process can address

/// "torch.ops.aten.add.Tensor" → "aten.add.Tensor".
std::string target_name(const std::string& target) {
  constexpr std::string_view kPrefix = "torch.ops.";
  return target.starts_with(kPrefix) ? target.substr(kPrefix.size()) : target;
}

/// Python's traceback text → frames, the user's own last. Frames of torch's modules are dropped
/// when others are there.
std::vector<SourceLine> read_stack(const std::string& trace, const std::string& module) {
  std::vector<SourceLine> all, own;
  size_t at = 0;
  while ((at = trace.find("File \"", at)) != std::string::npos) {
    at += 6;
    const size_t quote = trace.find('"', at);
    if (quote == std::string::npos) {
      break;
    }
    SourceLine line;
    line.file = trace.substr(at, quote - at);
    line.module = module;
    constexpr std::string_view kLine = ", line ";
    const size_t end = std::min(trace.find('\n', quote), trace.size());
    if (trace.compare(quote + 1, kLine.size(), kLine) == 0) {
      const char* begin = trace.data() + quote + 1 + kLine.size();
      std::from_chars(begin, trace.data() + end, line.line);
    }
    if (const size_t in = trace.find(", in ", quote); in != std::string::npos && in < end) {
      line.function = trace.substr(in + 5, end - in - 5);
    }
    const size_t next = trace.find("File \"", end);
    if (end < trace.size()) {
      const size_t stop = std::min({trace.find('\n', end + 1), next, trace.size()});
      const std::string text = trace.substr(end + 1, stop - end - 1);
      const size_t first = text.find_first_not_of(' ');
      line.text = first == std::string::npos ? "" : text.substr(first);
    }
    all.push_back(line);
    if (line.file.find("/torch/") == std::string::npos && !line.file.starts_with("torch/")) {
      own.push_back(line);
    }
    at = end;
  }
  return own.empty() ? all : own;
}

/// "L__self__,,M;L__self___l,l,Linear" → "l".
std::string module_path(const std::string& stack) {
  const size_t last = stack.rfind(';');
  const std::string entry = last == std::string::npos ? stack : stack.substr(last + 1);
  const size_t first = entry.find(',');
  const size_t second = entry.find(',', first + 1);
  if (first == std::string::npos || second == std::string::npos) {
    return "";
  }
  return entry.substr(first + 1, second - first - 1);
}

/// The name of a union's one field; throws for what is no object, or an empty one.
const std::string& kind_of(const json& value) {
  if (!value.is_object() || value.empty()) {
    throw json::other_error::create(501, "a description is empty", &value);
  }
  return value.begin().key();
}

class ModelReader {
 public:
  ModelReader(const json& model, const Pt2Weights& weights)
      : module_(model.at("graph_module")),
        json_(module_.at("graph")),
        model_(model),
        weights_(weights) {}

  Result<Graph> read() {
    STATOR_RETURN_IF_ERROR(ranges());
    STATOR_RETURN_IF_ERROR(inputs());
    STATOR_RETURN_IF_ERROR(guards());
    for (const json& node : json_.at("nodes")) {
      const Status status = this->node(node);
      if (!status.ok()) {
        return status.error().in("node '" + node.value("name", target_name(node.at("target"))) +
                                 "'");
      }
    }
    STATOR_RETURN_IF_ERROR(outputs());
    trees();
    return std::move(graph_);
  }

 private:
  Status ranges() {
    if (!model_.contains("range_constraints")) {
      return {};
    }
    for (const auto& [name, range] : model_["range_constraints"].items()) {
      // A derived dimension ("2*s0") follows from its symbol. A number that comes out of a tensor
      // has no least value unless the file says so: it may be negative, and nothing is claimed of
      // it.
      const Result<Expr> symbol = parse_expr(name);
      if (!symbol.ok() || !symbol.value().is_symbol() || !range.at("min_val").is_number()) {
        continue;
      }
      auto least = range["min_val"].get<int64_t>();
      // torch.export traces with at least 2 and takes 0 and 1 at run time all the same: for a size
      // of an input a least value of 2 says nothing.
      least = least == 2 && name.starts_with("s") ? 0 : least;
      const int64_t greatest =
          range.at("max_val").is_number() ? range["max_val"].get<int64_t>() : Bounds::kUnbounded;
      if (least > greatest) {
        return Error{ErrorCode::kInvalidFile, "the range of " + name + ", " +
                                                  std::to_string(least) + " to " +
                                                  std::to_string(greatest) + ", is empty"};
      }
      graph_.bounds.set(name, least, greatest);
    }
    return {};
  }

  /// What torch.export assumed of the inputs' sizes; one that cannot be read would be one that is
  /// not checked.
  Status guards() {
    if (!model_.contains("guards_code")) {
      return {};
    }
    for (const json& text : model_["guards_code"]) {
      STATOR_RETURN_IF_ERROR(graph_.add_guard(text.get<std::string>()));
    }
    return {};
  }

  Result<Value> tensor_value(const std::string& name) const {
    const json& meta = json_.at("tensor_values").at(name);
    Value value;
    value.name = name;
    const std::optional<DType> dtype = dtype_of_serialized(meta.at("dtype").get<int64_t>());
    if (!dtype.has_value()) {
      return Error{ErrorCode::kUnsupported, "tensor '" + name + "' has an unknown element type"};
    }
    value.tensor.dtype = *dtype;
    constexpr int64_t kStrided = 7;
    if (meta.at("layout").get<int64_t>() != kStrided) {
      return Error{ErrorCode::kUnsupported,
                   "tensor '" + name + "' is sparse; only dense ones are read"};
    }
    for (const json& size : meta.at("sizes")) {
      STATOR_TRY(Expr e, read_size(size));
      value.tensor.shape.push_back(std::move(e));
    }
    for (const json& stride : meta.at("strides")) {
      STATOR_TRY(Expr e, read_size(stride));
      value.tensor.strides.push_back(std::move(e));
    }
    value.tensor.device = meta.at("device").at("type").get<std::string>();
    STATOR_RETURN_IF_ERROR(check_layout(value));
    return value;
  }

  /// What no tensor can have, whatever its operator.
  static Status check_layout(const Value& value) {
    const TensorMeta& tensor = value.tensor;
    const auto bad = [&](const std::string& what) {
      return Error{ErrorCode::kInvalidFile, "tensor '" + value.name + "' " + what};
    };
    if (tensor.strides.size() != tensor.shape.size()) {
      return bad("has " + std::to_string(tensor.shape.size()) + " sizes and " +
                 std::to_string(tensor.strides.size()) + " strides");
    }
    for (const std::vector<Expr>* list : {&tensor.shape, &tensor.strides}) {
      for (const Expr& e : *list) {
        if (e.is_constant() && e.constant() < 0) {
          return bad((list == &tensor.shape ? "has the size " : "has the stride ") + e.str());
        }
      }
    }
    try {
      const Expr bytes = product(tensor.shape) * Expr(dtype_bytes(tensor.dtype));
      if (!bytes.is_constant() || bytes.constant() <= kMostBytes) return {};
    } catch (const InternalError&) {  // the product overflows
    }
    return bad("of the type " + print_type(value) + " is larger than memory can be");
  }

  Result<Value> size_value(const std::string& name) {
    Value value;
    value.name = name;
    value.kind = ValueKind::kSymInt;
    STATOR_TRY(value.expr, read_size(json_.at("sym_int_values").at(name)));
    names_.sizes[name] = value.expr;
    return value;
  }

  ValueId define(Value value) {
    const std::string name = value.name;
    const ValueId id = graph_.add_value(std::move(value));
    names_.values[name] = id;
    return id;
  }

  // ------------------------------------------------------------ inputs

  Status inputs() {
    for (const json& spec : module_.at("signature").at("input_specs")) {
      const std::string& kind = kind_of(spec);
      const json& body = spec.begin().value();
      if (kind == "user_input") {
        STATOR_RETURN_IF_ERROR(user_input(body.at("arg")));
      } else if (kind == "parameter") {
        STATOR_RETURN_IF_ERROR(
            weight(InputKind::kParameter, body, body.at("parameter_name").get<std::string>()));
      } else if (kind == "buffer") {
        STATOR_RETURN_IF_ERROR(
            weight(InputKind::kBuffer, body, body.at("buffer_name").get<std::string>()));
      } else if (kind == "tensor_constant") {
        STATOR_RETURN_IF_ERROR(
            weight(InputKind::kConstant, body, body.at("tensor_constant_name").get<std::string>()));
      } else if (kind != "constant_input") {  // its value stands where it is used
        return Error{ErrorCode::kUnsupported,
                     "an input of the kind '" + kind + "' is not supported"};
      }
    }
    return {};
  }

  Status user_input(const json& arg) {
    GraphInput input;
    if (arg.contains("as_tensor")) {
      STATOR_TRY(Value value, tensor_value(arg["as_tensor"].at("name").get<std::string>()));
      input.value = define(std::move(value));
    } else if (arg.contains("as_sym_int") && arg["as_sym_int"].contains("as_name")) {
      STATOR_TRY(Value value, size_value(arg["as_sym_int"]["as_name"].get<std::string>()));
      input.value = define(std::move(value));
    } else {
      return {};  // None or a number that was fixed when the model was exported
    }
    graph_.user_input_names.push_back(graph_.value(input.value).name);
    graph_.inputs.push_back(std::move(input));
    return {};
  }

  Status weight(InputKind kind, const json& body, const std::string& target) {
    STATOR_TRY(Value value, tensor_value(body.at("arg").at("name").get<std::string>()));
    GraphInput input;
    input.kind = kind;
    input.target = target;
    const json& meta = json_.at("tensor_values").at(value.name);
    STATOR_TRY(const Expr offset, read_size(meta.at("storage_offset")));
    STATOR_TRY(input.data, weights_.data(target, value, offset));
    value.tensor.strides.clear();  // the bytes are row-major now
    input.value = define(std::move(value));
    graph_.inputs.push_back(std::move(input));
    return {};
  }

  // ------------------------------------------------------------ nodes

  Status node(const json& source) {
    Node node;
    node.target = target_name(source.at("target").get<std::string>());
    for (const json& input : source.at("inputs")) {
      STATOR_TRY(Argument value, read_argument(input.at("arg"), names_));
      node.args.push_back({input.at("name").get<std::string>(), std::move(value)});
    }
    if (!find_schema(node.target)) {
      for (NamedArgument& arg : node.args) {
        arg.name.clear();  // not an ATen operator: the archive's names are no keywords
      }
    } else {
      STATOR_TRY(node.args, normalize_arguments(*find_schema(node.target), std::move(node.args)));
    }
    for (const json& output : source.at("outputs")) {
      STATOR_RETURN_IF_ERROR(output_values(output, node));
    }
    const json& metadata = source.at("metadata");
    node.stack = read_stack(metadata.value("stack_trace", ""),
                            module_path(metadata.value("nn_module_stack", "")));
    node.name =
        source.contains("name") && source["name"].is_string()
            ? source["name"].get<std::string>()
            : (node.outputs.empty() ? node.target : graph_.value(node.outputs.front()).name);
    graph_.add_node(std::move(node));
    return {};
  }

  Status output_values(const json& output, Node& node) {
    const std::string& kind = kind_of(output);
    const json& body = output.begin().value();
    if (kind == "as_tensor") {
      return tensor_output(body, node);
    }
    if (kind == "as_tensors") {
      for (const json& item : body) {
        STATOR_RETURN_IF_ERROR(tensor_output(item, node));
      }
      return {};
    }
    if (kind == "as_optional_tensors") {
      for (const json& item : body) {
        STATOR_RETURN_IF_ERROR(item.contains("as_tensor") ? tensor_output(item["as_tensor"], node)
                                                          : none_output(node));
      }
      return {};
    }
    if (kind == "as_none") {
      return none_output(node);
    }
    if (kind == "as_sym_int") {
      STATOR_TRY(Value value, size_value(body.at("as_name").get<std::string>()));
      node.outputs.push_back(define(std::move(value)));
      return {};
    }
    Value value;
    value.kind = kind == "as_sym_float"  ? ValueKind::kSymFloat
                 : kind == "as_sym_bool" ? ValueKind::kSymBool
                                         : ValueKind::kOpaque;
    value.name = body.is_object() ? body.value("as_name", body.value("name", "")) : "";
    node.outputs.push_back(define(std::move(value)));
    return {};
  }

  Status tensor_output(const json& tensor, Node& node) {
    const auto name = tensor.at("name").get<std::string>();
    if (name.empty()) {
      return none_output(node);  // an element that nobody uses
    }
    STATOR_TRY(Value value, tensor_value(name));
    node.outputs.push_back(define(std::move(value)));
    return {};
  }

  Status none_output(Node& node) {
    Value value;
    value.kind = ValueKind::kNone;
    value.name = "none";
    node.outputs.push_back(graph_.add_value(std::move(value)));
    return {};
  }

  // ------------------------------------------------------------ outputs

  Status outputs() {
    for (const json& spec : module_.at("signature").at("output_specs")) {
      const std::string& kind = kind_of(spec);
      const json& body = spec.begin().value();
      GraphOutput output;
      if (kind == "buffer_mutation") {
        output.kind = OutputKind::kBufferMutation;
        output.target = body.at("buffer_name").get<std::string>();
      } else if (kind == "user_input_mutation") {
        output.kind = OutputKind::kUserInputMutation;
        output.target = body.at("user_input_name").get<std::string>();
      } else if (kind != "user_output") {
        return Error{ErrorCode::kUnsupported,
                     "an output of the kind '" + kind + "' is not supported"};
      }
      const json& arg = body.at("arg");
      const json wrapped = arg.contains("name") ? json{{"as_tensor", arg}} : arg;
      STATOR_TRY(output.value, read_argument(wrapped, names_));
      graph_.outputs.push_back(std::move(output));
    }
    return {};
  }

  void trees() {
    for (const json& entry : module_.at("module_call_graph")) {
      if (entry.value("fqn", "x").empty() && entry.contains("signature") &&
          entry["signature"].is_object()) {
        graph_.input_tree = entry["signature"].value("in_spec", "");
        graph_.output_tree = entry["signature"].value("out_spec", "");
      }
    }
  }

  const json& module_;
  const json& json_;
  const json& model_;
  const Pt2Weights& weights_;
  Graph graph_;
  Pt2Names names_;
};

}  // namespace

Result<Graph> read_model(const json& model, const Pt2Weights& weights) {
  return ModelReader(model, weights).read();
}

}  // namespace stator
