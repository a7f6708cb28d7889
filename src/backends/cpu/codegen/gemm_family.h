// SPDX-License-Identifier: Apache-2.0
//
// All contraction regions behind one door: products of matrices, convolutions (dense, depthwise,
// and those that are products over pixels) and attention. From a region and a tactic's text comes
// one prepared kernel: what it needs to run, the epilogue that its points belong to, and its code.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/compiler.h"
#include "backends/cpu/codegen/gemm_host.h"
#include "base/support.h"
#include "region/region.h"

namespace stator::cpu {

/// A contraction kernel before it is emitted.
class PreparedContraction {
 public:
  virtual ~PreparedContraction() = default;
  /// Over the dims that EpiloguePoint::index counts; it may be the region's in another form (pixels
  /// as one dim). Null where there is none (attention).
  virtual const LoopProgram* epilogue() const = 0;
  /// Tasks, scratch, packed inputs; `sizes` is empty: the host says how it reads them.
  virtual KernelLaunch launch() const = 0;
  /// Emits the task loop at the host's builder.
  virtual void emit(KernelHost& host) const = 0;
};

/// Whether the region is a contraction of a kind that these kernels know.
Support contraction_supports(const Region& region);

/// Best guess first. `level` is BuildOptions::optimization_level.
std::vector<Tactic> contraction_tactics(const Region& region, const Bounds& bounds,
                                        const VectorUnit& unit, int threads, int level);

/// Null when the text is no tactic for this region.
std::unique_ptr<PreparedContraction> prepare_contraction(const Region& region,
                                                         std::string_view tactic);

/// The bytes of a packed input, by the text of its recipe.
Result<TensorData> pack_contraction_input(const std::string& recipe, const TensorData& source);

}  // namespace stator::cpu
