// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend/compiler.h"

namespace stator {

/// Generates machine code for this very machine through LLVM.
CompilerBackend& cpu_backend();

}  // namespace stator
