// SPDX-License-Identifier: Apache-2.0
#include "engine_fixture.h"

#include "builder/build.h"
#include "optimizer/optimizer.h"

namespace stator::cpu::test {

Result<std::shared_ptr<const Engine>> engine_of(Network network, CompilerBackend& backend,
                                                bool optimized, int level, int max_aux_streams) {
  OptimizerOptions options;
  options.traits = backend.traits();
  if (optimized) {
    STATOR_RETURN_IF_ERROR(optimize(network, options));
  }
  STATOR_TRY(RegionGraph regions, fuse(network, options));
  STATOR_RETURN_IF_ERROR(verify_regions(regions));
  BuilderOptions builder;
  builder.build.optimization_level = level;
  builder.max_aux_streams = max_aux_streams;
  STATOR_TRY(Plan plan, build(regions, backend, builder, nullptr));
  return Engine::from_plan(std::move(plan));
}

}  // namespace stator::cpu::test
