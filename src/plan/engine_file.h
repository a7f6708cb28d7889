// SPDX-License-Identifier: Apache-2.0
//
// The engine file, little-endian:
//
//   0   8 bytes   "STATOR\0\1"
//   8   8 bytes   length of the JSON header
//   16  8 bytes   XXH64 of the JSON header
//   24            the JSON header: the plan, and a table of blobs (offset, size, XXH64)
//   …             blobs (weights, code images), each 64-byte aligned; equal ones are stored once
//
// Mapped, not read: loading touches the header and the code, whose digests are verified, and no
// weight. Everything is validated before use (plan/validate.h). Written to a temporary name in the
// same folder and renamed. The bytes depend on the plan alone.
#pragma once

#include <string>

#include "plan/plan.h"

namespace stator {

inline constexpr int kEngineFormatVersion = 3;

/// kIo when the path cannot be written; then nothing is left behind.
Status write_engine_file(const Plan& plan, const std::string& path);
/// The same bytes in memory.
Result<std::string> engine_bytes(const Plan& plan);
/// Maps the file; the plan's weights point into it and keep it mapped. kIo, kInvalidFile (another
/// kind, truncated, damaged), kIncompatible (a newer format).
Result<Plan> read_engine_file(const std::string& path);
/// The same from memory; bytes that are not 64-byte aligned are copied once. `name` is for
/// messages.
Result<Plan> read_engine_bytes(TensorData bytes, const std::string& name);
/// Reads the whole file and compares every blob, weights too, with its digest.
Status check_engine_file(const std::string& path);

/// Every index, slot, offset, length and enum of a plan that came from outside; after it nothing
/// needs checking again.
Status validate_plan(const Plan& plan);

}  // namespace stator
