// SPDX-License-Identifier: Apache-2.0
//
// The drawing of docs/architecture.md as code: graph → lowering → partition → conversion →
// optimizer → builder → engine.
#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "backend/compiler.h"
#include "base/check.h"
#include "base/log.h"
#include "builder/build.h"
#include "builder/tactics.h"
#include "compiler/dump.h"
#include "compiler/oracle.h"
#include "conversion/conversion.h"
#include "lowering/output_views.h"
#include "lowering/pipeline.h"
#include "optimizer/optimizer.h"
#include "partition/partitions.h"
#include "pt2/read_pt2.h"
#include "stator/compiler.h"

namespace stator {
namespace {

/// Runs `body`; a defect of ours inside becomes an error, which the caller turns into a fallback.
template <typename Body>
auto guarded(const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (const InternalError& e) {
    return Error{ErrorCode::kInternal, e.what()};
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::kIo, "it takes more memory than there is"};
  }
}

/// What PyTorch hands over holds together, so that it is our defect where something does not fit; a
/// file may say anything.
Error of_file(const Error& error, const std::string& path) {
  if (error.code != ErrorCode::kInternal) return error;
  return Error{ErrorCode::kInvalidFile,
               path + ": its graph contradicts itself, or has a form that is not known: " +
                   error.message.substr(0, error.message.rfind(" ["))};
}

/// Outputs have the shapes that the file says, as far as they can be compared.
Status check_outputs(const Graph& graph, const Network& network) {
  for (size_t i = 0; i < network.outputs.size(); ++i) {
    const TensorType& type = network.type(network.outputs[i]);
    const std::optional<ValueId> id = graph.find_value(network.tensor(network.outputs[i]).name);
    if (!id.has_value() || graph.value(*id).kind != ValueKind::kTensor) continue;
    const std::vector<Expr>& shape = graph.value(*id).tensor.shape;
    bool fits = shape.size() == type.shape.size();
    for (size_t d = 0; fits && d < shape.size(); ++d) {
      fits = !graph.bounds.proves_not_equal(shape[d], type.shape[d]);
    }
    if (!fits) {
      return Error{ErrorCode::kInvalidFile,
                   "output %" + graph.value(*id).name + " is " + print_type(graph.value(*id)) +
                       " by its description, its operators give " + print_type(type) +
                       "; the archive contradicts itself"};
    }
  }
  return {};
}

/// "cuda" of "cuda:1".
std::string backend_name(const CompilationSettings& settings) {
  return settings.device.substr(0, settings.device.find(':'));
}

Result<CompilerBackend*> backend_of(const CompilationSettings& settings) {
  if (CompilerBackend* backend = find_compiler_backend(backend_name(settings))) {
    return backend;
  }
  std::string names;
  for (const CompilerBackend* backend : compiler_backends()) {
    names += (names.empty() ? "" : ", ") + backend->traits().name;
  }
  return Error{
      ErrorCode::kInvalidArgument,
      "device '" + settings.device + "' has no backend in this build; there are: " + names};
}

/// The device that the settings name becomes the thread's for as long as the result lives; where
/// they name none, the thread's stays.
Result<std::shared_ptr<void>> enter_device(const CompilerBackend& backend,
                                           const CompilationSettings& settings) {
  const size_t colon = settings.device.find(':');
  if (colon == std::string::npos) return std::shared_ptr<void>();
  int number = -1;
  const char* const end = settings.device.data() + settings.device.size();
  const auto read = std::from_chars(settings.device.data() + colon + 1, end, number);
  if (read.ec != std::errc() || read.ptr != end) {
    return Error{ErrorCode::kInvalidArgument,
                 "device '" + settings.device + "' has no number; write for example cuda:0"};
  }
  return backend.executor().enter_device(number);
}

PartitionOptions partition_options(const CompilationSettings& settings) {
  PartitionOptions options;
  options.min_block_size = settings.min_block_size;
  options.torch_executed_ops = settings.torch_executed_ops;
  options.require_full_compilation = settings.require_full_compilation;
  options.without_pytorch = settings.without_pytorch;
  options.use_fast_partitioner = settings.use_fast_partitioner;
  options.memory_budget = settings.without_pytorch ? 0 : settings.cpu_memory_budget;
  return options;
}

Status run_lowering(Graph& graph, const CompilationSettings& settings, Dump& dump) {
  LoweringOptions options;
  options.disabled_passes = settings.disabled_passes;
  options.torch_executed_ops = settings.torch_executed_ops;
  options.evaluate_constant = [](const Graph& g, const Node& node) {
    return guarded([&] { return evaluate_node(g, node, ConverterRegistry::global()); });
  };
  if (dump.enabled()) {
    dump.write("input", "graph", print_graph(graph));
    options.after_pass = [&dump](const std::string& pass, const Graph& g) {
      dump.write(pass, "graph", print_graph(g));
    };
  }
  return lower(graph, options);
}

BuildOptions build_options(const CompilationSettings& settings) {
  BuildOptions options;
  options.optimization_level = settings.optimization_level;
  options.hardware_compatible = settings.hardware_compatible;
  options.tf32 = !settings.disable_tf32;
  options.sparse_weights = settings.sparse_weights;
  options.tiling_level = tiling_level(settings.tiling_optimization_level);
  options.tiling_l2_limit = settings.l2_limit_for_tiling;
  return options;
}

BuilderOptions builder_options(const CompilationSettings& settings) {
  BuilderOptions builder;
  builder.build = build_options(settings);
  builder.time_budget_s = settings.build_time_budget;
  builder.workspace_bytes = settings.workspace_size;
  builder.timing_iterations = settings.num_avg_timing_iters;
  builder.max_aux_streams = settings.max_aux_streams;
  builder.opt_symbols = settings.opt_sizes;
  return builder;
}

/// Times the regions that each output of `network` is made of: their layers stem from nodes by the
/// name of the output's number.
Result<std::vector<double>> time_outputs(Network network, CompilerBackend& backend,
                                         const BuilderOptions& builder) {
  OptimizerOptions optimizer;
  optimizer.traits = backend.traits(builder.build);
  optimizer.evaluate_layer = evaluate_layer_of;
  STATOR_RETURN_IF_ERROR(optimize(network, optimizer));
  STATOR_TRY(const RegionGraph regions, fuse(network, optimizer));
  STATOR_TRY(const std::vector<double> us, time_regions(regions, backend, builder));
  std::vector<double> total(network.outputs.size(), 0);
  for (size_t r = 0; r < regions.regions.size(); ++r) {
    const std::vector<Provenance>& from = regions.regions[r].provenance;
    const std::string node = from.empty() ? "" : from.front().node;
    size_t output = total.size();
    (void)std::from_chars(node.data(), node.data() + node.size(), output);
    if (output >= total.size()) {
      return Error{ErrorCode::kInternal,
                   "region " + regions.regions[r].name + " belongs to no output"};
    }
    total[output] += us[r];
  }
  return total;
}

OptimizerOptions optimizer_options(const CompilerBackend& backend,
                                   const CompilationSettings& settings) {
  OptimizerOptions optimizer;
  optimizer.traits = backend.traits(build_options(settings));
  optimizer.evaluate_layer = evaluate_layer_of;
  optimizer.low_precision = low_precision(settings);
  return optimizer;
}

/// Network → plan → engine.
Result<std::shared_ptr<const Engine>> build_engine(
    Network network, const InterfaceOrders& orders, CompilerBackend& backend,
    const CompilationSettings& settings, const std::string& metadata, Dump& dump, BuildStats* stats,
    const std::function<void(int, int, const std::string&)>& progress) {
  OptimizerOptions optimizer = optimizer_options(backend, settings);
  BuilderOptions builder = builder_options(settings);
  std::string warning;
  TimingCache cache;
  if (!settings.timing_cache_path.empty()) {
    cache = TimingCache::load(settings.timing_cache_path, &warning);
    if (!warning.empty()) {
      STATOR_LOG(kWarning, warning);
    }
    builder.timing_cache = &cache;
  }
  STATOR_TRY(const std::shared_ptr<void> entered, enter_device(backend, settings));
  if (settings.optimization_level > 0 && settings.build_time_budget == 0) {
    optimizer.timing_sizes = timing_sizes(network.bounds, settings.opt_sizes);
    optimizer.time_outputs = [&](Network pieces) {
      return time_outputs(std::move(pieces), backend, builder);
    };
  }
  if (dump.enabled()) {
    dump.write(network.name, "network", print_network(network));
    optimizer.after_pass = [&dump](const std::string& pass, const Network& n) {
      dump.write(pass, "network", print_network(n));
    };
  }
  STATOR_RETURN_IF_ERROR(optimize(network, optimizer));
  STATOR_TRY(RegionGraph regions, fuse(network, optimizer));
  if (dump.enabled()) {
    dump.write(network.name, "region", print_regions(regions));
  }
  network = Network();  // its weights live on in the regions only

  builder.progress = progress;
  builder.settings_json =
      nlohmann::json{{"printed", print_settings(settings)}, {"values", printed_settings(settings)}}
          .dump();
  builder.metadata_json = metadata;
  builder.input_orders = orders.inputs;
  builder.output_orders = orders.outputs;
  STATOR_TRY(Plan plan, build(regions, backend, builder, stats));
  if (cache.changed()) {
    if (const Status saved = cache.save(settings.timing_cache_path); !saved.ok()) {
      STATOR_LOG(kWarning, "the timing cache was not saved: " + saved.error().message);
    }
  }
  if (dump.enabled()) {
    dump.write(plan.name, "plan", print_plan(plan));
  }
  return Engine::from_plan(std::move(plan));
}

/// Says which layers the reference backend's code computes, where nothing else can.
Status warn_of_missing_kernels(const Network& network, const CompilerBackend& backend,
                               const CompilationSettings& settings) {
  STATOR_TRY(const std::vector<MissingKernel> missing,
             missing_kernels(network, optimizer_options(backend, settings)));
  if (missing.empty()) return {};
  std::map<std::string, int> counts;
  for (const MissingKernel& m : missing) ++counts[m.layer];
  std::string names;
  for (const auto& [name, count] : counts) {
    names += (names.empty() ? "" : ", ") + name + (count > 1 ? " x" + std::to_string(count) : "");
  }
  STATOR_LOG(kWarning, "the " + backend.traits().name + " backend has no kernels for " + names +
                           ": they are computed one element at a time, which may take long");
  return {};
}

/// What Python needs to call an engine as the user calls the model; the runtime does not read it.
std::string metadata_of(const Graph& graph) {
  nlohmann::json json;
  json["input_tree"] = graph.input_tree;
  json["output_tree"] = graph.output_tree;
  json["input_names"] = graph.user_input_names;
  return json.dump();
}

}  // namespace

struct Compilation::Impl {
  CompilationSettings settings;
  CompilerBackend* backend = nullptr;
  Graph graph;
  Partitions partitions;
  ResultLayout layout = ResultLayout::kRowMajor;

  Result<Network> convert(const Segment& segment, const std::string& name,
                          InterfaceOrders* orders) const {
    return convert_segment(graph, segment.nodes, segment.inputs, segment.symbol_inputs,
                           segment.outputs, ConverterRegistry::global(), name,
                           layout == ResultLayout::kAsPyTorch ? orders : nullptr);
  }
  Status choose_segments(const SupportQuery& query);
  Result<bool> refuse_missing_kernels(std::map<std::string, std::string>* refused) const;
};

/// Adds the operators whose layers have no kernel; false where there is none.
Result<bool> Compilation::Impl::refuse_missing_kernels(
    std::map<std::string, std::string>* refused) const {
  bool found = false;
  for (const Segment& segment : partitions.segments) {
    if (!segment.engine) continue;
    InterfaceOrders orders;
    Result<Network> network = convert(segment, segment.name, &orders);
    if (!network.ok()) continue;  // whoever builds it is told
    STATOR_TRY(const std::vector<MissingKernel> missing,
               missing_kernels(std::move(*network), optimizer_options(*backend, settings)));
    for (const MissingKernel& m : missing) {
      found |= refused->emplace(m.provenance.node, m.layer).second;
    }
  }
  return found;
}

/// Operators in engines have kernels; PyTorch has one for each of the others. Where PyTorch may run
/// none, the reference backend's code computes their layers.
Status Compilation::Impl::choose_segments(const SupportQuery& query) {
  std::map<std::string, std::string> refused;  // node → its layer
  const SupportQuery asked = [&](const Graph& g, const Node& node) {
    const auto found = refused.find(node.name);
    return found == refused.end()
               ? query(g, node)
               : Support::no("the " + backend->traits().name + " backend has no kernel for its " +
                             found->second + " layer, PyTorch has");
  };
  const bool alone = settings.without_pytorch || settings.require_full_compilation;
  for (bool again = true; again;) {
    STATOR_TRY(partitions, partition(graph, asked, partition_options(settings)));
    again = false;
    if (!alone) {
      STATOR_TRY(again, refuse_missing_kernels(&refused));
    }
  }
  return {};
}

Compilation::Compilation(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Compilation::Compilation(Compilation&&) noexcept = default;
Compilation::~Compilation() = default;

Status Compilation::check(const CompilationSettings& settings) {
  return guarded([&]() -> Status {
    STATOR_TRY(const CompilerBackend* const backend, backend_of(settings));
    STATOR_TRY(const std::shared_ptr<void> exists, enter_device(*backend, settings));
    return {};
  });
}

Result<Compilation> Compilation::create(Graph graph, CompilationSettings settings,
                                        ResultLayout layout) {
  return guarded([&]() -> Result<Compilation> {
    auto impl = std::make_unique<Impl>();
    impl->settings = std::move(settings);
    impl->layout = layout;
    STATOR_TRY(impl->backend, backend_of(impl->settings));
    Dump dump(impl->settings.dump_directory);
    graph.engine_device = impl->backend->traits().tensor_device +
                          impl->settings.device.substr(backend_name(impl->settings).size());
    STATOR_TRY(const std::shared_ptr<void> exists, enter_device(*impl->backend, impl->settings));
    STATOR_RETURN_IF_ERROR(verify_graph(graph));
    graph.add_implied_guards();
    graph.name_size_functions();
    STATOR_RETURN_IF_ERROR(run_lowering(graph, impl->settings, dump));
    if (layout == ResultLayout::kAsPyTorch) take_output_views(graph);
    const bool any_dynamic = impl->settings.assume_dynamic_shape_support;
    const SupportQuery query = [any_dynamic](const Graph& g, const Node& node) {
      return ConverterRegistry::global().support(g, node, any_dynamic);
    };
    impl->graph = std::move(graph);
    STATOR_RETURN_IF_ERROR(impl->choose_segments(query));
    return Compilation(std::move(impl));
  });
}

const Graph& Compilation::graph() const { return impl_->graph; }
const Partitions& Compilation::partitions() const { return impl_->partitions; }

std::string Compilation::report() const {
  return dry_run_report(impl_->graph, impl_->partitions, print_settings(impl_->settings));
}

std::string Compilation::report_json() const {
  return dry_run_report_json(impl_->graph, impl_->partitions, print_settings(impl_->settings),
                             impl_->settings.opt_sizes);
}

std::string Compilation::report_html() const { return dry_run_report_html(report_json()); }

Status Compilation::describe_segment(int index,
                                     const std::function<void(const void*, int64_t)>& sink) const {
  return guarded([&]() -> Status {
    const Segment& segment = impl_->partitions.segments.at(static_cast<size_t>(index));
    STATOR_CHECK(segment.engine, "segment " + segment.name + " runs in PyTorch");
    STATOR_TRY(const std::shared_ptr<void> entered, enter_device(*impl_->backend, impl_->settings));
    // By a name that does not depend on the segments around it.
    InterfaceOrders orders;
    STATOR_TRY(const Network network, impl_->convert(segment, "engine", &orders));
    const CompilationSettings& s = impl_->settings;
    std::string text = std::string("stator ") + STATOR_VERSION + "\n";
    text += impl_->backend->device_key(build_options(s)) + "\n";
    text += "optimization_level " + std::to_string(s.optimization_level) + "\ndisable_tf32 " +
            std::to_string(static_cast<int>(s.disable_tf32)) + "\nhardware_compatible " +
            std::to_string(static_cast<int>(s.hardware_compatible)) + "\n";
    if (const std::optional<DType> low = low_precision(s)) {
      text += std::string("low_precision ") + dtype_name(*low) + "\n";
    }
    for (const auto& [symbol, size] : s.opt_sizes) {
      text += "opt " + symbol + " " + std::to_string(size) + "\n";
    }
    text += "orders " + orders.str() + "\n";
    text += print_network(network, /*digests=*/false);  // the bytes follow
    sink(text.data(), static_cast<int64_t>(text.size()));
    for (const NetworkTensor& tensor : network.tensors) {
      if (tensor.role == TensorRole::kConstant) sink(tensor.data.data, tensor.data.size_bytes);
    }
    return {};
  });
}

Result<std::shared_ptr<const Engine>> Compilation::build(
    int index, BuildStats* stats,
    const std::function<void(int, int, const std::string&)>& progress) const {
  return guarded([&]() -> Result<std::shared_ptr<const Engine>> {
    const Segment& segment = impl_->partitions.segments.at(static_cast<size_t>(index));
    STATOR_CHECK(segment.engine, "segment " + segment.name + " runs in PyTorch");
    Dump dump(impl_->settings.dump_directory.empty()
                  ? ""
                  : impl_->settings.dump_directory + "/" + segment.name);
    InterfaceOrders orders;
    STATOR_TRY(Network network, impl_->convert(segment, segment.name, &orders));
    if (impl_->settings.require_full_compilation) {
      STATOR_RETURN_IF_ERROR(warn_of_missing_kernels(network, *impl_->backend, impl_->settings));
    }
    return build_engine(std::move(network), orders, *impl_->backend, impl_->settings,
                        metadata_of(impl_->graph), dump, stats, progress);
  });
}

namespace {

/// Without PyTorch in the process the model lies where its engine runs, wherever it was exported.
void move_to_device(Graph& graph, const std::string& device) {
  for (ValueId id = 0; id < graph.value_count(); ++id) {
    if (graph.value(id).kind == ValueKind::kTensor) {
      graph.value(id).tensor.device = device;
    }
  }
  for (const NodeId id : graph.order()) {
    for (NamedArgument& argument : graph.node(id).args) {
      if (auto* named = std::get_if<DeviceArg>(&argument.value)) {
        named->name = device;
      }
    }
  }
}

/// Typical sizes that the user gave are of symbols that there are, and in their ranges.
Status check_opt_sizes(const Graph& graph, const std::map<std::string, int64_t>& sizes) {
  const auto& ranges = graph.bounds.ranges();
  for (const auto& [symbol, size] : sizes) {
    const auto found = ranges.find(symbol);
    if (found == ranges.end()) {
      std::string names;
      for (const auto& [name, range] : ranges) names += (names.empty() ? "" : ", ") + name;
      return Error{ErrorCode::kInvalidArgument,
                   "the model has no dynamic size '" + symbol + "'" +
                       (names.empty() ? "; all of its sizes are fixed" : "; it has " + names)};
    }
    const auto [least, greatest] = found->second;
    if (size < least || size > greatest) {
      const std::string most = greatest == Bounds::kUnbounded ? "" : std::to_string(greatest);
      return Error{ErrorCode::kInvalidArgument,
                   symbol + "=" + std::to_string(size) + " is outside of the model's range, " +
                       std::to_string(least) + (most.empty() ? " up" : " to " + most)};
    }
  }
  return {};
}

/// The whole graph as one engine: inputs and outputs are the user's.
Result<Network> convert_whole(const Graph& graph) {
  std::vector<ValueId> inputs;
  std::vector<std::string> symbols;
  for (const GraphInput& input : graph.inputs) {
    const Value& value = graph.value(input.value);
    if (input.kind != InputKind::kUserInput) {
      continue;
    }
    if (value.kind == ValueKind::kTensor) {
      inputs.push_back(input.value);
    } else if (value.kind == ValueKind::kSymInt && value.expr.is_symbol()) {
      symbols.push_back(value.expr.symbol_name());
    }
  }
  std::vector<ValueId> outputs;
  for (const GraphOutput& output : graph.outputs) {
    const auto* use = std::get_if<ValueUse>(&output.value);
    if (output.kind != OutputKind::kUserOutput) {
      return Error{ErrorCode::kUnsupported, "the model changes '" + output.target +
                                                "' in place; an engine without PyTorch has no "
                                                "state yet. Return the new value as an output "
                                                "instead, or compile through Python"};
    }
    if (use != nullptr && graph.value(use->id).kind == ValueKind::kTensor) {
      outputs.push_back(use->id);
    }
  }
  std::vector<NodeId> nodes;
  for (const NodeId id : graph.order()) {
    if (!is_bookkeeping(graph.node(id).target)) {
      nodes.push_back(id);
    }
  }
  return convert_segment(graph, nodes, inputs, symbols, outputs, ConverterRegistry::global(),
                         graph.name);
}

}  // namespace

Result<Compilation> open_pt2(const std::string& path, CompilationSettings settings) {
  STATOR_TRY(Graph graph, read_pt2(path));
  STATOR_RETURN_IF_ERROR(check_opt_sizes(graph, settings.opt_sizes));
  STATOR_TRY(const CompilerBackend* const target, backend_of(settings));
  move_to_device(graph, target->traits().tensor_device);
  Result<Compilation> compilation = Compilation::create(std::move(graph), std::move(settings));
  if (!compilation.ok()) return of_file(compilation.error(), path);
  return compilation;
}

Result<std::shared_ptr<const Engine>> compile_pt2(
    const std::string& path, CompilationSettings settings, BuildStats* stats,
    const std::function<void(int, int, const std::string&)>& progress) {
  settings.require_full_compilation = true;
  settings.without_pytorch = true;
  STATOR_TRY(const Compilation compilation, open_pt2(path, settings));
  Result<std::shared_ptr<const Engine>> engine =
      guarded([&]() -> Result<std::shared_ptr<const Engine>> {
        STATOR_TRY(CompilerBackend * backend, backend_of(settings));
        Result<Network> network = convert_whole(compilation.graph());
        if (!network.ok()) return network.error();
        const Status fits = check_outputs(compilation.graph(), *network);
        if (!fits.ok()) return fits.error().in(path);
        STATOR_RETURN_IF_ERROR(warn_of_missing_kernels(*network, *backend, settings));
        Dump dump(settings.dump_directory.empty() ? "" : settings.dump_directory + "/engine");
        return build_engine(std::move(*network), {}, *backend, settings,
                            metadata_of(compilation.graph()), dump, stats, progress);
      });
  if (!engine.ok()) return of_file(engine.error(), path);
  return engine;
}

bool has_converter(const std::string& target) {
  return ConverterRegistry::global().find(target) != nullptr;
}

}  // namespace stator
