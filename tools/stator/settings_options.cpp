// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <cstdio>

#include "commands.h"

namespace stator::cli {
namespace {

struct Idle {
  const char* setting;
  const char* device;  // "": on all
  const char* reason;
};

/// As in Python (settings/compilation_settings.py), of the settings that the program has.
constexpr Idle kWithoutEffect[] = {
    {"sparse_weights", "cpu", "the CPU has no sparse kernels"},
    {"sparse_weights", "reference", "it has no sparse kernels"},
    {"use_explicit_typing", "cpu", "products of halves are not faster there"},
    {"use_explicit_typing", "reference", "it keeps all dtypes"},
    {"disable_tf32", "cpu", "its float32 is always IEEE"},
    {"disable_tf32", "reference", "its float32 is always IEEE"},
    {"tiling_optimization_level", "reference", "it has no tiles"},
    {"l2_limit_for_tiling", "reference", "it has no tiles"},
    {"max_aux_streams", "reference", "it runs steps one after another"},
};

constexpr const char* kPartsOnly[] = {"min_block_size", "use_fast_partitioner",
                                      "cpu_memory_budget"};

std::string name_of(const std::string& assignment) {
  return assignment.substr(0, assignment.find('='));
}

void warn(const std::string& assignment, const std::string& why) {
  std::fprintf(stderr, "warning: %s has no effect%s\n", assignment.c_str(), why.c_str());
}

}  // namespace

Result<std::pair<std::string, std::string>> split_assignment(const std::string& text) {
  const size_t at = text.find('=');
  if (at == std::string::npos || at == 0) {
    return Error{ErrorCode::kInvalidArgument, "'" + text + "' is not of the form name=value"};
  }
  return std::pair{text.substr(0, at), text.substr(at + 1)};
}

void SettingOptions::add_to(CLI::App& app) {
  app.add_option("--device", device, "Backend: cpu, or reference (slow and evidently right)")
      ->capture_default_str();
  app.add_option("-O,--optimization-level", optimization_level,
                 "0: first guess of every kernel, no timing; 5: every candidate is timed")
      ->check(CLI::Range(0, 5))
      ->capture_default_str();
  app.add_option("--timing-cache", timing_cache,
                 "File that remembers which kernel won; makes the next build quick");
  app.add_option("--opt-size", opt_sizes,
                 "Typical value of a dynamic size, at which kernels are timed: --opt-size s0=8")
      ->take_all();
  app.add_option("--set", assignments, "Any setting by name: --set min_block_size=3")->take_all();
  app.add_option("--dump", dump, "Folder for every form after every pass, as text");
}

Result<CompilationSettings> SettingOptions::settings() const {
  CompilationSettings settings;
  settings.device = device;
  settings.optimization_level = optimization_level;
  settings.timing_cache_path = timing_cache;
  settings.dump_directory = dump;
  for (const std::string& assignment : assignments) {
    STATOR_TRY(const auto pair, split_assignment(assignment));
    STATOR_RETURN_IF_ERROR(set_setting(settings, pair.first, pair.second));
  }
  for (const std::string& assignment : opt_sizes) {
    STATOR_TRY(const auto pair, split_assignment(assignment));
    int64_t value = 0;
    const char* end = pair.second.data() + pair.second.size();
    if (std::from_chars(pair.second.data(), end, value).ptr != end || value < 0) {
      return Error{ErrorCode::kInvalidArgument,
                   "--opt-size " + assignment + ": '" + pair.second + "' is not a size"};
    }
    settings.opt_sizes[pair.first] = value;
  }
  const std::string backend = settings.device.substr(0, settings.device.find(':'));
  const std::map<std::string, std::string> defaults = printed_settings({});
  const std::map<std::string, std::string> chosen = printed_settings(settings);
  for (const std::string& assignment : assignments) {
    const std::string name = name_of(assignment);
    for (const Idle& idle : kWithoutEffect) {
      if (name == idle.setting && backend == idle.device && chosen.at(name) != defaults.at(name)) {
        warn(assignment, " on " + backend + ": " + idle.reason);
      }
    }
  }
  if (settings.use_explicit_typing && settings.enabled_precisions.size() > 1) {
    warn("enabled_precisions", " without use_explicit_typing=False: the model's dtypes are kept");
  }
  return settings;
}

Status SettingOptions::check_for_whole_engine() const {
  for (const std::string& assignment : assignments) {
    const std::string name = name_of(assignment);
    CompilationSettings settings;
    STATOR_RETURN_IF_ERROR(set_setting(settings, name, assignment.substr(name.size() + 1)));
    if (name == "require_full_compilation" && !settings.require_full_compilation) {
      return Error{ErrorCode::kInvalidArgument,
                   assignment +
                       ": the program builds one engine of the whole model, and has no PyTorch to "
                       "run the rest. Compile in Python, where operators without a converter run "
                       "in PyTorch: stator.compile(torch.export.load(\"model.pt2\")), then "
                       "stator.save"};
    }
    for (const char* parts : kPartsOnly) {
      if (name == parts) warn(assignment, ": the program builds one engine of the whole model");
    }
  }
  return {};
}

}  // namespace stator::cli
