// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend/compiler.h"

namespace stator {

/// Generates CUDA C++ for loops and attention, and chooses among NVIDIA's libraries for the rest.
CompilerBackend& cuda_backend();

}  // namespace stator
