// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/compiled_units.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <mutex>
#include <optional>
#include <thread>

#include "backends/cuda/shared/nvrtc.h"

namespace stator::cuda {
namespace {

constexpr size_t kRememberedBytes = size_t{128} << 20;  // sources and machine code

/// Machine code by architecture and source; the oldest goes first.
class CubinMemory {
 public:
  std::optional<std::string> find(const std::string& key) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = cubins_.find(key);
    return found == cubins_.end() ? std::nullopt : std::optional(found->second);
  }

  void put(const std::string& key, const std::string& cubin) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto [place, is_new] = cubins_.emplace(key, cubin);
    if (!is_new) return;
    ages_.push_back(place);
    bytes_ += key.size() + cubin.size();
    while (bytes_ > kRememberedBytes) {
      const Cubins::iterator oldest = ages_.front();
      ages_.pop_front();
      bytes_ -= oldest->first.size() + oldest->second.size();
      cubins_.erase(oldest);
    }
  }

 private:
  using Cubins = std::map<std::string, std::string>;

  std::mutex mutex_;
  Cubins cubins_;
  std::deque<Cubins::iterator> ages_;
  size_t bytes_ = 0;
};

CubinMemory& memory() {
  static auto& memory = *new CubinMemory();
  return memory;
}

}  // namespace

int UnitList::add(std::string source) {
  const auto [place, is_new] = numbers_.emplace(source, static_cast<int>(sources_.size()));
  if (is_new) sources_.push_back(std::move(source));
  return place->second;
}

Result<std::vector<std::string>> compile_units(const std::vector<std::string>& units,
                                               const std::string& architecture) {
  std::vector<Result<std::string>> results(units.size(), std::string());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < units.size(); i = next++) {
      const std::string name = "unit_" + std::to_string(i);
      if (const char* folder = std::getenv("STATOR_CUDA_SOURCES")) {  // to look at them
        std::ofstream(std::string(folder) + "/" + name + ".cu") << units[i];
      }
      const std::string key = architecture + "\n" + units[i];
      if (std::optional<std::string> known = memory().find(key)) {
        results[i] = *std::move(known);
        continue;
      }
      results[i] = compile_cubin(units[i], name, architecture);
      if (results[i].ok()) memory().put(key, *results[i]);
    }
  };
  std::vector<std::thread> threads;
  const size_t count = std::min<size_t>(units.size(), std::thread::hardware_concurrency());
  for (size_t i = 0; i < count; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  std::vector<std::string> cubins;
  for (Result<std::string>& result : results) {
    STATOR_TRY(std::string cubin, std::move(result));
    cubins.push_back(std::move(cubin));
  }
  return cubins;
}

}  // namespace stator::cuda
