// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "plan/plan.h"
#include "stator/runtime.h"

namespace stator::cli {
namespace {

struct Explanation {
  const char* name;
  /// What the value did to this build.
  std::function<std::string(const std::string& value, const Plan& plan)> effect;
};

std::string targets(const Plan& plan) {
  std::string text;
  for (const CodeVariant& code : plan.code) {
    text += (text.empty() ? "" : ", ") + code.executor + " " + code.target;
  }
  return text.empty() ? "no machine code" : text;
}

bool on_cuda(const Plan& plan) { return plan.device.rfind("cuda", 0) == 0; }

const std::vector<Explanation>& explanations() {
  static const auto& table = *new std::vector<Explanation>{
      {"device", [](const std::string&, const Plan& p) { return "built for " + p.device; }},
      {"optimization_level",
       [](const std::string& v, const Plan&) {
         return v == "0" ? std::string("the first guess of every kernel was taken, none was timed")
                         : "candidates of every kernel were timed, more of them the higher it is";
       }},
      {"hardware_compatible",
       [](const std::string& v, const Plan& p) {
         return (v == "True" ? "runs on other machines too: " : "runs on machines like this: ") +
                targets(p);
       }},
      {"disable_tf32",
       [](const std::string& v, const Plan& p) {
         if (!on_cuda(p)) return std::string("no effect: the CPU's float32 is always IEEE");
         return std::string(v == "True" ? "float32 products round nothing"
                                        : "float32 products round their operands to TF32");
       }},
      {"use_explicit_typing",
       [](const std::string& v, const Plan& p) {
         if (v == "True") return std::string("the model's dtypes were kept");
         return std::string(on_cuda(p)
                                ? "products of float32 ran in an enabled half where that is faster"
                                : "no effect: products of halves are not faster here");
       }},
      {"enabled_precisions",
       [](const std::string&, const Plan&) {
         return std::string("what products of float32 may run in, without use_explicit_typing");
       }},
      {"workspace_size",
       [](const std::string& v, const Plan&) {
         return v == "0" ? std::string("kernels took what scratch memory they wanted")
                         : "kernels that want more scratch memory were left out";
       }},
      {"num_avg_timing_iters",
       [](const std::string& v, const Plan&) { return "each timing is the mean of " + v; }},
      {"max_aux_streams",
       [](const std::string&, const Plan& p) {
         const int32_t lanes = lane_count(p);
         return lanes == 1 ? std::string("all steps run one after another")
                           : "branches run side by side, on " + std::to_string(lanes - 1) +
                                 " more " + (on_cuda(p) ? "streams" : "threads");
       }},
      {"sparse_weights",
       [](const std::string& v, const Plan& p) {
         if (v == "False") return std::string("all products are dense");
         if (!on_cuda(p)) return std::string("no effect: the CPU has no sparse kernels");
         const bool any = std::any_of(p.kernels.begin(), p.kernels.end(), [](const PlanKernel& k) {
           return k.name.find("cusparselt") != std::string::npos;
         });
         return std::string(any ? "sparse kernels won products with weights that are 2:4"
                                : "no sparse kernel won, or no weights are 2:4");
       }},
      {"tiling_optimization_level",
       [](const std::string& v, const Plan&) {
         return v == "none" ? std::string("no more tile shapes competed than the level has")
                            : "more tile shapes competed: " + v;
       }},
      {"l2_limit_for_tiling",
       [](const std::string& v, const Plan&) {
         return v == "-1" ? std::string("no limit")
                          : "tiles whose operands take more than " + v + " bytes were left out";
       }},
      {"build_time_budget",
       [](const std::string& v, const Plan&) {
         return v == "0" ? std::string("no limit") : "after " + v + " s first guesses were taken";
       }},
      {"min_block_size",
       [](const std::string&, const Plan&) {
         return std::string("decided which parts became engines; this engine is one of them");
       }},
      {"torch_executed_ops",
       [](const std::string& v, const Plan&) {
         return v == "set()" ? std::string("excluded nothing") : "these are in no engine";
       }},
      {"cpu_memory_budget",
       [](const std::string& v, const Plan&) {
         return v == "0" ? std::string("engines were built whole, whatever memory that took")
                         : "larger engines were split";
       }},
      {"use_fast_partitioner",
       [](const std::string& v, const Plan&) {
         return std::string(v == "True" ? "parts as one walk over the graph finds them"
                                        : "parts as few and as large as possible");
       }},
      {"assume_dynamic_shape_support",
       [](const std::string& v, const Plan&) {
         return std::string(v == "True" ? "every converter was taken as able to convert ranges"
                                        : "converters were asked about ranges of sizes");
       }},
      {"require_full_compilation",
       [](const std::string& v, const Plan&) {
         return std::string(v == "True" ? "nothing runs in PyTorch"
                                        : "what cannot be compiled runs in PyTorch");
       }},
      {"disabled_passes",
       [](const std::string& v, const Plan&) {
         return v == "set()" ? std::string("all passes ran") : "these passes did not run";
       }},
  };
  return table;
}

Status explain(const std::string& path) {
  STATOR_TRY(const std::shared_ptr<const Engine> engine, Engine::load(path));
  const nlohmann::json built_with = nlohmann::json::parse(engine->plan().settings, nullptr, false);
  if (!built_with.is_object() || !built_with.contains("values")) {
    return Error{ErrorCode::kUnsupported, path + " does not hold the settings it was built with"};
  }
  const nlohmann::json& settings = built_with["values"];
  for (const Explanation& e : explanations()) {
    const std::string value = settings.value(e.name, "");
    if (value.empty()) continue;
    std::printf("%-30s %-12s %s\n", e.name, value.c_str(), e.effect(value, engine->plan()).c_str());
  }
  return {};
}

}  // namespace

Command add_explain(CLI::App& app) {
  const auto path = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("explain-settings", "Say what each setting did to an engine's build");
  command->add_option("engine", *path, "Engine file")->required();
  return [path] { return explain(*path); };
}

}  // namespace stator::cli
