// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>

#include "commands.h"
#include "tensors.h"

namespace stator::cli {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string s = "[";
  for (size_t k = 0; k < shape.size(); ++k) {
    s += (k > 0 ? ", " : "") + std::to_string(shape[k]);
  }
  return s + "]";
}

/// The engine's file, and whether its weights' digests are compared.
struct EngineOptions {
  std::string file;
  bool skip_digests = false;
  void add_to(CLI::App& command) {
    command.add_option("engine", file, "Engine file")->required();
    command.add_flag("--no-verify-digests", skip_digests,
                     "Do not compare the weights with their digests, which reads the whole file");
  }
  Result<std::shared_ptr<const Engine>> load() const {
    return Engine::load(file, {Engine::kCurrentDevice, !skip_digests});
  }
};

struct RunOptions {
  EngineOptions engine;
  std::string output;
  InputOptions inputs;
};

Status save_outputs(const std::string& path,
                    const std::vector<std::pair<std::string, TensorView>>& outputs) {
  if (path.ends_with(".npy")) {
    if (outputs.size() != 1) {
      return Error{ErrorCode::kInvalidArgument,
                   path + ": the engine has " + std::to_string(outputs.size()) +
                       " outputs, a .npy file holds one; write a .safetensors file"};
    }
    return write_npy(path, outputs.front().second);
  }
  if (path.ends_with(".safetensors")) {
    return write_safetensors(path, outputs);
  }
  return Error{ErrorCode::kInvalidArgument, path + ": outputs are written as .npy or .safetensors"};
}

Status run_run(const RunOptions& options) {
  STATOR_TRY(const std::shared_ptr<const Engine> engine, options.engine.load());
  STATOR_TRY(const std::vector<Tensor> inputs, options.inputs.tensors(*engine));
  ExecutionContext context(engine);
  STATOR_TRY(const std::vector<TensorData> bound,
             bind(context, *engine, inputs, options.inputs.scalars));
  STATOR_RETURN_IF_ERROR(context.run());
  std::vector<std::pair<std::string, TensorView>> outputs;
  std::vector<TensorData> memory;
  memory.reserve(engine->outputs().size());
  for (size_t i = 0; i < engine->outputs().size(); ++i) {
    STATOR_TRY(TensorView output,
               host_output(context, *engine, static_cast<int>(i), &memory.emplace_back()));
    outputs.emplace_back(engine->outputs()[i].name, std::move(output));
    const auto& [name, view] = outputs.back();
    std::printf("%s: %s%s", name.c_str(), dtype_name(view.dtype), shape_text(view.shape).c_str());
    if (view.dtype == DType::kFloat32) {
      const auto* values = static_cast<const float*>(view.data);
      const int64_t count = element_count(view.shape);
      for (int64_t k = 0; k < std::min<int64_t>(count, 6); ++k) {
        std::printf("%s%.6g", k == 0 ? "  " : ", ", static_cast<double>(values[k]));
      }
      std::printf("%s", count > 6 ? ", …" : "");
    }
    std::printf("\n");
  }
  return options.output.empty() ? Status() : save_outputs(options.output, outputs);
}

struct BenchOptions {
  EngineOptions engine;
  double seconds = 3;
  bool profile = false;
  InputOptions inputs;
};

double microseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
      .count();
}

/// Steps by their share of the time, from the fastest of `rounds` runs for each step.
Status print_profile(ExecutionContext& context, int rounds) {
  std::vector<StepTime> best;
  for (int round = 0; round < rounds; ++round) {
    STATOR_TRY(std::vector<StepTime> steps, context.profile());
    if (best.empty()) {
      best = std::move(steps);
      continue;
    }
    for (size_t i = 0; i < best.size(); ++i) {
      best[i].ns = std::min(best[i].ns, steps[i].ns);
    }
  }
  int64_t total = 0;
  for (const StepTime& step : best) {
    total += step.ns;
  }
  std::stable_sort(best.begin(), best.end(),
                   [](const StepTime& a, const StepTime& b) { return a.ns > b.ns; });
  std::printf("\n%10s %7s  %-44s %s\n", "us", "share", "step", "kernel");
  for (const StepTime& step : best) {
    std::printf(
        "%10.1f %6.1f%%  %-44.44s %s\n", static_cast<double>(step.ns) / 1e3,
        100.0 * static_cast<double>(step.ns) / static_cast<double>(std::max<int64_t>(total, 1)),
        step.name.c_str(), step.kernel.c_str());
  }
  std::printf("%10.1f %6.1f%%  sum of %zu steps\n", static_cast<double>(total) / 1e3, 100.0,
              best.size());
  return {};
}

Status run_bench(const BenchOptions& options) {
  const auto load_begin = std::chrono::steady_clock::now();
  STATOR_TRY(const std::shared_ptr<const Engine> engine, options.engine.load());
  const double load_us = microseconds_since(load_begin);
  STATOR_TRY(const std::vector<Tensor> inputs, options.inputs.tensors(*engine));
  ExecutionContext context(engine);
  STATOR_TRY(const std::vector<TensorData> bound,
             bind(context, *engine, inputs, options.inputs.scalars));
  STATOR_RETURN_IF_ERROR(context.run());
  std::vector<double> times;
  const auto begin = std::chrono::steady_clock::now();
  while (microseconds_since(begin) < options.seconds * 1e6 || times.size() < 3) {
    const auto call = std::chrono::steady_clock::now();
    STATOR_RETURN_IF_ERROR(context.run());
    times.push_back(microseconds_since(call));
  }
  std::sort(times.begin(), times.end());
  const auto quantile = [&times](double q) {
    return times[static_cast<size_t>(q * static_cast<double>(times.size() - 1))];
  };
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::printf("%s%s: %s", i == 0 ? "" : ", ", engine->inputs()[i].name.c_str(),
                shape_text(inputs[i].shape).c_str());
  }
  std::printf("\n%d threads, %zu calls: min %.1f us, median %.1f us, p95 %.1f us; ", thread_count(),
              times.size(), times.front(), quantile(0.5), quantile(0.95));
  std::printf("load %.1f ms, arena %.1f MB\n", load_us / 1e3,
              static_cast<double>(context.arena_bytes()) / 1e6);
  return options.profile ? print_profile(context, 5) : Status();
}

}  // namespace

Command add_run(CLI::App& app) {
  const auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Run an engine once");
  options->engine.add_to(*command);
  command->add_option("-o,--output", options->output, "Outputs to a .npy or .safetensors file");
  options->inputs.add_to(*command);
  command->footer("Inputs that no option describes are drawn at random.");
  return [options] { return run_run(*options); };
}

Command add_bench(CLI::App& app) {
  const auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand("bench", "Time an engine: min, median, p95 of its calls");
  options->engine.add_to(*command);
  command->add_option("--seconds", options->seconds, "How long to measure")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--profile", options->profile, "Also the time of every step");
  options->inputs.add_to(*command);
  return [options] { return run_bench(*options); };
}

}  // namespace stator::cli
