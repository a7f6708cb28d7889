// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "base/atomic_file.h"
#include "builder/build.h"
#include "commands.h"
#include "pt2/read_pt2.h"
#include "stator/compiler.h"

namespace stator::cli {
namespace {

/// One line on the terminal, rewritten; silent for builds under a second and in pipes.
class Progress {
 public:
  void operator()(int done, int total, const std::string& what) {
    if (isatty(STDERR_FILENO) == 0 ||
        std::chrono::steady_clock::now() - begin_ < std::chrono::seconds(1)) {
      return;
    }
    std::fprintf(stderr, "\r\033[K[%d/%d] %s", done, total, what.substr(0, 60).c_str());
    shown_ = true;
  }
  ~Progress() {
    if (shown_) {
      std::fputs("\r\033[K", stderr);
    }
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  bool shown_ = false;
};

std::string describe(const std::vector<TensorInfo>& tensors) {
  std::string s;
  for (const TensorInfo& info : tensors) {
    s += (s.empty() ? "" : ", ") + info.name + ": " + dtype_name(info.dtype) + "[";
    for (size_t k = 0; k < info.symbolic_shape.size(); ++k) {
      s += (k > 0 ? ", " : "") + info.symbolic_shape[k];
    }
    s += "]";
  }
  return s;
}

struct CompileOptions {
  std::string model, output;
  SettingOptions settings;
};

Status run_compile(const CompileOptions& options) {
  STATOR_TRY(CompilationSettings settings, options.settings.settings());
  STATOR_RETURN_IF_ERROR(options.settings.check_for_whole_engine());
  BuildStats stats;
  const auto begin = std::chrono::steady_clock::now();
  const auto progress = std::make_shared<Progress>();
  STATOR_TRY(const std::shared_ptr<const Engine> engine,
             compile_pt2(options.model, settings, &stats,
                         [progress](int done, int total, const std::string& what) {
                           (*progress)(done, total, what);
                         }));
  STATOR_RETURN_IF_ERROR(engine->save(options.output));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf("%s\n  inputs   %s\n  outputs  %s\n", options.output.c_str(),
              describe(engine->inputs()).c_str(), describe(engine->outputs()).c_str());
  std::printf("  kernels  %d for %d regions; weights %.1f MB\n", stats.kernels, stats.regions,
              static_cast<double>(engine->weight_bytes()) / 1e6);
  std::printf(
      "  built in %.2f s: tactics %.2f s (%d timed, %d from the cache), code %.2f s, "
      "weights %.2f s\n",
      seconds, stats.tactics_s, stats.tactics_timed, stats.timing_cache_hits, stats.compile_s,
      stats.pack_s);
  return {};
}

struct DryrunOptions {
  std::string model, output, format = "text";
  SettingOptions settings;
};

Status run_dryrun(const DryrunOptions& options) {
  STATOR_TRY(CompilationSettings settings, options.settings.settings());
  STATOR_TRY(const Compilation compilation, open_pt2(options.model, settings));
  const std::string text = options.format == "json"   ? compilation.report_json()
                           : options.format == "html" ? compilation.report_html()
                                                      : compilation.report();
  if (options.output.empty()) {
    std::puts(text.c_str());
    return {};
  }
  STATOR_TRY(AtomicFile file, AtomicFile::create(options.output));
  STATOR_RETURN_IF_ERROR(file.write(text.data(), static_cast<int64_t>(text.size())));
  return file.commit();
}

}  // namespace

Command add_compile(CLI::App& app) {
  const auto options = std::make_shared<CompileOptions>();
  CLI::App* command = app.add_subcommand("compile", "Build an engine from a .pt2 file");
  command->add_option("model", options->model, "What torch.export.save wrote")->required();
  command->add_option("-o,--output", options->output, "Engine file to write")->required();
  options->settings.add_to(*command);
  command->footer("Example: stator compile model.pt2 -o model.engine --timing-cache timing.json");
  return [options] { return run_compile(*options); };
}

Command add_dryrun(CLI::App& app) {
  const auto options = std::make_shared<DryrunOptions>();
  CLI::App* command = app.add_subcommand("dryrun", "Report what would be compiled; builds nothing");
  command->add_option("model", options->model, "What torch.export.save wrote")->required();
  command->add_option("--format", options->format, "text, json (for tools) or html (a page)")
      ->check(CLI::IsMember({"text", "json", "html"}))
      ->capture_default_str();
  command->add_option("-o,--output", options->output, "File to write instead of printing");
  options->settings.add_to(*command);
  return [options] { return run_dryrun(*options); };
}

}  // namespace stator::cli
