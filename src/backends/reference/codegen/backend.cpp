// SPDX-License-Identifier: Apache-2.0
#include "backends/reference/codegen/register.h"
#include "base/check.h"
#include "layer/call_payload.h"
#include "layer/expr_fields.h"

namespace stator {
namespace {

class ReferenceBackend : public CompilerBackend {
 public:
  using CompilerBackend::traits;
  BackendTraits traits(const BuildOptions&) const override {
    BackendTraits traits;
    traits.name = "reference";
    traits.fuses_loops = false;
    traits.channels_last = false;
    traits.fuses_epilogues = false;
    return traits;
  }

  std::string device_key(const BuildOptions&) const override { return "reference"; }

  Support supports(const RegionGraph&, const Region& region) const override {
    if (!std::holds_alternative<CallRegion>(region.body)) {
      return Support::no("the reference backend runs single layers");
    }
    return Support::yes();
  }

  std::vector<Tactic> candidates(const RegionGraph&, const Region&,
                                 const BuildOptions&) const override {
    return {Tactic{"call"}};
  }

  KernelLaunch launch(const RegionGraph&, const Region& region, const Tactic&) const override {
    KernelLaunch launch;
    launch.sizes = expr_fields(std::get<CallRegion>(region.body).attributes);
    return launch;
  }

  Result<CompiledCode> compile(const std::vector<KernelRequest>& requests,
                               const BuildOptions&) const override {
    CompiledCode code;
    code.variant.executor = "reference";
    code.variant.target = "any";
    for (const KernelRequest& request : requests) {
      const auto& call = std::get<CallRegion>(request.region->body);
      const CallPayload payload{static_cast<int64_t>(request.region->inputs.size()),
                                static_cast<int64_t>(request.region->outputs.size()),
                                call.attributes};
      code.kernels.push_back(
          {"reference", layer_kind_name(call.attributes), print_call_payload(payload), {}});
    }
    return code;
  }

  Result<TensorData> pack(const std::string& recipe, const TensorData&) const override {
    return Error{ErrorCode::kInternal, "the reference backend packs nothing ('" + recipe + "')"};
  }

  ExecutorBackend& executor() const override {
    ExecutorBackend* executor = find_executor_backend("reference");
    STATOR_CHECK(executor != nullptr, "the reference executor is not built");
    return *executor;
  }
};

}  // namespace

CompilerBackend& reference_backend() {
  static auto& backend = *new ReferenceBackend();
  return backend;
}

}  // namespace stator
