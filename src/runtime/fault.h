// SPDX-License-Identifier: Apache-2.0
//
// What a run found wrong with its data, as eager PyTorch says it.
#pragma once

#include "backend/executor.h"

namespace stator {

/// kOutOfRange or kInvalidData. The first line is PyTorch's; then come the nodes of the step and
/// where they stand in the user's model.
Error fault_error(const Plan& plan, const FaultRecord& fault);

}  // namespace stator
