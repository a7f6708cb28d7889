// SPDX-License-Identifier: Apache-2.0
//
// Runs one contraction kernel on its own: emitted with a fixed epilogue (a bias for each column is
// added), compiled in the process for a given vector width, run over given buffers.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/codegen/gemm_family.h"

namespace stator::cpu::test {

/// The widths that this machine can run: AVX-512, AVX2, and the portable one.
std::vector<VectorUnit> runnable_units();

/// A vector whose elements lie between guards, so that reads and writes past its ends are seen: as
/// NaN in a result, or by intact().
class Guarded {
 public:
  explicit Guarded(int64_t count, float value = 0);
  float* data() { return memory_.data() + kGuard; }
  const float* data() const { return memory_.data() + kGuard; }
  int64_t size() const { return static_cast<int64_t>(memory_.size()) - 2 * kGuard; }
  float& operator[](int64_t i) { return data()[i]; }
  float operator[](int64_t i) const { return data()[i]; }
  bool intact() const;
  void fill_random(std::mt19937& random);

 private:
  static constexpr int64_t kGuard = 64;
  std::vector<float> memory_;
};

/// Buffers 0, 1, 2: the contraction's; kBias, kResult: the epilogue's.
inline constexpr int kBias = 4, kResult = 5;

using SymbolValues = std::map<std::string, int64_t>;

/// Compiles `prepared` and runs all of its tasks, in two calls. `result_extents` are those of the
/// epilogue's dims (none for attention).
void run_kernel(const PreparedContraction& prepared, const VectorUnit& unit,
                const SymbolValues& symbols, const std::vector<Expr>& result_extents,
                std::vector<void*> buffers);

/// The packed form of buffer `input` under the kernel's recipes, or null.
TensorData packed_input(const PreparedContraction& prepared, int32_t input, const Guarded& source);

/// |got - want| <= tolerance * (1 + |want|) everywhere; says where not.
std::string difference(const Guarded& got, const std::vector<float>& want, double tolerance);

}  // namespace stator::cpu::test
