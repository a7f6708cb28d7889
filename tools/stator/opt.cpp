// SPDX-License-Identifier: Apache-2.0
//
// stator opt: passes on text, as the tests of the stages use it.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>

#include "backend/compiler.h"
#include "commands.h"
#include "compiler/oracle.h"
#include "lowering/pipeline.h"
#include "optimizer/optimizer.h"

namespace stator::cli {
namespace {

struct OptOptions {
  std::string file, device = "cpu";
  std::vector<std::string> passes;
  bool list = false;
};

Result<std::string> read_text(const std::string& path) {
  std::ostringstream text;
  if (path == "-") {
    text << std::cin.rdbuf();
    return text.str();
  }
  std::ifstream stream(path);
  if (!stream) {
    return Error{ErrorCode::kIo, path + ": it cannot be read"};
  }
  text << stream.rdbuf();
  return text.str();
}

void print_list() {
  std::puts("on graphs:");
  for (const LoweringPass& pass : lowering_passes()) {
    std::printf("  %-28s %s\n", pass.name, pass.why);
  }
  std::puts("on networks:");
  for (const NetworkPass& pass : network_passes()) {
    std::printf("  %-28s %s\n", pass.name, pass.why);
  }
  std::puts("  fuse                         layers become regions, one kernel each");
}

/// Runs one pass of the graph's table; false when there is none of that name.
bool run_graph_pass(Graph& graph, const std::string& name, const LoweringOptions& options) {
  for (const LoweringPass& pass : lowering_passes()) {
    if (name == pass.name) {
      const int fired = pass.run(graph, options);
      std::fprintf(stderr, "%s: fired %d times\n", pass.name, fired);
      return true;
    }
  }
  return false;
}

Error no_such_pass(const std::string& name) {
  return Error{ErrorCode::kInvalidArgument,
               "there is no pass '" + name + "' for this form; `stator opt --list` names them"};
}

Result<std::string> opt_graph(const std::string& text, const OptOptions& options) {
  STATOR_TRY(Graph graph, parse_graph(text));
  STATOR_RETURN_IF_ERROR(verify_graph(graph));
  LoweringOptions lowering;
  lowering.evaluate_constant = [](const Graph& g, const Node& node) {
    return evaluate_node(g, node, ConverterRegistry::global());
  };
  if (options.passes.empty()) {
    STATOR_RETURN_IF_ERROR(lower(graph, lowering));
  }
  for (const std::string& name : options.passes) {
    if (!run_graph_pass(graph, name, lowering)) {
      return no_such_pass(name);
    }
    STATOR_RETURN_IF_ERROR(verify_graph(graph));
  }
  return print_graph(graph);
}

Result<std::string> opt_network(const std::string& text, const OptOptions& options) {
  STATOR_TRY(Network network, parse_network(text));
  STATOR_RETURN_IF_ERROR(verify_network(network));
  const CompilerBackend* backend = find_compiler_backend(options.device);
  if (backend == nullptr) {
    return Error{ErrorCode::kInvalidArgument, "there is no backend '" + options.device + "'"};
  }
  OptimizerOptions optimizer;
  optimizer.traits = backend->traits();
  optimizer.evaluate_layer = evaluate_layer_of;
  for (const std::string& name : options.passes) {
    if (name == "fuse") {
      STATOR_TRY(const RegionGraph regions, fuse(network, optimizer));
      return print_regions(regions);
    }
    bool found = false;
    for (const NetworkPass& pass : network_passes()) {
      if (name == pass.name) {
        std::fprintf(stderr, "%s: fired %d times\n", pass.name, pass.run(network, optimizer));
        found = true;
      }
    }
    if (!found) {
      return no_such_pass(name);
    }
    STATOR_RETURN_IF_ERROR(verify_network(network));
  }
  if (options.passes.empty()) {
    STATOR_RETURN_IF_ERROR(optimize(network, optimizer));
  }
  return print_network(network);
}

Status run_opt(const OptOptions& options) {
  if (options.list) {
    print_list();
    return {};
  }
  STATOR_TRY(const std::string text, read_text(options.file));
  const size_t begin = text.find_first_not_of(" \n");
  const bool network = begin != std::string::npos && text.compare(begin, 7, "network") == 0;
  STATOR_TRY(const std::string out,
             network ? opt_network(text, options) : opt_graph(text, options));
  std::fputs(out.c_str(), stdout);
  return {};
}

}  // namespace

Command add_opt(CLI::App& app) {
  const auto options = std::make_shared<OptOptions>();
  CLI::App* command = app.add_subcommand("opt", "Run passes on a graph or network given as text");
  command->add_option("file", options->file, "Text that inspect prints; - for standard input")
      ->default_val("-");
  command->add_option("-p,--pass", options->passes, "Passes in order (default: the whole table)")
      ->take_all();
  command->add_option("--device", options->device, "Whose traits the network passes follow")
      ->capture_default_str();
  command->add_flag("--list", options->list, "Name the passes");
  return [options] { return run_opt(*options); };
}

}  // namespace stator::cli
