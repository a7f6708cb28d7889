// SPDX-License-Identifier: Apache-2.0
//
// Which tensors are written to memory. All others are computed where they are read: pointwise
// layers and views are folded into the loops and epilogues of their readers.
#pragma once

#include <optional>
#include <vector>

#include "backend/traits.h"
#include "optimizer/fusion/views.h"

namespace stator {

/// The exponent of a power that is a few products and roots; nullopt for every other layer.
std::optional<float> simple_exponent(const Network& network, const NetworkLayer& layer);

constexpr size_t kMostJoined = 4;  // parts of a concat that a loop reads under guards

/// A concat of many parts as chunks of one size, which a loop copies side by side, without guards:
/// a part is some of them, the last two of which may overlap. The size along the axis; nullopt for
/// every other layer.
std::optional<int64_t> chunk_of_parts(const std::vector<int64_t>& sizes);
std::optional<int64_t> join_chunk(const Network& network, const NetworkLayer& layer);

/// How a layer runs.
enum class LayerRole : uint8_t {
  kView,         // renames elements
  kPointwise,    // one element from one element of each operand
  kGather,       // pointwise in its indices; what the table is made of lies in memory
  kJoin,         // concat, constant padding, a slice set: guarded loads
  kReduction,    // reduce, softmax, normalization, pooling, a concat of many parts: its own loop
  kContraction,  // matrix product, convolution
  kAttention,
  kWhole,  // scan, sort, top-k, scatter: no loop, and a region of its own
  kCall,
};

/// By the layer alone: a convolution or pooling that is not channels last yet is a call.
LayerRole layer_role(const Network& network, const NetworkLayer& layer,
                     const BackendTraits& traits);

class FusionPlan {
 public:
  FusionPlan(const Network& network, const BackendTraits& traits);

  const BackendTraits& traits() const { return traits_; }
  LayerRole role(size_t layer) const { return roles_[layer]; }
  /// The tensor has a buffer.
  bool in_memory(TensorId id) const { return in_memory_[static_cast<size_t>(id)]; }
  /// Layers that read the tensor, network outputs counted as one more each.
  int uses(TensorId id) const {
    return static_cast<int>(readers_[static_cast<size_t>(id)].size()) +
           outputs_[static_cast<size_t>(id)];
  }
  const std::vector<size_t>& readers(TensorId id) const {
    return readers_[static_cast<size_t>(id)];
  }
  bool is_output(TensorId id) const { return outputs_[static_cast<size_t>(id)] > 0; }
  /// `to` gets the buffer instead of `from`.
  void move_to_memory(TensorId from, TensorId to) {
    in_memory_[static_cast<size_t>(from)] = 0;
    in_memory_[static_cast<size_t>(to)] = 1;
  }
  /// For the result of a contraction or a reduction: the tensor that its epilogue makes (itself
  /// when there is none).
  TensorId epilogue_end(TensorId id) const { return ends_[static_cast<size_t>(id)]; }
  /// Take the result's epilogue away: it has a buffer, and what follows is computed from that.
  void remove_epilogue(TensorId id) {
    ends_[static_cast<size_t>(id)] = id;
    in_memory_[static_cast<size_t>(id)] = 1;
  }

 private:
  static constexpr int kCostLimit = 1000;

  void count_uses();
  /// Finds where the readers of shared pointwise values meet again.
  void find_meetings();
  void demand_operands();
  void demand_whole(const NetworkLayer& layer);
  void demand_shared();
  void grow_epilogues();
  bool is_trivial(TensorId id) const;
  /// Operations to compute it where it is read; counted up to `limit` and a little.
  int cost(TensorId id, int limit = kCostLimit) const;
  void demand_view_base(TensorId id);
  void demand_table(TensorId id);

  const Network& network_;
  const BackendTraits& traits_;
  std::vector<LayerRole> roles_;
  std::vector<char> in_memory_;
  std::vector<int> outputs_;
  std::vector<std::vector<size_t>> readers_;
  std::vector<TensorId> ends_;
  /// By tensor: the one tensor in whose loop all its readers are computed; itself where there is
  /// none, so that a shared value needs memory.
  std::vector<TensorId> meetings_;
};

}  // namespace stator
