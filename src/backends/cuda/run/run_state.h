// SPDX-License-Identifier: Apache-2.0
//
// What a context keeps for one shape on the GPU: every step prepared, and the whole sequence as
// CUDA graphs, one for each set of addresses that came twice.
#pragma once

#include <memory>
#include <vector>

#include "backends/cuda/run/step_runner.h"

namespace stator::cuda {

class CudaRunState : public RunState {
 public:
  ~CudaRunState() override;
  int64_t new_addresses() const override { return unseen; }
  /// Addresses that the steps use, in order; compared with those of the graphs.
  std::vector<void*> addresses;
  std::vector<std::unique_ptr<StepRunner>> runners;  // by step; empty: not prepared
  CUstream own_stream = nullptr;
  std::vector<CUstream> lanes;  // for steps of lanes 1, 2, …
  CUevent forked = nullptr;     // the main stream has reached a group
  std::vector<CUevent> joined;  // by lane: it has passed the group's end

  struct Graph {
    std::vector<void*> addresses;
    CUgraphExec exec = nullptr;
    bool seen = false;  // the steps ran once with these addresses
    int64_t last_use = 0;
  };
  std::vector<Graph> graphs;
  int64_t uses = 0;
  int64_t unseen = 0;  // runs at addresses that no graph is remembered for

  /// Streams and events for lanes up to `lane`.
  Status make_lanes(int32_t lane);
  /// The graph of the present addresses; a new one takes the place of the least used.
  Graph& find_graph();
};

}  // namespace stator::cuda
