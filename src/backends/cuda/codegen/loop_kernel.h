// SPDX-License-Identifier: Apache-2.0
//
// A LoopProgram as one CUDA kernel. Three ways to lay it over threads:
//   points   no reduction: a thread computes a vector of neighbouring points;
//   rows     a group of threads folds one outer point's row, which stays in registers between the
//            passes where its length is known and not too great;
//   columns  neighbouring threads take neighbouring outer points and fold alone (reductions over
//            leading axes, pooling).
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/shared/payload.h"
#include "region/region.h"

namespace stator::cuda {

struct GeneratedKernel {
  std::string source;  // one function, after kPrelude
  KernelPayload payload;
  Expr grid;
  std::vector<Expr> map_sizes;  // kMapSizes for each of the payload's tensor maps
};

struct LoopRequest {
  const LoopProgram* program = nullptr;
  const Bounds* bounds = nullptr;     // of the size symbols
  std::vector<std::string> symbols;   // the kernel's sizes in order
  std::vector<DType> buffer_types;    // of every buffer
  std::vector<Expr> buffer_elements;  // how many each holds
  std::vector<bool> written;
  std::string name;
};

GeneratedKernel generate_loop(const LoopRequest& request);

}  // namespace stator::cuda
