// SPDX-License-Identifier: Apache-2.0
//
// CUDA C++ → cubin, through NVRTC. Needs no GPU.
#pragma once

#include <string>

#include "stator/result.h"

namespace stator::cuda {

/// `architecture`: "sm_90". kUnsupported without NVRTC; kInternal with its log when our source does
/// not compile.
Result<std::string> compile_cubin(const std::string& source, const std::string& name,
                                  const std::string& architecture);
/// "13.0"; part of what a cubin depends on.
Result<std::string> nvrtc_version();

}  // namespace stator::cuda
