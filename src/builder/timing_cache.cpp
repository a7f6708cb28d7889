// SPDX-License-Identifier: Apache-2.0
#include "builder/timing_cache.h"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/mapped_file.h"

namespace stator {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "stator timing cache 1";

}  // namespace

TimingCache TimingCache::load(const std::string& path, std::string* warning) {
  TimingCache cache;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    return cache;
  }
  const auto damaged = [&](const std::string& why) {
    if (warning != nullptr) {
      *warning = "the timing cache " + path + " is ignored: " + why;
    }
    return TimingCache();
  };
  Result<MappedFile> file = MappedFile::open(path);
  if (!file.ok()) {
    return damaged(file.error().message);
  }
  const Result<json> parsed = parse_json(
      {reinterpret_cast<const char*>(file->data()), static_cast<size_t>(file->size_bytes())});
  if (!parsed.ok()) return damaged("it " + parsed.error().message);
  const json& root = parsed.value();
  // Compared as JSON: a format that is no string is another kind, and no exception.
  if (!root.is_object() || !root.contains("format") || root["format"] != kFormat ||
      !root.contains("devices") || !root["devices"].is_object()) {
    return damaged("it is damaged or of another kind");
  }
  try {
    for (const auto& [device, regions] : root["devices"].items()) {
      for (const auto& [region, entry] : regions.items()) {
        const Entry read{entry.at("tactic").get<std::string>(), entry.at("us").get<double>()};
        if (!std::isfinite(read.us) || read.us < 0) return damaged("an entry is damaged");
        cache.entries_[device][region] = read;
      }
    }
  } catch (const json::exception&) {
    return damaged("an entry is damaged");
  }
  return cache;
}

Status TimingCache::save(const std::string& path) const {
  // What others have written in the meantime stays; ours wins for the same region.
  TimingCache merged = load(path, nullptr);
  for (const auto& [device, regions] : entries_) {
    for (const auto& [region, entry] : regions) {
      merged.entries_[device][region] = entry;
    }
  }
  json root = {{"format", kFormat}, {"devices", json::object()}};
  for (const auto& [device, regions] : merged.entries_) {
    for (const auto& [region, entry] : regions) {
      root["devices"][device][region] = {{"tactic", entry.tactic}, {"us", entry.us}};
    }
  }
  std::error_code ignored;
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) {
    std::filesystem::create_directories(folder, ignored);
  }
  const std::string text = root.dump(1) + "\n";
  STATOR_TRY(AtomicFile file, AtomicFile::create(path));
  STATOR_RETURN_IF_ERROR(file.write(text.data(), static_cast<int64_t>(text.size())));
  return file.commit();
}

std::optional<TimingCache::Entry> TimingCache::find(const std::string& device_key,
                                                    const std::string& region_key) const {
  const auto device = entries_.find(device_key);
  if (device == entries_.end()) {
    return std::nullopt;
  }
  const auto region = device->second.find(region_key);
  if (region == device->second.end()) {
    return std::nullopt;
  }
  return region->second;
}

void TimingCache::put(const std::string& device_key, const std::string& region_key,
                      const std::string& tactic, double us) {
  entries_[device_key][region_key] = {tactic, us};
  changed_ = true;
}

}  // namespace stator
