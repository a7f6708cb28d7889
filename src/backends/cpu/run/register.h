// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend/executor.h"

namespace stator {

/// Runs generated machine code on the threads of this process.
ExecutorBackend& cpu_executor();

}  // namespace stator
