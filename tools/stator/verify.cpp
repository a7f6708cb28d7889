// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdio>
#include <memory>

#include "builder/build.h"
#include "commands.h"
#include "stator/compiler.h"
#include "tensors.h"

namespace stator::cli {
namespace {

struct VerifyOptions {
  std::string engine, model, expected;
  double rtol = 1e-4, atol = 1e-5;
  InputOptions inputs;
};

double value_at(const void* data, DType dtype, int64_t i) {
  switch (dtype) {
    case DType::kFloat32:
      return static_cast<const float*>(data)[i];
    case DType::kFloat64:
      return static_cast<const double*>(data)[i];
    case DType::kFloat16:
      return static_cast<double>(static_cast<const _Float16*>(data)[i]);
    case DType::kBFloat16: {
      const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(data)[i]) << 16;
      float value = 0;
      __builtin_memcpy(&value, &bits, 4);
      return value;
    }
    case DType::kInt8:
      return static_cast<const int8_t*>(data)[i];
    case DType::kInt16:
      return static_cast<const int16_t*>(data)[i];
    case DType::kInt32:
      return static_cast<const int32_t*>(data)[i];
    case DType::kInt64:
      return static_cast<double>(static_cast<const int64_t*>(data)[i]);
    default:
      return static_cast<const uint8_t*>(data)[i];
  }
}

struct Difference {
  double absolute = 0, relative = 0;
  int64_t outside = 0;  // elements beyond atol + rtol * |expected|
};

Difference compare(const TensorView& got, const void* expected, const VerifyOptions& options) {
  Difference d;
  const int64_t count = element_count(got.shape);
  for (int64_t i = 0; i < count; ++i) {
    const double a = value_at(got.data, got.dtype, i);
    const double b = value_at(expected, got.dtype, i);
    if (a == b || (std::isnan(a) && std::isnan(b))) {
      continue;
    }
    const double difference = std::isfinite(a) && std::isfinite(b) ? std::abs(a - b) : INFINITY;
    d.absolute = std::max(d.absolute, difference);
    if (b != 0) {
      d.relative = std::max(d.relative, difference / std::abs(b));
    }
    d.outside += difference > options.atol + options.rtol * std::abs(b) ? 1 : 0;
  }
  return d;
}

/// Prints one line an output; true when all are within the tolerances.
Result<bool> report(const Engine& engine, const ExecutionContext& context,
                    const std::vector<Tensor>& expected, const VerifyOptions& options) {
  bool good = true;
  for (size_t i = 0; i < engine.outputs().size(); ++i) {
    TensorData memory;
    STATOR_TRY(const TensorView got, host_output(context, engine, static_cast<int>(i), &memory));
    const std::string& name = engine.outputs()[i].name;
    if (got.dtype != expected[i].dtype || got.shape != expected[i].shape) {
      return Error{ErrorCode::kInvalidArgument,
                   "output '" + name + "' is of another shape or type than what is expected"};
    }
    const Difference d = compare(got, expected[i].data.data, options);
    std::printf("%-32s largest difference %.3g absolute, %.3g relative; %lld of %lld outside\n",
                name.c_str(), d.absolute, d.relative, static_cast<long long>(d.outside),
                static_cast<long long>(element_count(got.shape)));
    good = good && d.outside == 0;
  }
  return good;
}

Result<std::vector<Tensor>> reference_outputs(const VerifyOptions& options,
                                              const std::vector<Tensor>& inputs) {
  CompilationSettings settings;
  settings.device = "reference";
  settings.optimization_level = 0;
  BuildStats stats;
  STATOR_TRY(const std::shared_ptr<const Engine> reference,
             compile_pt2(options.model, settings, &stats, {}));
  ExecutionContext context(reference);
  STATOR_TRY(const std::vector<TensorData> bound,
             bind(context, *reference, inputs, options.inputs.scalars));
  STATOR_RETURN_IF_ERROR(context.run());
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < reference->outputs().size(); ++i) {
    const TensorView view = context.output(static_cast<int>(i));
    Tensor tensor{view.dtype, view.shape, {}};
    void* data = nullptr;
    tensor.data = TensorData::allocate(view.size_bytes(), &data);
    __builtin_memcpy(data, view.data, static_cast<size_t>(view.size_bytes()));
    outputs.push_back(std::move(tensor));
  }
  return outputs;
}

Result<std::vector<Tensor>> recorded_outputs(const VerifyOptions& options, const Engine& engine) {
  STATOR_TRY(NamedTensors named, read_safetensors(options.expected));
  std::vector<Tensor> outputs;
  for (const TensorInfo& info : engine.outputs()) {
    const auto found = named.find(info.name);
    if (found == named.end()) {
      return Error{ErrorCode::kInvalidArgument,
                   options.expected + " has no tensor '" + info.name + "'"};
    }
    outputs.push_back(found->second);
  }
  return outputs;
}

Status run_verify(const VerifyOptions& options) {
  if (options.model.empty() == options.expected.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "give the .pt2 file that the engine was built from, or --expected outputs"};
  }
  STATOR_TRY(const std::shared_ptr<const Engine> engine, Engine::load(options.engine));
  STATOR_TRY(const std::vector<Tensor> inputs, options.inputs.tensors(*engine));
  ExecutionContext context(engine);
  STATOR_TRY(const std::vector<TensorData> bound,
             bind(context, *engine, inputs, options.inputs.scalars));
  STATOR_RETURN_IF_ERROR(context.run());
  std::vector<Tensor> expected;
  if (options.expected.empty()) {
    STATOR_TRY(expected, reference_outputs(options, inputs));
  } else {
    STATOR_TRY(expected, recorded_outputs(options, *engine));
  }
  STATOR_TRY(const bool good, report(*engine, context, expected, options));
  if (!good) {
    return Error{ErrorCode::kInternal, "the engine's results differ by more than the tolerances"};
  }
  std::printf("within atol %g + rtol %g\n", options.atol, options.rtol);
  return {};
}

}  // namespace

Command add_verify(CLI::App& app) {
  const auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand(
      "verify", "Compare an engine with the reference backend, or with recorded outputs");
  command->add_option("engine", options->engine, "Engine file")->required();
  command->add_option("model", options->model, "The .pt2 file that it was built from");
  command->add_option("--expected", options->expected,
                      "A .safetensors file with tensors named as the outputs");
  command->add_option("--rtol", options->rtol)->capture_default_str();
  command->add_option("--atol", options->atol)->capture_default_str();
  options->inputs.add_to(*command);
  return [options] { return run_verify(*options); };
}

}  // namespace stator::cli
