// SPDX-License-Identifier: Apache-2.0
//
// The engine file: an 8-byte magic "STATOR\0\1", an 8-byte little-endian header length, a JSON
// header, then 64-byte aligned blobs (weights, code images). Mapped, not read; everything is
// validated before use (plan/validate.h); written to a temporary name in the same folder and
// renamed. The bytes depend on the plan alone.
#pragma once

#include <string>

#include "plan/plan.h"

namespace stator {

inline constexpr int kEngineFormatVersion = 1;

Status write_engine_file(const Plan& plan, const std::string& path);
Result<std::string> engine_bytes(const Plan& plan);      // the same bytes in memory
Result<Plan> read_engine_file(const std::string& path);  // maps the file
Result<Plan> read_engine_bytes(TensorData bytes, const std::string& name);

/// Every index, slot, offset, length and enum of a plan that came from outside; after it nothing
/// needs checking again.
Status validate_plan(const Plan& plan);

}  // namespace stator
