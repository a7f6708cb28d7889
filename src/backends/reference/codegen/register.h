// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend/compiler.h"

namespace stator {

/// One layer a region, each a call: nothing is compiled.
CompilerBackend& reference_backend();

}  // namespace stator
