// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "backend/compiler.h"
#include "stator/network.h"
#include "stator/runtime.h"

namespace stator::cpu::test {

/// From a network to an engine that is ready to run; `optimized` runs the network passes.
/// `max_aux_streams`: as in BuilderOptions.
Result<std::shared_ptr<const Engine>> engine_of(Network network, CompilerBackend& backend,
                                                bool optimized, int level,
                                                int max_aux_streams = -1);

}  // namespace stator::cpu::test
