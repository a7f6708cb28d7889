// SPDX-License-Identifier: Apache-2.0
//
// Optimizer: network → regions. A table of network passes (simplify, layout), then fusion.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "backend/traits.h"
#include "region/region.h"
#include "stator/network.h"

namespace stator {

/// Computes one layer on constant inputs; handed in by the compiler (the reference backend's
/// kernels).
using LayerEvaluator =
    std::function<Result<std::vector<TensorData>>(const NetworkLayer&, const Network&)>;

/// Microseconds of each output of a network of static shapes whose outputs share no layers, on the
/// device that is built for.
using OutputTimer = std::function<Result<std::vector<double>>(Network)>;

struct OptimizerOptions {
  BackendTraits traits;
  LayerEvaluator evaluate_layer;       // may be empty: no constant folding
  std::optional<DType> low_precision;  // products of float32 may run in it …
  OutputTimer time_outputs;            // … where they are faster; empty: wherever traits say so
  std::map<std::string, int64_t> timing_sizes;  // of symbols
  std::function<void(const std::string& pass, const Network&)> after_pass;
};

struct NetworkPass {
  const char* name;
  int (*run)(Network&, const OptimizerOptions&);
  const char* why;
};
const std::vector<NetworkPass>& network_passes();

Status optimize(Network& network, const OptimizerOptions& options);  // the table
Result<RegionGraph> fuse(const Network& network,
                         const OptimizerOptions& options);  // layers → regions

/// A layer that no region of the backend stands for: the reference backend's code would compute it.
struct MissingKernel {
  Provenance provenance;
  std::string layer;  // "top_k"
};
/// Those of a network, in order. Costs a look at each layer where there is none.
Result<std::vector<MissingKernel>> missing_kernels(Network network, OptimizerOptions options);

}  // namespace stator
