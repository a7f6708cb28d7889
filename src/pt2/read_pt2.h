// SPDX-License-Identifier: Apache-2.0
//
// Reads what torch.export.save writes (torch 2.11 to 2.13): a stored (uncompressed) zip with
// models/*.json, raw weights and constants. Every offset and size is checked before use; nothing is
// unpickled. Weights are mapped, not copied.
#pragma once

#include <string>

#include "stator/graph.h"

namespace stator {

/// kIo: cannot be opened; kInvalidFile: truncated, corrupted, compressed or pickled weights;
/// kIncompatible: a newer schema. The message names the file, the entry and what to do.
Result<Graph> read_pt2(const std::string& path);

}  // namespace stator
