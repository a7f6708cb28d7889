// SPDX-License-Identifier: Apache-2.0
#include <set>

#include "graph/schema.h"
#include "graph/uses.h"
#include "stator/graph.h"

namespace stator {
namespace {

Error bad(const std::string& what) {
  return Error{ErrorCode::kInvalidFile, "the graph is not well formed: " + what};
}

template <typename... Forms>
bool is_one_of(const Argument& value) {
  return (std::holds_alternative<Forms>(value) || ...);
}

/// True when the form of an argument can stand for a schema's type ("Tensor", "int[2]?"). A value
/// of the graph (ValueUse) stands for any number too: sizes that came out of a tensor.
bool fits(const Argument& value, std::string_view type) {
  const std::string_view element = type.substr(0, type.find_first_of("[?"));
  if (is_one_of<None>(value)) {
    return type.ends_with("?");
  }
  if (is_one_of<OpaqueArg>(value)) {
    return true;
  }
  if (type.find('[') != std::string_view::npos) {
    if (element == "Tensor") {
      return is_one_of<std::vector<ValueUse>>(value);
    }
    if (element == "int" || element == "SymInt") {
      return is_one_of<std::vector<Expr>, std::vector<ValueUse>>(value);
    }
    return (element != "float" && element != "bool" && element != "Scalar") ||
           is_one_of<std::vector<double>, std::vector<Expr>, std::vector<bool>,
                     std::vector<ValueUse>>(value);
  }
  if (element == "int" || element == "SymInt" || element == "bool") {
    return is_one_of<Expr, bool, ValueUse>(value);
  }
  if (element == "Tensor" || element == "float" || element == "Scalar") {
    return is_one_of<Expr, double, bool, ValueUse>(value);
  }
  return element != "str" || is_one_of<std::string>(value);
}

class Verifier {
 public:
  explicit Verifier(const Graph& graph)
      : graph_(graph), defined_(static_cast<size_t>(graph.value_count()), false) {}

  Status run() {
    std::set<std::string> names;
    for (ValueId id = 0; id < graph_.value_count(); ++id) {
      const Value& value = graph_.value(id);
      if (!names.insert(value.name).second) {
        return bad("two values are called %" + value.name);
      }
      for (const Expr& size : value.tensor.shape) {
        if (size.is_constant() && size.constant() < 0) {
          return bad("%" + value.name + " has a negative size: " + print_type(value));
        }
      }
    }
    for (const GraphInput& input : graph_.inputs) {
      STATOR_RETURN_IF_ERROR(define(input.value, "an input"));
    }
    for (const NodeId id : graph_.order()) {
      STATOR_RETURN_IF_ERROR(node(graph_.node(id)));
    }
    for (const GraphOutput& output : graph_.outputs) {
      STATOR_RETURN_IF_ERROR(argument(output.value, "the graph's outputs"));
    }
    return {};
  }

 private:
  bool is_value(ValueId id) const { return id >= 0 && id < graph_.value_count(); }

  Status define(ValueId id, const std::string& where) {
    if (!is_value(id)) {
      return bad(where + " has no value");
    }
    if (defined_[static_cast<size_t>(id)]) {
      return bad("%" + graph_.value(id).name + " is defined twice");
    }
    defined_[static_cast<size_t>(id)] = true;
    return {};
  }

  Status use(ValueId id, const std::string& where) const {
    if (!is_value(id)) {
      return bad(where + " uses a value that is not there");
    }
    if (!defined_[static_cast<size_t>(id)]) {
      return bad(where + " uses %" + graph_.value(id).name + " before it is defined");
    }
    return {};
  }

  Status argument(const Argument& value, const std::string& where) const {
    if (const auto* single = std::get_if<ValueUse>(&value)) {
      return use(single->id, where);  // a None is no ValueUse
    }
    Status status;
    for_each_use(value, [&](ValueId id) {
      if (status.ok()) status = use(id, where);
    });
    return status;
  }

  Status node(const Node& node) {
    const std::string where = node.target + " (" + node.name + ")";
    for (const NamedArgument& arg : node.args) {
      STATOR_RETURN_IF_ERROR(argument(arg.value, where));
    }
    if (const Schema* schema = find_schema(node.target)) {
      if (node.args.size() != schema->arguments.size()) {
        return bad(where + " has " + std::to_string(node.args.size()) + " arguments, its schema " +
                   std::to_string(schema->arguments.size()));
      }
      for (size_t i = 0; i < node.args.size(); ++i) {
        if (node.args[i].name != schema->arguments[i].name) {
          return bad(where + ": argument " + std::to_string(i) + " is called '" +
                     node.args[i].name + "', by the schema '" + schema->arguments[i].name + "'");
        }
        if (!fits(node.args[i].value, schema->arguments[i].type)) {
          return bad(where + ": argument '" + node.args[i].name + "' is no " +
                     schema->arguments[i].type);
        }
      }
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      STATOR_RETURN_IF_ERROR(define(node.outputs[i], where));
      if (graph_.value(node.outputs[i]).producer != node.id) {
        return bad("%" + graph_.value(node.outputs[i]).name + " does not know that " + where +
                   " makes it");
      }
    }
    return {};
  }

  const Graph& graph_;
  std::vector<bool> defined_;
};

}  // namespace

Status verify_graph(const Graph& graph) { return Verifier(graph).run(); }

}  // namespace stator
