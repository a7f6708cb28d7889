// SPDX-License-Identifier: Apache-2.0
//
// The engine file, little-endian:
//
//   0   8 bytes   "STATOR\0\1"
//   8   8 bytes   length of the JSON header
//   16  8 bytes   XXH64 of the JSON header
//   24            the JSON header: the plan, and a table of blobs (offset, size, digest)
//   …             blobs (weights, code images), each 64-byte aligned; equal ones are stored once
//
// A blob's digest is XXH64, or of more than 1 MiB XXH64 of the XXH64 of its pieces of 1 MiB, so
// that threads share the work; weights and code name the digest of theirs once more beside its
// number. Mapped, not read: with verify_weights off loading touches the header and the code alone.
// Everything is validated before use (plan/validate.h). Written to a temporary name in the same
// folder and renamed. The bytes depend on the plan and the key alone.
#pragma once

#include <string>

#include "plan/plan.h"

namespace stator {

inline constexpr int kEngineFormatVersion = 3;

/// kIo when the path cannot be written; then nothing is left behind. `key`: Plan::key of what is
/// read from it.
Status write_engine_file(const Plan& plan, const std::string& path, const std::string& key = "");
/// The same bytes in memory.
Result<std::string> engine_bytes(const Plan& plan, const std::string& key = "");
/// Maps the file; the plan's weights point into it and keep it mapped. kIo, kInvalidFile (another
/// kind, truncated, damaged), kIncompatible (a newer format). `verify_weights`: compare weights
/// with their digests too, which reads the whole file; code always is.
Result<Plan> read_engine_file(const std::string& path, bool verify_weights = true);
/// The same from memory; bytes that are not 64-byte aligned are copied once. `name` is for
/// messages.
Result<Plan> read_engine_bytes(TensorData bytes, const std::string& name,
                               bool verify_weights = true);

/// Proves what a plan from outside says, as far as no size of a call matters; the runtime proves
/// the rest at each new shape. What holds after it stands in plan/validate.cpp.
Status validate_plan(const Plan& plan);

}  // namespace stator
