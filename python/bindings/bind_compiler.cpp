// SPDX-License-Identifier: Apache-2.0
//
// Lowering, partition and engine building for Python. Nodes that stay in PyTorch cross back as
// plain tuples.
#include <nanobind/stl/function.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"
#include "builder/build.h"
#include "conversion/conversion.h"
#include "graph/input_check.h"
#include "graph/strides.h"
#include "partition/partitions.h"
#include "pt2/read_pt2.h"
#include "stator/compiler.h"

namespace nb = nanobind;

namespace stator {
namespace {

/// ("symbol", name) or (operator, operand, operand…): what Python turns into FX nodes.
nb::object expr_tree(const Expr& e) {
  static constexpr const char* kOperators[] = {"",         "",    "add", "mul",
                                               "floordiv", "mod", "min", "max"};
  if (e.is_constant()) {
    return nb::int_(e.constant());
  }
  if (e.kind() == ExprKind::kReal) {
    return nb::float_(e.real_value());
  }
  nb::list items;
  if (e.is_symbol()) {
    items.append("symbol");
    items.append(e.symbol_name());
  } else {
    items.append(e.kind() == ExprKind::kCall ? size_function(e.function()).name
                                             : kOperators[static_cast<size_t>(e.kind())]);
    for (const Expr& operand : e.operands()) {
      items.append(expr_tree(operand));
    }
  }
  return nb::tuple(items);
}

/// Symbols that stand for functions' values are written out.
nb::object expr_object(const Bounds& bounds, const Expr& named) {
  const Expr e = bounds.expand(named);
  if (e.is_constant()) {
    return nb::int_(e.constant());
  }
  return nb::make_tuple("expr", expr_tree(e));
}

/// ("value", id), or ("copy", (id, memory format)).
nb::object use_object(ValueUse use) {
  if (use.format == MemoryFormat::kNoted || use.id == kNoValue) {
    return nb::make_tuple("value", use.id);
  }
  return nb::make_tuple("copy", nb::make_tuple(use.id, memory_format_name(use.format)));
}

/// The inverse of bind_graph's argument form; an expression that is no number crosses as a tree of
/// tuples.
nb::object argument_object(const Bounds& bounds, const Argument& argument) {
  return std::visit(
      [&bounds](const auto& value) -> nb::object {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, None>) {
          return nb::none();
        } else if constexpr (std::is_same_v<T, ValueUse>) {
          return use_object(value);
        } else if constexpr (std::is_same_v<T, std::vector<ValueUse>>) {
          nb::list uses;
          for (const ValueUse use : value) {
            uses.append(use_object(use));
          }
          return nb::make_tuple("list", uses);
        } else if constexpr (std::is_same_v<T, Expr>) {
          return expr_object(bounds, value);
        } else if constexpr (std::is_same_v<T, std::vector<Expr>>) {
          nb::list items;
          for (const Expr& e : value) {
            items.append(expr_object(bounds, e));
          }
          return nb::make_tuple("list", items);
        } else if constexpr (std::is_same_v<T, std::vector<double>> ||
                             std::is_same_v<T, std::vector<bool>> ||
                             std::is_same_v<T, std::vector<std::string>>) {
          nb::list items;
          for (const auto& item : value) {
            items.append(nb::cast(static_cast<typename T::value_type>(item)));
          }
          return nb::make_tuple("list", items);
        } else if constexpr (std::is_same_v<T, DType>) {
          return nb::make_tuple("dtype", torch_dtype_name(value));
        } else if constexpr (std::is_same_v<T, DeviceArg>) {
          return nb::make_tuple("device", value.name);
        } else if constexpr (std::is_same_v<T, MemoryFormatArg>) {
          return nb::make_tuple("memory_format", value.name);
        } else if constexpr (std::is_same_v<T, LayoutArg>) {
          return nb::make_tuple("layout", value.name);
        } else if constexpr (std::is_same_v<T, OpaqueArg>) {
          nb::list uses, sizes;
          for (const ValueUse use : value.uses) {
            uses.append(use_object(use));
          }
          for (const Expr& e : value.sizes) {
            sizes.append(expr_object(bounds, e));
          }
          return nb::make_tuple("opaque", nb::make_tuple(value.index, uses, sizes));
        } else {
          return nb::cast(value);
        }
      },
      argument);
}

nb::dict node_object(const Graph& graph, const Node& node) {
  nb::dict d;
  d["name"] = node.name;
  d["target"] = node.target;
  nb::list args;
  for (const NamedArgument& arg : node.args) {
    args.append(nb::make_tuple(arg.name, argument_object(graph.bounds, arg.value)));
  }
  d["args"] = args;
  nb::list outputs;
  for (const ValueId id : node.outputs) {
    outputs.append(id);
  }
  d["outputs"] = outputs;
  return d;
}

nb::dict value_object(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  nb::dict d;
  d["name"] = value.name;
  static constexpr const char* kKinds[] = {"tensor", "int", "float", "bool", "none", "opaque"};
  d["kind"] = kKinds[static_cast<size_t>(value.kind)];
  if (value.kind == ValueKind::kTensor || value.kind == ValueKind::kOpaque) {
    nb::list shape;
    for (const Expr& e : value.tensor.shape) {
      shape.append(expr_object(graph.bounds, e));
    }
    d["shape"] = shape;
    d["dtype"] = torch_dtype_name(value.tensor.dtype);
    const std::optional<DenseOrder> order = dense_order(value.tensor, graph.bounds);
    d["order"] = order ? nb::cast(order->axes) : nb::none();
  } else if (value.kind == ValueKind::kSymInt) {
    d["expr"] = expr_object(graph.bounds, value.expr);
  }
  return d;
}

nb::list segment_list(const Compilation& c) {
  nb::list segments;
  for (const Segment& segment : c.partitions().segments) {
    nb::dict d;
    d["engine"] = segment.engine;
    d["name"] = segment.name;
    d["inputs"] = segment.inputs;
    d["symbols"] = segment.symbol_inputs;
    d["outputs"] = segment.outputs;
    d["operator_count"] = segment.operator_count;
    nb::list nodes;
    for (const NodeId id : segment.views) {
      nodes.append(node_object(c.graph(), c.graph().node(id)));
    }
    for (const NodeId id : segment.nodes) {
      nodes.append(node_object(c.graph(), c.graph().node(id)));
    }
    d["nodes"] = nodes;
    segments.append(d);
  }
  return segments;
}

nb::list input_list(const Compilation& c) {
  static constexpr const char* kKinds[] = {"user_input", "parameter", "buffer", "constant"};
  nb::list inputs;
  for (const GraphInput& input : c.graph().inputs) {
    nb::dict d = value_object(c.graph(), input.value);
    d["id"] = input.value;
    d["input_kind"] = kKinds[static_cast<size_t>(input.kind)];
    d["target"] = input.target;
    inputs.append(d);
  }
  return inputs;
}

nb::list output_list(const Compilation& c) {
  static constexpr const char* kKinds[] = {"user_output", "buffer_mutation", "user_input_mutation"};
  nb::list outputs;
  for (const GraphOutput& output : c.graph().outputs) {
    const Argument value = output.view == kNoValue ? output.value : ValueUse{output.view};
    outputs.append(nb::make_tuple(kKinds[static_cast<size_t>(output.kind)],
                                  argument_object(c.graph().bounds, value), output.target));
  }
  return outputs;
}

nb::list output_view_list(const Compilation& c) {
  nb::list views;
  for (const Node& view : c.graph().output_views) {
    views.append(node_object(c.graph(), view));
  }
  return views;
}

nb::list fallback_list(const Compilation& c) {
  nb::list fallbacks;
  for (const Fallback& fallback : c.partitions().fallbacks) {
    const Node& node = c.graph().node(fallback.node);
    nb::dict d;
    d["node"] = node.name;
    d["target"] = node.target;
    d["kind"] = fallback_kind_name(fallback.kind);
    d["reason"] = fallback.reason;
    d["source"] = node.source().str();
    fallbacks.append(d);
  }
  return fallbacks;
}

/// Bytes of a constant input that a PyTorch segment needs and that lowering made (folded).
nb::object constant_bytes(const Compilation& c, ValueId id) {
  const GraphInput* constant = c.graph().constant(id);
  if (constant == nullptr || constant->data.data == nullptr) {
    return nb::none();
  }
  return nb::bytes(static_cast<const char*>(constant->data.data),
                   static_cast<size_t>(constant->data.size_bytes));
}

CompilationSettings settings_of(const std::map<std::string, std::string>& fields,
                                const std::map<std::string, int64_t>& opt_sizes,
                                const std::string& printed) {
  CompilationSettings settings;
  for (const auto& [name, value] : fields) {
    check_or_raise(set_setting(settings, name, value));
  }
  settings.opt_sizes = opt_sizes;
  settings.printed = printed;
  return settings;
}

nb::dict stats_object(const BuildStats& stats) {
  nb::dict d;
  d["regions"] = stats.regions;
  d["kernels"] = stats.kernels;
  d["tactics_timed"] = stats.tactics_timed;
  d["timing_cache_hits"] = stats.timing_cache_hits;
  d["tactics_s"] = stats.tactics_s;
  d["compile_s"] = stats.compile_s;
  d["pack_s"] = stats.pack_s;
  d["total_s"] = stats.total_s;
  return d;
}

}  // namespace

/// Shapes of tensors, and integers; of anything else nothing.
std::vector<InputCheck::Given> given_sizes(nb::handle inputs) {
  std::vector<InputCheck::Given> given;
  for (nb::handle input : inputs) {
    InputCheck::Given& one = given.emplace_back();
    const nb::object shape = nb::getattr(input, "shape", nb::none());
    one.is_tensor = !shape.is_none();
    if (one.is_tensor) {
      for (nb::handle size : shape) one.sizes.push_back(nb::cast<int64_t>(size));
    } else if (PyLong_Check(input.ptr()) != 0) {
      one.sizes.push_back(nb::cast<int64_t>(input));
    }
  }
  return given;
}

/// Arguments (name, checked, is_tensor, sizes), ranges, and guards (condition, text, source), with
/// expressions as texts.
using InputCheckState =
    std::tuple<std::vector<std::tuple<std::string, bool, bool, std::vector<std::string>>>,
               std::vector<std::tuple<std::string, int64_t, int64_t>>,
               std::vector<std::tuple<std::string, std::string, std::string>>>;

InputCheckState input_check_state(const InputCheck& check) {
  InputCheckState state;
  for (const InputCheck::Input& input : check.inputs()) {
    std::vector<std::string> sizes;
    for (const Expr& size : input.sizes) sizes.push_back(check.bounds().expand(size).str());
    std::get<0>(state).emplace_back(input.name, input.checked, input.is_tensor, std::move(sizes));
  }
  for (const auto& [symbol, range] : check.bounds().ranges()) {
    std::get<1>(state).emplace_back(symbol, range.first, range.second);
  }
  for (const Guard& guard : check.guards()) {
    std::get<2>(state).emplace_back(guard.condition.str(), guard.text, guard.source);
  }
  return state;
}

InputCheck input_check_of(const InputCheckState& state) {
  std::vector<InputCheck::Input> inputs;
  for (const auto& [name, checked, is_tensor, sizes] : std::get<0>(state)) {
    InputCheck::Input& input = inputs.emplace_back(InputCheck::Input{name, checked, is_tensor, {}});
    for (const std::string& size : sizes) input.sizes.push_back(value_or_raise(parse_expr(size)));
  }
  Bounds bounds;
  for (const auto& [symbol, least, greatest] : std::get<1>(state)) {
    bounds.set(symbol, least, greatest);
  }
  std::vector<Guard> guards;
  for (const auto& [condition, text, source] : std::get<2>(state)) {
    guards.push_back({value_or_raise(parse_expr(condition)), text, source});
  }
  return InputCheck(std::move(inputs), std::move(bounds), guards);
}

void bind_compiler(nb::module_& m) {
  nb::class_<InputCheck>(m, "InputCheck", "What must hold of the sizes of a program's inputs.")
      .def(
          "__call__",
          [](const InputCheck& c, nb::handle inputs) {
            check_or_raise(c.check(given_sizes(inputs)));
          },
          nb::arg("inputs"), "Raises ValueError for sizes that the program was not compiled for.")
      .def("__getstate__", &input_check_state)
      .def("__setstate__", [](InputCheck& c, const InputCheckState& state) {
        new (&c) InputCheck(input_check_of(state));
      });
  nb::class_<Compilation>(m, "Compilation",
                          "A graph lowered and partitioned; engines are built on request.")
      .def_static(
          "create",
          [](Graph& graph, const std::map<std::string, std::string>& settings,
             const std::map<std::string, int64_t>& opt_sizes, const std::string& printed) {
            CompilationSettings s = settings_of(settings, opt_sizes, printed);
            Graph taken = std::move(graph);
            // An error is raised with the lock held again.
            Result<Compilation> result = [&] {
              const nb::gil_scoped_release release;
              return Compilation::create(std::move(taken), std::move(s), ResultLayout::kAsPyTorch);
            }();
            return value_or_raise(std::move(result));
          },
          nb::arg("graph"), nb::arg("settings"), nb::arg("opt_sizes"), nb::arg("printed"),
          "Takes the graph's contents; lowers and partitions them.")
      .def_static(
          "check",
          [](const std::map<std::string, std::string>& settings) {
            check_or_raise(Compilation::check(settings_of(settings, {}, "")));
          },
          nb::arg("settings"), "Raises ValueError for a device that there is not, and the like.")
      .def_prop_ro("min_block_size",
                   [](const Compilation& c) { return c.partitions().min_block_size; })
      .def_prop_ro("block_sizes", [](const Compilation& c) { return c.partitions().block_sizes; })
      .def("segments", &segment_list, "One dict a segment, in execution order.")
      .def("inputs", &input_list)
      .def("outputs", &output_list)
      .def("output_views", &output_view_list,
           "Views that lead to outputs, to be made when all segments have run.")
      .def("fallbacks", &fallback_list)
      .def("value", [](const Compilation& c, ValueId id) { return value_object(c.graph(), id); })
      .def("constant_bytes", &constant_bytes)
      .def_prop_ro(
          "sees_memory", [](const Compilation& c) { return sees_memory(c.graph()); },
          "Whether values depend on how the caller's tensors lie in memory.")
      .def_prop_ro("device", [](const Compilation& c) { return c.graph().engine_device; })
      .def_prop_ro("supported_operators",
                   [](const Compilation& c) { return c.partitions().supported_operators; })
      .def_prop_ro("total_operators",
                   [](const Compilation& c) { return c.partitions().total_operators; })
      .def_prop_ro(
          "input_check", [](const Compilation& c) { return InputCheck(c.graph()); },
          "Checks the sizes of the program's inputs.")
      .def("report", &Compilation::report, "The dry-run report.")
      .def("report_json", &Compilation::report_json)
      .def("report_html", &Compilation::report_html)
      .def("graph_text", [](const Compilation& c) { return print_graph(c.graph()); })
      .def(
          "describe_segment",
          [](const Compilation& c, int index, const nb::callable& update) {
            const Status status = c.describe_segment(index, [&](const void* data, int64_t bytes) {
              auto* memory = const_cast<char*>(static_cast<const char*>(data));
              update(nb::steal<nb::object>(PyMemoryView_FromMemory(memory, bytes, PyBUF_READ)));
            });
            check_or_raise(status);
          },
          nb::arg("index"), nb::arg("update"),
          "Gives all that a segment's engine depends on to `update`, for a digest.")
      .def(
          "build",
          [](const Compilation& c, int index, nb::object progress) {
            std::function<void(int, int, const std::string&)> callback;
            if (!progress.is_none()) {
              callback = [&progress](int done, int total, const std::string& what) {
                const nb::gil_scoped_acquire lock;
                progress(done, total, what);
              };
            }
            BuildStats stats;
            Result<std::shared_ptr<const Engine>> engine = [&] {
              const nb::gil_scoped_release release;
              return c.build(index, &stats, callback);
            }();
            return nb::make_tuple(
                nb::cast(std::const_pointer_cast<Engine>(value_or_raise(std::move(engine)))),
                stats_object(stats));
          },
          nb::arg("index"), nb::arg("progress").none() = nb::none(),
          "Builds the engine of segment `index`; returns (Engine, statistics).");
  m.def(
      "size_text", [](const std::string& text) { return value_or_raise(parse_expr(text)).str(); },
      nb::arg("text"), "The canonical text of a size expression or condition.");
  m.def(
      "check_setting",
      [](const std::string& name, const std::string& value) {
        CompilationSettings settings;
        check_or_raise(set_setting(settings, name, value));
      },
      nb::arg("name"), nb::arg("value"), "Raises ValueError for a value that is not allowed.");
  m.def("has_converter", &has_converter, nb::arg("target"));
  m.def(
      "is_bookkeeping", [](const std::string& target) { return is_bookkeeping(target); },
      nb::arg("target"), "Whether an operator computes or checks sizes alone.");
  m.def("converter_targets", [] { return ConverterRegistry::global().targets(); });
  m.def(
      "read_pt2", [](const std::string& path) { return value_or_raise(read_pt2(path)); },
      nb::arg("path"), "Reads a .pt2 archive into a Graph.");
}

}  // namespace stator
