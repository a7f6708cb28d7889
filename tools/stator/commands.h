// SPDX-License-Identifier: Apache-2.0
//
// The subcommands of the program `stator`. Each adds itself to the command line and gives back the
// function that runs it; what main() prints of an error is its message.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "stator/result.h"
#include "stator/settings.h"

namespace stator::cli {

using Command = std::function<Status()>;

Command add_compile(CLI::App& app);
Command add_dryrun(CLI::App& app);
Command add_run(CLI::App& app);
Command add_bench(CLI::App& app);
Command add_inspect(CLI::App& app);
Command add_verify(CLI::App& app);
Command add_opt(CLI::App& app);
Command add_explain(CLI::App& app);

/// The options that set CompilationSettings, shared by compile, dryrun and verify.
struct SettingOptions {
  std::vector<std::string> assignments;  // "min_block_size=3"
  std::string device = "cpu";
  int optimization_level = 3;
  std::string timing_cache;
  std::string dump;
  std::vector<std::string> opt_sizes;  // "s0=8"
  void add_to(CLI::App& app);
  /// Warns of settings that have no effect on the chosen device.
  Result<CompilationSettings> settings() const;
  /// For commands that build one engine of the whole model, with no PyTorch to run the rest: an
  /// error where a setting asks for the opposite, a warning for those that have no effect then.
  Status check_for_whole_engine() const;
};

/// "name=value" → the pair; kInvalidArgument when there is no '='.
Result<std::pair<std::string, std::string>> split_assignment(const std::string& text);

}  // namespace stator::cli
