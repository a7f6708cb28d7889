// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend/executor.h"

namespace stator {

/// Runs layers as they are: an interpreter in plain C++, slow and evidently right.
ExecutorBackend& reference_executor();

}  // namespace stator
