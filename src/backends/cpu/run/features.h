// SPDX-License-Identifier: Apache-2.0
//
// Instruction sets of the machine at hand, by LLVM's names ("avx2", "avx512f", "fma").
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace stator {

/// The given features that this machine lacks; a name that is not known here counts as lacking.
std::vector<std::string> missing_cpu_features(const std::vector<std::string>& needed);

}  // namespace stator
