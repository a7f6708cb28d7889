// SPDX-License-Identifier: Apache-2.0
//
// models/<name>.json → Graph. Names of fields are those of torch/_export/serde/schema.py.
#pragma once

#include <nlohmann/json.hpp>

#include "pt2/weights.h"
#include "stator/graph.h"

namespace stator {

/// Throws nlohmann::json::exception where a field is missing or of another type; read_pt2 makes an
/// error of it.
Result<Graph> read_model(const nlohmann::json& model, const Pt2Weights& weights);

}  // namespace stator
