// SPDX-License-Identifier: Apache-2.0
//
// Timing cache: which tactic won, by device key and region signature (with the sizes it was timed
// at). A JSON file, validated when read, written to a temporary name and renamed; concurrent
// writers merge. A damaged or foreign file is ignored with a warning. With a given cache a build is
// deterministic.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "stator/result.h"

namespace stator {

class TimingCache {
 public:
  struct Entry {
    std::string tactic;
    double us = 0;
  };
  /// A missing file is an empty cache. A damaged one too, with `warning` set.
  static TimingCache load(const std::string& path, std::string* warning);
  Status save(const std::string& path) const;  // merges with what is there
  std::optional<Entry> find(const std::string& device_key, const std::string& region_key) const;
  void put(const std::string& device_key, const std::string& region_key, const std::string& tactic,
           double us);
  bool changed() const { return changed_; }

 private:
  std::map<std::string, std::map<std::string, Entry>> entries_;
  bool changed_ = false;
};

}  // namespace stator
