// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "backend/compiler.h"
#include "stator/network.h"
#include "stator/runtime.h"

namespace stator::cpu::test {

/// From a network to an engine that is ready to run; `optimized` runs the network passes.
Result<std::shared_ptr<const Engine>> engine_of(Network network, CompilerBackend& backend,
                                                bool optimized, int level);

}  // namespace stator::cpu::test
