// SPDX-License-Identifier: Apache-2.0
//
// Regions that no code is generated for: the runtime's own library has their kernels.
#pragma once

#include <optional>

#include "backend/compiler.h"
#include "backends/cpu/shared/library_kernel.h"

namespace stator::cpu {

/// Scans, orders and scatters; nullopt for every other region.
std::optional<LibraryKernel> library_kernel(const Region& region);
/// The launch of a region that has one.
KernelLaunch library_launch(const Region& region);

}  // namespace stator::cpu
