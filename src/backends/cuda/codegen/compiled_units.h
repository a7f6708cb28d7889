// SPDX-License-Identifier: Apache-2.0
//
// Translation units compiled on all cores, and remembered: a candidate that won is not compiled
// again for the engine.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "stator/result.h"

namespace stator::cuda {

/// Equal units once, in the order of their first appearance.
class UnitList {
 public:
  /// The unit's number.
  int add(std::string source);
  const std::vector<std::string>& sources() const { return sources_; }

 private:
  std::vector<std::string> sources_;
  std::map<std::string, int> numbers_;
};

/// Machine code of each unit for an architecture ("sm_90a"). STATOR_CUDA_SOURCES, a folder, gets
/// the units' text.
Result<std::vector<std::string>> compile_units(const std::vector<std::string>& units,
                                               const std::string& architecture);

}  // namespace stator::cuda
