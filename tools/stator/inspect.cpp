// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "conversion/conversion.h"
#include "partition/partitions.h"
#include "plan/plan.h"
#include "pt2/read_pt2.h"
#include "stator/compiler.h"
#include "stator/runtime.h"

namespace stator::cli {
namespace {

struct InspectOptions {
  std::string file, form = "auto";
  bool json = false;
  SettingOptions settings;
};

nlohmann::json tensors_json(const std::vector<TensorInfo>& tensors) {
  nlohmann::json list = nlohmann::json::array();
  for (const TensorInfo& info : tensors) {
    list.push_back({{"name", info.name},
                    {"dtype", dtype_name(info.dtype)},
                    {"shape", info.symbolic_shape},
                    {"least", info.least},
                    {"greatest", info.greatest}});
  }
  return list;
}

nlohmann::json engine_json(const Engine& engine) {
  const Plan& plan = engine.plan();
  nlohmann::json json = {{"name", plan.name},
                         {"device", plan.device},
                         {"compiler_version", plan.compiler_version},
                         {"inputs", tensors_json(engine.inputs())},
                         {"outputs", tensors_json(engine.outputs())},
                         {"weight_bytes", engine.weight_bytes()}};
  for (const CodeVariant& code : plan.code) {
    json["code"].push_back({{"executor", code.executor},
                            {"target", code.target},
                            {"features", code.features},
                            {"bytes", code.image.size_bytes}});
  }
  for (const PlanStep& step : plan.steps) {
    nlohmann::json lines = nlohmann::json::array();
    for (const Provenance& p : step.provenance) {
      lines.push_back({{"node", p.node}, {"source", p.source.str()}});
    }
    json["steps"].push_back({{"name", step.name},
                             {"kernel", plan.kernels[static_cast<size_t>(step.kernel)].name},
                             {"executor", plan.kernels[static_cast<size_t>(step.kernel)].executor},
                             {"from", lines}});
  }
  for (const PlanWeight& weight : plan.weights) {
    json["weights"].push_back({{"name", weight.name},
                               {"origin", weight.origin},
                               {"dtype", dtype_name(weight.dtype)},
                               {"shape", weight.shape},
                               {"recipe", weight.recipe.kind + " " + weight.recipe.text},
                               {"bytes", weight.data.size_bytes}});
  }
  return json;
}

/// The graph of a .pt2 as one network, without an optimizer.
Result<std::string> model_form(const InspectOptions& options) {
  if (options.form == "graph") {
    STATOR_TRY(const Graph graph, read_pt2(options.file));
    return print_graph(graph);
  }
  STATOR_TRY(CompilationSettings settings, options.settings.settings());
  STATOR_TRY(const Compilation compilation, open_pt2(options.file, settings));
  if (options.form == "lowered" || options.form == "auto") {
    return print_graph(compilation.graph());
  }
  if (options.form == "network") {
    std::string text;
    for (const Segment& segment : compilation.partitions().segments) {
      if (!segment.engine) {
        continue;
      }
      STATOR_TRY(
          const Network network,
          convert_segment(compilation.graph(), segment.nodes, segment.inputs, segment.symbol_inputs,
                          segment.outputs, ConverterRegistry::global(), segment.name));
      text += print_network(network);
    }
    return text;
  }
  return Error{ErrorCode::kInvalidArgument,
               "a .pt2 file has the forms graph, lowered and network; '" + options.form +
                   "' is of an engine: compile it first"};
}

Status run_inspect(const InspectOptions& options) {
  if (options.file.ends_with(".pt2")) {
    if (options.json) {
      return Error{ErrorCode::kInvalidArgument,
                   "--json prints an engine; of a .pt2 file, `stator dryrun --format json` prints "
                   "the report"};
    }
    STATOR_TRY(const std::string text, model_form(options));
    std::fputs(text.c_str(), stdout);
    return {};
  }
  if (!options.settings.assignments.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "--set acts on a .pt2 file; what an engine was built with, "
                 "`stator explain-settings` says"};
  }
  STATOR_TRY(const std::shared_ptr<const Engine> engine, Engine::load(options.file));
  if (options.json) {
    std::puts(engine_json(*engine).dump(2).c_str());
    return {};
  }
  if (options.form != "auto" && options.form != "plan") {
    return Error{ErrorCode::kInvalidArgument,
                 "an engine has the form plan; '" + options.form + "' is of a .pt2 file"};
  }
  std::fputs(print_plan(engine->plan()).c_str(), stdout);
  return {};
}

}  // namespace

Command add_inspect(CLI::App& app) {
  const auto options = std::make_shared<InspectOptions>();
  CLI::App* command =
      app.add_subcommand("inspect", "Print a model's graph or network, or an engine's plan");
  command->add_option("file", options->file, "A .pt2 file or an engine file")->required();
  command
      ->add_option("--form", options->form,
                   "graph (as exported), lowered, network; plan (of an engine)")
      ->check(CLI::IsMember({"auto", "graph", "lowered", "network", "plan"}))
      ->capture_default_str();
  command->add_flag("--json", options->json, "An engine as JSON");
  options->settings.add_to(*command);
  return [options] { return run_inspect(*options); };
}

}  // namespace stator::cli
