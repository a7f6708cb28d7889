// SPDX-License-Identifier: Apache-2.0
#include <charconv>

#include "commands.h"

namespace stator::cli {

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
  return settings;
}

}  // namespace stator::cli
