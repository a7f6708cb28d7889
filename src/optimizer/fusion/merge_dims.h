// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "region/loop_program.h"

namespace stator {

/// Merges neighbouring dims wherever all index maps permit.
void merge_dims(LoopProgram& program);

}  // namespace stator
