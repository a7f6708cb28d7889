// SPDX-License-Identifier: Apache-2.0
//
// The program `stator`: compile, look into, run, time and check models, with no Python.
#include <cstdio>
#include <exception>

#include "commands.h"

namespace {

constexpr const char* kEpilog = R"(The way of a model:
  torch.export.save(torch.export.export(model, args), "model.pt2")     in Python, once
  stator dryrun  model.pt2                      what would be compiled, and why not the rest
  stator compile model.pt2 -o model.engine      build for this machine
  stator run     model.engine --input x=x.npy --output y.safetensors
  stator bench   model.engine --shape x=8x128 --profile
  stator verify  model.engine model.pt2         compare with the reference backend
  stator explain-settings model.engine          what each setting did to the build

STATOR_NUM_THREADS sets how many threads an engine uses (default: every core).)";

}  // namespace

int main(int argc, char** argv) {
  using namespace stator::cli;
  CLI::App app("Stator compiles PyTorch models into engines and runs them.", "stator");
  app.footer(kEpilog);
  app.require_subcommand(1);
  app.set_version_flag("--version", STATOR_VERSION);
  std::vector<std::pair<CLI::App*, Command>> commands;
  for (const auto add : {add_compile, add_dryrun, add_run, add_bench, add_inspect, add_verify,
                         add_explain, add_opt}) {
    const Command run = add(app);
    commands.emplace_back(app.get_subcommands(nullptr).back(), run);
  }
  CLI11_PARSE(app, argc, argv);
  for (const auto& [command, run] : commands) {
    if (!command->parsed()) {
      continue;
    }
    try {
      const stator::Status status = run();
      if (!status.ok()) {
        std::fprintf(stderr, "stator %s: %s\n", command->get_name().c_str(),
                     status.error().message.c_str());
        return 1;
      }
    } catch (const std::exception& e) {
      std::fprintf(stderr, "stator %s: internal error: %s\n", command->get_name().c_str(),
                   e.what());
      return 2;
    }
  }
  return 0;
}
