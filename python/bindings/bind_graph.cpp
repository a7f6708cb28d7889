// SPDX-License-Identifier: Apache-2.0
//
// Building a Graph node by node from Python (python/stator/hand_over.py).
//
// Arguments cross as Python values: None, bool, int, float, str and lists of them; what Python's
// types cannot tell apart is a pair (tag, value): ("value", id), ("values", [id or -1]), ("expr",
// text), ("exprs", [text or int]), ("dtype", name),
// ("device", name), ("memory_format", name), ("layout", name), ("opaque", (index, text, [id],
// [text or int])).
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"
#include "graph/conditions.h"
#include "stator/graph.h"
#include "tensor_exchange.h"

namespace nb = nanobind;

namespace stator {
namespace {

Expr expr_of(nb::handle object) {
  if (nb::isinstance<nb::int_>(object)) {
    return nb::cast<int64_t>(object);
  }
  return value_or_raise(parse_expr(nb::cast<std::string>(object)));
}

std::vector<Expr> exprs_of(nb::handle list) {
  std::vector<Expr> exprs;
  for (const nb::handle item : list) {
    exprs.push_back(expr_of(item));
  }
  return exprs;
}

DType dtype_of(const std::string& name) {
  const std::optional<DType> dtype = parse_dtype(name);
  if (!dtype) {
    throw nb::type_error(("dtype " + name + " is not known to stator").c_str());
  }
  return *dtype;
}

Argument tagged_argument(const std::string& tag, nb::handle value) {
  if (tag == "value") {
    return ValueUse{nb::cast<ValueId>(value)};
  }
  if (tag == "values") {
    std::vector<ValueUse> uses;
    for (const nb::handle item : value) {
      uses.push_back(ValueUse{nb::cast<ValueId>(item)});
    }
    return uses;
  }
  if (tag == "expr") {
    return expr_of(value);
  }
  if (tag == "exprs") {
    return exprs_of(value);
  }
  if (tag == "floats") {
    return nb::cast<std::vector<double>>(value);
  }
  if (tag == "bools") {
    return nb::cast<std::vector<bool>>(value);
  }
  if (tag == "strings") {
    return nb::cast<std::vector<std::string>>(value);
  }
  if (tag == "opaque") {
    const auto [index, text, ids, sizes] =
        nb::cast<std::tuple<int64_t, std::string, std::vector<ValueId>, nb::object>>(value);
    OpaqueArg opaque{index, text, {}, exprs_of(sizes)};
    for (const ValueId id : ids) {
      opaque.uses.push_back(ValueUse{id});
    }
    return opaque;
  }
  const auto text = nb::cast<std::string>(value);
  if (tag == "dtype") {
    return dtype_of(text);
  }
  if (tag == "device") {
    return DeviceArg{text};
  }
  if (tag == "memory_format") {
    return MemoryFormatArg{text};
  }
  if (tag == "layout") {
    return LayoutArg{text};
  }
  throw nb::value_error(("unknown argument tag " + tag).c_str());
}

Argument argument_of(nb::handle object) {
  if (object.is_none()) {
    return None{};
  }
  if (nb::isinstance<nb::bool_>(object)) {
    return nb::cast<bool>(object);
  }
  if (nb::isinstance<nb::int_>(object)) {
    return Expr(nb::cast<int64_t>(object));
  }
  if (nb::isinstance<nb::float_>(object)) {
    return nb::cast<double>(object);
  }
  if (nb::isinstance<nb::str>(object)) {
    return nb::cast<std::string>(object);
  }
  const auto [tag, value] = nb::cast<std::pair<std::string, nb::object>>(object);
  return tagged_argument(tag, value);
}

/// (kind, name, dtype, shape, strides, device, expr): what meta["val"] says of one output. Of an
/// opaque one `dtype` is what it is, in words, and `shape` its sizes where it has some.
using ValueSpec = std::tuple<std::string, std::string, std::string, nb::object, nb::object,
                             std::string, nb::object>;

Value value_of(const ValueSpec& spec) {
  const auto& [kind, name, dtype, shape, strides, device, expr] = spec;
  Value value;
  value.name = name;
  if (kind == "tensor") {
    value.kind = ValueKind::kTensor;
    value.tensor.dtype = dtype_of(dtype);
    value.tensor.shape = exprs_of(shape);
    value.tensor.strides = exprs_of(strides);
    value.tensor.device = device;
  } else if (kind == "int") {
    value.kind = ValueKind::kSymInt;
    value.expr = expr_of(expr);
  } else if (kind == "float") {
    value.kind = ValueKind::kSymFloat;
  } else if (kind == "bool") {
    value.kind = ValueKind::kSymBool;
  } else if (kind == "none") {
    value.kind = ValueKind::kNone;
  } else {
    value.kind = ValueKind::kOpaque;
    value.what = dtype;
    value.tensor.shape = exprs_of(shape);
  }
  return value;
}

/// A PyTorch tensor's bytes, kept alive by the tensor itself.
TensorData data_of(nb::handle tensor) {
  dlpack::Tensor view{};
  if (!TensorExchange::torch().borrow(tensor, &view) || view.device.type != dlpack::kCpu ||
      !is_contiguous(view)) {
    throw nb::value_error("a weight must be a contiguous CPU tensor here");
  }
  int64_t elements = 1;
  for (int32_t k = 0; k < view.ndim; ++k) {
    elements *= view.shape[k];
  }
  TensorData data;
  data.data = static_cast<const char*>(view.data) + view.byte_offset;
  data.size_bytes = elements * view.dtype.bits / 8;
  PyObject* object = tensor.inc_ref().ptr();
  data.owner = std::shared_ptr<const void>(object, [](const void* p) {
    if (Py_IsInitialized() == 0) {
      return;  // the interpreter is gone, and the tensor with it
    }
    const nb::gil_scoped_acquire lock;
    Py_DECREF(static_cast<PyObject*>(const_cast<void*>(p)));
  });
  return data;
}

using Frame = std::tuple<std::string, int, std::string, std::string>;  // file, line, function, text
using Range = std::pair<std::optional<int64_t>, std::optional<int64_t>>;  // nullopt: no limit

std::vector<SourceLine> stack_of(const std::vector<Frame>& frames, const std::string& module) {
  std::vector<SourceLine> stack;
  for (const auto& [file, line, function, text] : frames) {
    stack.push_back(SourceLine{file, line, function, text, module});
  }
  return stack;
}

InputKind input_kind_of(const std::string& name) {
  if (name == "parameter") {
    return InputKind::kParameter;
  }
  if (name == "buffer") {
    return InputKind::kBuffer;
  }
  return name == "constant" ? InputKind::kConstant : InputKind::kUserInput;
}

OutputKind output_kind_of(const std::string& name) {
  if (name == "buffer_mutation") {
    return OutputKind::kBufferMutation;
  }
  return name == "user_input_mutation" ? OutputKind::kUserInputMutation : OutputKind::kUserOutput;
}

}  // namespace

void bind_graph(nb::module_& m) {
  m.def(
      "has_dtype", [](const std::string& name) { return parse_dtype(name).has_value(); },
      nb::arg("name"), "Whether the graph has an element type of this name, as PyTorch has it.");
  m.def(
      "has_size", [](const std::string& text) { return parse_expr(text).ok(); }, nb::arg("text"),
      "Whether the graph can hold a size of this text.");
  m.def(
      "readable_condition", [](const std::string& guard) { return readable_condition(guard); },
      nb::arg("guard"), "A guard of torch.export's as a user would write it: x.shape[1] > 3.");
  m.def(
      "holds_for_all",
      [](const std::string& text, const std::map<std::string, Range>& ranges) {
        Bounds bounds;
        for (const auto& [symbol, range] : ranges) {
          bounds.set(symbol, range.first.value_or(INT64_MIN),
                     range.second.value_or(Bounds::kUnbounded));
        }
        return holds_for_all(value_or_raise(parse_expr(text)), bounds);
      },
      nb::arg("text"), nb::arg("ranges"),
      "Whether a condition holds for all sizes in these ranges of symbols, as far as can be "
      "proved.");
  nb::class_<Graph>(m, "Graph", "SSA over ATen operators; see include/stator/graph.h.")
      .def(nb::init<>())
      .def_rw("name", &Graph::name)
      .def_rw("input_tree", &Graph::input_tree)
      .def_rw("output_tree", &Graph::output_tree)
      .def_rw("user_input_names", &Graph::user_input_names)
      .def(
          "set_range",
          [](Graph& g, const std::string& symbol, std::optional<int64_t> least,
             std::optional<int64_t> greatest) {
            g.bounds.set(symbol, least.value_or(INT64_MIN), greatest.value_or(Bounds::kUnbounded));
          },
          nb::arg("symbol"), nb::arg("least").none(), nb::arg("greatest").none(),
          "Says that least <= symbol <= greatest (None: no limit).")
      .def(
          "guard_text",
          [](const Graph& g, const std::string& text) {
            return value_or_raise(g.read_guard(text)).str();
          },
          nb::arg("text"), "The canonical text of a condition on the inputs.")
      .def(
          "holds_within",
          [](const Graph& g, const std::string& text,
             const std::map<std::string, std::pair<int64_t, int64_t>>& ranges) {
            Bounds bounds = g.bounds;
            for (const auto& [symbol, ends] : ranges) bounds.set(symbol, ends.first, ends.second);
            return holds_for_all(value_or_raise(g.read_guard(text)), bounds);
          },
          nb::arg("text"), nb::arg("ranges"),
          "Whether a condition on the inputs, as torch.export writes it, holds for all sizes in "
          "these ranges of symbols, as far as can be proved.")
      .def(
          "add_guard",
          [](Graph& g, const std::string& text, const std::string& source) {
            const Status status = g.add_guard(text, source);
            return status.ok() ? std::string() : status.error().message;
          },
          nb::arg("text"), nb::arg("source"),
          "Adds a condition on the inputs, as torch.export writes it; \"\" or why it cannot be "
          "checked here.")
      .def(
          "add_input",
          [](Graph& g, const std::string& kind, const ValueSpec& spec, const std::string& target,
             nb::object tensor) {
            const Value value = value_of(spec);
            GraphInput input;
            input.kind = input_kind_of(kind);
            input.target = target;
            if (!tensor.is_none()) {
              input.data = data_of(tensor);
            }
            input.value = g.add_value(value);
            g.inputs.push_back(input);
            return input.value;
          },
          nb::arg("kind"), nb::arg("spec"), nb::arg("target"), nb::arg("tensor").none(),
          "Adds a parameter, buffer, constant (with its tensor) or user input; returns its value "
          "id.")
      .def(
          "add_node",
          [](Graph& g, const std::string& name, const std::string& target,
             const std::vector<std::pair<std::string, nb::object>>& args,
             const std::vector<ValueSpec>& outputs, const std::vector<Frame>& frames,
             const std::string& module) {
            Node node;
            node.name = name;
            node.target = target;
            for (const auto& [arg_name, value] : args) {
              node.args.push_back({arg_name, argument_of(value)});
            }
            for (const ValueSpec& spec : outputs) {
              node.outputs.push_back(g.add_value(value_of(spec)));
            }
            node.stack = stack_of(frames, module);
            std::vector<ValueId> ids = node.outputs;
            g.add_node(std::move(node));
            return ids;
          },
          nb::arg("name"), nb::arg("target"), nb::arg("args"), nb::arg("outputs"),
          nb::arg("frames"), nb::arg("module"),
          "Appends a node; returns the value ids of its outputs.")
      .def(
          "add_output",
          [](Graph& g, const std::string& kind, nb::handle value, const std::string& target) {
            g.outputs.push_back(GraphOutput{output_kind_of(kind), argument_of(value), target});
          },
          nb::arg("kind"), nb::arg("value").none(), nb::arg("target"))
      .def("__str__", [](const Graph& g) { return print_graph(g); });
}

}  // namespace stator
