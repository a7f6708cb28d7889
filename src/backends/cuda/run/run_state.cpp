// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/run/run_state.h"

#include <algorithm>

namespace stator::cuda {

constexpr size_t kRememberedAddresses = 8;

CudaRunState::~CudaRunState() {
  auto d = driver();
  if (!d.ok()) {
    return;
  }
  for (const Graph& graph : graphs) {
    if (graph.exec != nullptr) (*d)->cuGraphExecDestroy(graph.exec);
  }
  runners.clear();
  if (own_stream != nullptr) (*d)->cuStreamDestroy_v2(own_stream);
  for (CUstream lane : lanes) (*d)->cuStreamDestroy_v2(lane);
  for (CUevent event : joined) (*d)->cuEventDestroy_v2(event);
  if (forked != nullptr) (*d)->cuEventDestroy_v2(forked);
}

Status CudaRunState::make_lanes(int32_t lane) {
  const Driver& d = **driver();
  if (forked == nullptr) {
    STATOR_RETURN_IF_ERROR(check_cuda(d.cuEventCreate(&forked, kEventDisableTiming), "an event"));
  }
  while (static_cast<int32_t>(lanes.size()) < lane) {
    CUstream stream = nullptr;
    STATOR_RETURN_IF_ERROR(check_cuda(d.cuStreamCreate(&stream, kStreamNonBlocking), "a stream"));
    lanes.push_back(stream);
    CUevent event = nullptr;
    STATOR_RETURN_IF_ERROR(check_cuda(d.cuEventCreate(&event, kEventDisableTiming), "an event"));
    joined.push_back(event);
  }
  return {};
}

CudaRunState::Graph& CudaRunState::find_graph() {
  ++uses;
  for (Graph& graph : graphs) {
    if (graph.addresses == addresses) {
      graph.last_use = uses;
      return graph;
    }
  }
  if (graphs.size() == kRememberedAddresses) {
    const auto oldest =
        std::min_element(graphs.begin(), graphs.end(),
                         [](const Graph& a, const Graph& b) { return a.last_use < b.last_use; });
    if (oldest->exec != nullptr) (*driver())->cuGraphExecDestroy(oldest->exec);
    graphs.erase(oldest);
  }
  graphs.push_back({addresses, nullptr, false, uses});
  return graphs.back();
}

}  // namespace stator::cuda
