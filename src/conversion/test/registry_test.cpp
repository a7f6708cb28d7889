// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>

#include "conversion/conversion.h"

namespace stator {
namespace {

Graph graph_of(const std::string& text) {
  Result<Graph> graph = parse_graph(text);
  EXPECT_TRUE(graph.ok()) << graph.error().message;
  return std::move(graph).value();
}

/// Why the only node of `graph` is refused; "" when it is not.
std::string reason(const Graph& graph, bool assume_dynamic = false,
                   const ConverterRegistry& registry = ConverterRegistry::global()) {
  return registry.support(graph, graph.node(graph.order()[0]), assume_dynamic).reason();
}

Converter named(const std::string& name, int priority = 0) {
  Converter converter;
  converter.support = [name](const SupportContext&, const Node&) { return Support::no(name); };
  converter.convert = [](Conversion&, const Node&) { return Status{}; };
  converter.priority = priority;
  return converter;
}

constexpr const char* kRelu =
    "graph g(%x: f32[s0]):\n  %y: f32[s0] = aten.relu.default(%x)\n"
    "  return %y\n";

TEST(Registry, TakesTheHighestPriorityAndThenTheLatest) {
  const Graph graph = graph_of(kRelu);
  ConverterRegistry registry;
  registry.add("aten.relu.default", named("first"));
  EXPECT_EQ(reason(graph, false, registry), "first");
  registry.add("aten.relu.default", named("second"));
  EXPECT_EQ(reason(graph, false, registry), "second");
  registry.add("aten.relu.default", named("lower", -1));
  EXPECT_EQ(reason(graph, false, registry), "second");
  registry.add("aten.relu.default", named("higher", 1));
  EXPECT_EQ(reason(graph, false, registry), "higher");
  registry.add("aten.relu.default", named("third"));
  EXPECT_EQ(reason(graph, false, registry), "higher");
  EXPECT_EQ(registry.targets(), std::vector<std::string>{"aten.relu.default"});
}

TEST(Registry, RefusesSymbolicSizesWhereTheConverterTakesNone) {
  const Graph graph = graph_of(kRelu);
  ConverterRegistry registry;
  Converter converter;
  converter.convert = [](Conversion&, const Node&) { return Status{}; };
  converter.dynamic_shapes = false;
  registry.add("aten.relu.default", converter);
  EXPECT_EQ(reason(graph, false, registry),
            "argument self has the type f32[s0], and its converter takes constant sizes only");
  EXPECT_EQ(reason(graph, true, registry), "");
}

TEST(Registry, SaysThatThereIsNoConverter) {
  EXPECT_EQ(reason(graph_of("graph g(%x: f32[2]):\n  %y: f32[2] = mylib.op.default(%x)\n"
                            "  return %y\n")),
            "there is no converter for mylib.op.default");
}

TEST(Registry, RefusesDTypesThatItCannotCompute) {
  EXPECT_EQ(reason(graph_of("graph g(%x: c64[2]):\n  %y: c64[2] = aten.sin.default(%x)\n"
                            "  return %y\n")),
            "argument self is complex64, and complex numbers are not supported");
  EXPECT_EQ(reason(graph_of("graph g(%x: f32[2]):\n"
                            "  %y: f8e4m3[2] = aten._to_copy.default(%x, dtype=dtype.f8e4m3)\n"
                            "  return %y\n")),
            "its result is float8_e4m3fn, and float8 arithmetic is not supported");
}

TEST(Registry, RefusesOtherDevices) {
  Graph graph = graph_of(kRelu);
  graph.value(graph.inputs[0].value).tensor.device = "cuda:0";
  EXPECT_EQ(reason(graph), "argument self is on device cuda:0, and the engine runs on cpu");
  EXPECT_EQ(reason(graph_of("graph g(%x: f32[2]):\n  %y: f32[2] = "
                            "aten._to_copy.default(%x, device=device(\"cuda\"))\n  return %y\n")),
            "argument device is device cuda, and the engine runs on cpu");
}

TEST(Registry, LeavesLongRowsToPyTorchOnGpus) {
  const auto refusal = [](const std::string& type, const std::string& call, const char* device) {
    Graph graph =
        graph_of("graph g(%x: " + type + "):\n  %y: " + type + " = " + call + "\n  return %y\n");
    graph.engine_device = device;
    for (const ValueId id : {graph.inputs[0].value, graph.node(graph.order()[0]).outputs[0]}) {
      graph.value(id).tensor.device = device;
    }
    return reason(graph);
  };
  const std::string slow = "elements, where PyTorch is faster on a GPU";
  const std::string scan = "aten.cumsum.default(%x, -1)", column = "aten.cumsum.default(%x, 0)";
  EXPECT_EQ(refusal("f32[4, 1000000]", scan, "cpu"), "");
  EXPECT_EQ(refusal("f32[4, 1000000]", scan, "cuda:0"),
            "it works along rows of more than 65536 " + slow);
  EXPECT_EQ(refusal("f32[400, 1000000]", scan, "cuda:0"), "");
  EXPECT_EQ(refusal("f32[4, 4096]", scan, "cuda:0"), "");
  EXPECT_EQ(refusal("f32[100000, 4]", column, "cuda:0"),
            "it works along rows of more than 8192 " + slow);
  EXPECT_EQ(refusal("f32[100000, 4096]", column, "cuda:0"), "");
  EXPECT_EQ(refusal("f32[4096, 8]", "aten.msort.default(%x)", "cuda:0"), "");
  EXPECT_EQ(refusal("f32[5000, 8]", "aten.msort.default(%x)", "cuda:0"),
            "it works along rows of more than 4096 " + slow);
}

TEST(Registry, RefusesSymbolicFloatsAndBools) {
  Graph graph = graph_of(
      "graph g(%x: f32[2], %f: f32[]):\n"
      "  %y: f32[2] = aten.mul.Tensor(%x, %f)\n  return %y\n");
  Value& scale = graph.value(*graph.find_value("f"));
  scale.kind = ValueKind::kSymFloat;
  EXPECT_EQ(reason(graph), "argument other is a symbolic float, which only PyTorch computes");
  scale.kind = ValueKind::kSymBool;
  EXPECT_EQ(reason(graph), "argument other is a symbolic bool, which only PyTorch computes");
  scale.kind = ValueKind::kOpaque;
  EXPECT_EQ(reason(graph), "argument other is a Python object, which only PyTorch computes");
  scale.what = "a sparse_coo tensor";
  EXPECT_EQ(reason(graph), "argument other is a sparse_coo tensor, which only PyTorch computes");
}

TEST(Registry, RefusesSparseLayouts) {
  EXPECT_EQ(reason(graph_of("graph g():\n  %y: f32[2] = "
                            "aten.zeros.default([2], layout=layout.sparse_coo)\n  return %y\n")),
            "argument layout asks for the layout sparse_coo, and only dense tensors are supported");
}

TEST(Registry, HoldsStatorsOwnConvertersSorted) {
  const std::vector<std::string> targets = ConverterRegistry::global().targets();
  EXPECT_GT(targets.size(), 500u);
  EXPECT_TRUE(std::is_sorted(targets.begin(), targets.end()));
}

TEST(Segment, KeepsWhereALayerCameFrom) {
  Graph graph = graph_of(
      "graph g(%x: f32[2]):\n"
      "  %y: f32[2] = aten.relu.default(%x)  # m.py:3 in forward:  relu(x)\n"
      "  return %y\n");
  Node& node = graph.node(graph.order()[0]);
  const auto provenance = [&] {
    Result<Network> network =
        convert_segment(graph, graph.order(), {*graph.find_value("x")}, {},
                        {*graph.find_value("y")}, ConverterRegistry::global(), "main");
    EXPECT_TRUE(network.ok());
    return network->layers[0].provenance;
  };
  EXPECT_EQ(provenance().target, "aten.relu.default");
  EXPECT_EQ(provenance().source.line, 3);
  node.original_target = "aten.relu6.default";
  node.original_name = "relu6_1";
  EXPECT_EQ(provenance().target, "aten.relu6.default");
  EXPECT_EQ(provenance().node, "relu6_1");
}

TEST(Segment, TakesSymbolsAndConstants) {
  Graph graph = graph_of(
      "graph g(%w: f32[4, 2] = parameter \"layer.weight\", %x: f32[s0, 2]):\n"
      "  %y: f32[s0, 4] = aten.linear.default(%x, %w)\n  return %y\n");
  void* bytes = nullptr;
  graph.inputs[0].data = TensorData::allocate(32, &bytes);
  Result<Network> network =
      convert_segment(graph, graph.order(), {*graph.find_value("x")}, {"s7"},
                      {*graph.find_value("y")}, ConverterRegistry::global(), "_run_on_acc_0");
  ASSERT_TRUE(network.ok()) << network.error().message;
  EXPECT_EQ(network->name, "_run_on_acc_0");
  EXPECT_EQ(network->scalar_inputs, std::vector<Expr>{Expr::symbol("s7")});
  const NetworkTensor& weight = network->tensor(1);
  EXPECT_EQ(weight.role, TensorRole::kConstant);
  EXPECT_EQ(weight.origin.name, "layer.weight");
  EXPECT_EQ(weight.data.data, bytes);  // the very bytes, no copy
}

TEST(Segment, RefusesWhatHasNoConverter) {
  Graph graph = graph_of(
      "graph g(%x: f32[2]):\n  %y: f32[2] = mylib.op.default(%x)\n"
      "  return %y\n");
  Result<Network> network =
      convert_segment(graph, graph.order(), {*graph.find_value("x")}, {}, {*graph.find_value("y")},
                      ConverterRegistry::global(), "main");
  ASSERT_FALSE(network.ok());
  EXPECT_EQ(network.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(network.error().message,
            "mylib.op.default (y) cannot be converted because there is no converter for "
            "mylib.op.default");
}

}  // namespace
}  // namespace stator
