// SPDX-License-Identifier: Apache-2.0
//
// Graph: SSA over ATen operators, as PyTorch exports them. Built by the pt2 reader (C++) or node by
// node by the Python hand-over; rewritten by lowering; cut by partition; read by converters.
//
// Values are numbered by the graph; a Node makes one or several values. Sizes are Expr over
// symbols. A SymInt value carries its Expr, so that every SymInt argument of a later node is stored
// as that Expr and not as a use; a SymInt whose Expr is one fresh symbol ("u0": data-dependent) is
// the same.
//
// Arguments stand in schema order with defaults filled in, keyword-only ones too; for an operator
// without a known schema they stand as given. Tuple outputs are several values of one node: there
// is no getitem node.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "stator/dtype.h"
#include "stator/expr.h"
#include "stator/guard.h"
#include "stator/result.h"
#include "stator/source_line.h"
#include "stator/tensor_data.h"

namespace stator {

using ValueId = int32_t;
using NodeId = int32_t;
inline constexpr ValueId kNoValue = -1;

// ---------------------------------------------------------------- values

struct TensorMeta {
  DType dtype = DType::kFloat32;
  std::vector<Expr> shape;    // outermost first
  std::vector<Expr> strides;  // in elements; empty means contiguous
  std::string device = "cpu";
  int rank() const { return static_cast<int>(shape.size()); }
};

enum class ValueKind : uint8_t { kTensor, kSymInt, kSymFloat, kSymBool, kNone, kOpaque };

/// One SSA value. `name` is unique in the graph and is PyTorch's node name ("conv2d_7",
/// "getitem_3").
struct Value {
  ValueId id = kNoValue;
  std::string name;
  ValueKind kind = ValueKind::kTensor;
  TensorMeta tensor;     // kTensor; of a kOpaque that is a tensor too, its sizes alone
  Expr expr;             // kSymInt
  std::string what;      // kOpaque: what it is ("a sparse_coo tensor"), for messages
  NodeId producer = -1;  // -1: a graph input or a constant
  int output_index = 0;  // which output of the producer
};

// ---------------------------------------------------------------- arguments

struct None {
  friend bool operator==(None, None) { return true; }
};
/// How a user has a tensor lie in memory: as its value's strides say, or as a copy in this order.
enum class MemoryFormat : uint8_t { kNoted, kContiguous, kChannelsLast, kChannelsLast3d };
/// "contiguous_format", "channels_last", "channels_last_3d"; "" of kNoted.
const char* memory_format_name(MemoryFormat format);

/// A use of a tensor value (or of an unsupported-scalar value that only PyTorch can consume).
/// `format` is what is left of a copy that only gave the tensor another order: an engine does not
/// ask for it, PyTorch makes the copy.
struct ValueUse {
  ValueId id = kNoValue;
  MemoryFormat format = MemoryFormat::kNoted;
  friend bool operator==(ValueUse, ValueUse) = default;
};
struct MemoryFormatArg {
  std::string name;
  friend bool operator==(const MemoryFormatArg&, const MemoryFormatArg&) = default;
};
struct DeviceArg {
  std::string name;
  friend bool operator==(const DeviceArg&, const DeviceArg&) = default;
};
struct LayoutArg {
  std::string name;
  friend bool operator==(const LayoutArg&, const LayoutArg&) = default;
};
/// Something only the Python side understands: an index into its table of objects, and what the
/// object refers to in the graph.
struct OpaqueArg {
  int64_t index = 0;
  std::string text;
  std::vector<ValueUse> uses;
  std::vector<Expr> sizes;
  friend bool operator==(const OpaqueArg&, const OpaqueArg&) = default;
};

/// One argument. int and SymInt are both Expr; an int list is a list of Expr; a tensor list holds
/// kNoValue for None.
using Argument =
    std::variant<None, ValueUse, std::vector<ValueUse>, Expr, std::vector<Expr>, double,
                 std::vector<double>, bool, std::vector<bool>, std::string,
                 std::vector<std::string>, DType, MemoryFormatArg, DeviceArg, LayoutArg, OpaqueArg>;

/// A named argument; `name` is the schema's ("self", "weight", "dim").
struct NamedArgument {
  std::string name;
  Argument value;
};

// ---------------------------------------------------------------- nodes

struct Node {
  NodeId id = -1;
  std::string name;    // PyTorch's node name
  std::string target;  // "aten.add.Tensor", "mylib.op.default", "_operator.mul"
  std::vector<NamedArgument> args;
  std::vector<ValueId> outputs;
  std::vector<SourceLine> stack;  // innermost call last; empty when unknown
  std::string
      original_target;  // the operator as the user wrote it, when lowering replaced it; else empty
  std::string original_name;  // likewise the node

  const Argument* find(std::string_view arg) const;  // nullptr when absent
  bool is_none(std::string_view arg) const;          // absent or None
  /// Typed access. The pass or converter that calls these has checked the form before (support());
  /// a wrong type is a STATOR_CHECK failure.
  ValueId tensor(std::string_view arg) const;  // kNoValue for None / absent
  std::vector<ValueId> tensors(std::string_view arg) const;
  Expr sym_int(std::string_view arg) const;
  int64_t integer(std::string_view arg) const;                     // a constant Expr or a bool
  int64_t integer(std::string_view arg, int64_t otherwise) const;  // when None or absent
  std::vector<Expr> sym_ints(std::string_view arg) const;
  std::vector<int64_t> integers(std::string_view arg) const;  // all constant; [] for None
  bool boolean(std::string_view arg, bool otherwise = false) const;
  double number(std::string_view arg, double otherwise = 0.0) const;  // int, float or bool constant
  std::string string(std::string_view arg, std::string_view otherwise = "") const;
  std::optional<DType> dtype(std::string_view arg) const;  // nullopt for None
  void set(std::string_view arg, Argument value);
  SourceLine source() const { return stack.empty() ? SourceLine{} : stack.back(); }
};

// ---------------------------------------------------------------- inputs, outputs

enum class InputKind : uint8_t { kUserInput, kParameter, kBuffer, kConstant };

struct GraphInput {
  ValueId value = kNoValue;
  InputKind kind = InputKind::kUserInput;
  std::string target;  // state-dict name of a parameter or buffer; constant's name
  TensorData data;     // parameters, buffers and constants
};

/// A user output is a value, a constant scalar, or None. Mutations are outputs that PyTorch copies
/// back; of a buffer stands for that of a parameter too.
enum class OutputKind : uint8_t { kUserOutput, kBufferMutation, kUserInputMutation };
struct GraphOutput {
  OutputKind kind = OutputKind::kUserOutput;
  Argument value;
  std::string target;  // what a mutation writes to
  /// kUserOutput: what the caller gets is this view of `value`, made by Graph::output_views.
  ValueId view = kNoValue;
};

class Graph {
 public:
  Graph() = default;
  Graph(Graph&&) = default;  // moved, never copied
  Graph& operator=(Graph&&) = default;

  std::string name;
  std::vector<GraphInput>
      inputs;  // in PyTorch's order: parameters, buffers, constants, user inputs
  std::vector<GraphOutput> outputs;
  /// Views that the caller makes of outputs and inputs when all segments have run, in order; they
  /// stand in no segment. See GraphOutput::view.
  std::vector<Node> output_views;
  Bounds bounds;  // ranges of the symbols
  std::vector<Guard> guards;
  /// Where engines of this graph take and give tensors: "cpu", "cuda". Nodes on others stay out.
  std::string engine_device = "cpu";
  std::string input_tree;  // pytree spec of the user's arguments (JSON text), may be empty
  std::string output_tree;
  std::vector<std::string> user_input_names;  // display names, parallel to the user inputs

  // Values and nodes. `order` lists the live nodes in execution order.
  const std::vector<NodeId>& order() const { return order_; }
  Node& node(NodeId id) { return *nodes_[static_cast<size_t>(id)]; }
  const Node& node(NodeId id) const { return *nodes_[static_cast<size_t>(id)]; }
  Value& value(ValueId id) { return values_[static_cast<size_t>(id)]; }
  const Value& value(ValueId id) const { return values_[static_cast<size_t>(id)]; }
  int64_t value_count() const { return static_cast<int64_t>(values_.size()); }
  std::optional<ValueId> find_value(std::string_view name) const;

  ValueId add_value(Value value);  // sets its id; makes its name unique
  ValueId add_input(InputKind kind, std::string name, TensorMeta meta, std::string target = "",
                    TensorData data = {});
  /// A new constant input holding the given bytes (what constant folding makes).
  ValueId add_constant(std::string name, TensorMeta meta, TensorData data);
  /// Appends, or inserts before `before`. Arguments are normalized against the schema table.
  /// Returns its id.
  NodeId add_node(Node node, std::optional<NodeId> before = std::nullopt);
  /// Adds what PyTorch's text says (guards_code of an exported program: "L['x'].size()[1] % 2 ==
  /// 0"), each part of an "… and …" that the bounds do not imply. An input is found by the name of
  /// its placeholder, which torch.export makes of the path.
  /// kUnsupported: the text names something that the graph does not hold, or an unknown function.
  Status add_guard(std::string_view text, const std::string& source = "");
  Result<Expr> read_guard(std::string_view text) const;  // its condition alone
  /// Adds the conditions that operators' results have their noted ranks by: a squeezed dimension of
  /// a size that varies is taken for more than 1.
  void add_implied_guards();
  /// Gives symbols to the calls of functions in sizes (Bounds::name_functions), everywhere.
  void name_size_functions();
  void remove_node(NodeId id);                  // its values must have no users
  void replace_uses(ValueId from, ValueId to);  // in all nodes and outputs
  /// In all nodes; where they do not ask for an order yet they now ask for `format`.
  void replace_uses(ValueId from, ValueId to, MemoryFormat format);
  void
  remove_dead_nodes();  // nodes without users (mutating and random ones stay), unused constants

  /// Users of each value: node ids, each once, in order; computed afresh at each call.
  std::vector<std::vector<NodeId>> users() const;
  bool is_output(ValueId id) const;
  /// The constant's bytes when `id` is a parameter, buffer or constant input; else nullptr.
  const GraphInput* constant(ValueId id) const;

 private:
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<NodeId> order_;
  std::vector<Value> values_;
  std::map<std::string, int, std::less<>> names_;
};

/// Positional text form, one node a line; parse_graph reads it back. See docs/architecture.md.
std::string print_graph(const Graph& graph);
Result<Graph> parse_graph(std::string_view text);
/// Uses before definitions, dangling values, duplicate names, arguments against the schema.
Status verify_graph(const Graph& graph);
/// "f32[s0, 768]" of a value; "i64[]", "SymInt(s0)".
std::string print_type(const Value& value);

/// A guard as a user would write it: "L['x'].size()[1] > 3" → "x.shape[1] > 3".
std::string readable_condition(std::string_view guard);

}  // namespace stator
