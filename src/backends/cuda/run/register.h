// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend/executor.h"

namespace stator {

/// Runs engines on an NVIDIA GPU. Always there; without a driver, loading an engine says so.
ExecutorBackend& cuda_executor();

}  // namespace stator
