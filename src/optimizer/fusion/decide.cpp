// SPDX-License-Identifier: Apache-2.0
#include "optimizer/fusion/decide.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "base/float_element.h"

namespace stator {
namespace {

constexpr int kMostOps = 40;         // of an expression that is computed where it is read
constexpr int kMostShared = 600;     // of one loop whose values are shared within it
constexpr int64_t kMostChunks = 64;  // of a concat that a loop copies side by side
constexpr int64_t kMostRank = 8;

/// Whether the backend takes it as a product of integers.
bool multiplies_bytes(const Network& network, const NetworkLayer& layer,
                      const BackendTraits& traits) {
  const NetworkTensor& b = network.tensor(layer.inputs[1]);
  if (traits.byte_product == nullptr || b.type.dtype != DType::kInt8 ||
      b.role != TensorRole::kConstant || b.type.rank() != 2) {
    return false;
  }
  const bool transposed = std::get<MatrixMultiply>(layer.attributes).transpose_b;
  const int64_t n = b.type.shape[transposed ? 0 : 1].constant();
  const int64_t k = b.type.shape[transposed ? 1 : 0].constant();
  return traits.byte_product(network.type(layer.inputs[0]).dtype, n, k);
}

}  // namespace

std::optional<float> simple_exponent(const Network& network, const NetworkLayer& layer) {
  const auto* elementwise = std::get_if<Elementwise>(&layer.attributes);
  if (elementwise == nullptr || elementwise->op != ElementwiseOp::kPow) {
    return std::nullopt;
  }
  const NetworkTensor& exponent = network.tensor(layer.inputs[1]);
  if (exponent.role != TensorRole::kConstant || exponent.type.dtype != DType::kFloat32 ||
      exponent.data.size_bytes != 4) {
    return std::nullopt;
  }
  const float e = *exponent.data.as<float>();
  const bool simple = e == 2 || e == 3 || e == 0.5f || e == 1 || e == -1 || e == -0.5f;
  return simple ? std::optional(e) : std::nullopt;
}

/// The one that the fewest elements are written twice for; nullopt where too many would be.
std::optional<int64_t> chunk_of_parts(const std::vector<int64_t>& sizes) {
  const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  int64_t least = total;
  for (const int64_t size : sizes) {
    least = size > 0 ? std::min(least, size) : least;
  }
  std::optional<int64_t> best;
  int64_t most = total * 3 / 2;  // elements that all chunks write
  for (int64_t chunk = least; chunk > 0 && chunk * kMostChunks >= total; --chunk) {
    int64_t chunks = 0;
    for (const int64_t size : sizes) {
      chunks += (size + chunk - 1) / chunk;
    }
    if (chunks <= kMostChunks && (best ? chunks * chunk < most : chunks * chunk <= most)) {
      best = chunk;
      most = chunks * chunk;
    }
  }
  return best;
}

std::optional<int64_t> join_chunk(const Network& network, const NetworkLayer& layer) {
  const auto* concat = std::get_if<Concat>(&layer.attributes);
  if (concat == nullptr || layer.inputs.size() <= kMostJoined) {
    return std::nullopt;
  }
  std::vector<int64_t> sizes;
  for (const TensorId id : layer.inputs) {
    const Expr& size = network.type(id).shape[static_cast<size_t>(concat->axis)];
    if (!size.is_constant()) {
      return std::nullopt;
    }
    sizes.push_back(size.constant());
  }
  return chunk_of_parts(sizes);
}

LayerRole layer_role(const Network& network, const NetworkLayer& layer,
                     const BackendTraits& traits) {
  for (const std::vector<TensorId>* list : {&layer.inputs, &layer.outputs}) {
    for (const TensorId id : *list) {
      const DType dtype = network.type(id).dtype;
      const bool known =
          traits.loop_dtype != nullptr ? traits.loop_dtype(dtype) : is_plain_number(dtype);
      if (!known || network.type(id).rank() > kMostRank) {
        return LayerRole::kCall;
      }
    }
  }
  const auto& a = layer.attributes;
  const DType dtype = layer.inputs.empty() ? DType::kFloat32 : network.type(layer.inputs[0]).dtype;
  if (is_view(a)) {
    return LayerRole::kView;
  }
  if (const auto* unary = std::get_if<Unary>(&a)) {
    return traits.loop_unary == nullptr || traits.loop_unary(unary->op, dtype)
               ? LayerRole::kPointwise
               : LayerRole::kCall;
  }
  if (const auto* elementwise = std::get_if<Elementwise>(&a)) {
    const bool simple_power = simple_exponent(network, layer).has_value();
    return traits.loop_elementwise == nullptr || traits.loop_elementwise(elementwise->op, dtype) ||
                   simple_power
               ? LayerRole::kPointwise
               : LayerRole::kCall;
  }
  if (std::holds_alternative<Cast>(a) || std::holds_alternative<Select>(a) ||
      std::holds_alternative<Fill>(a) || std::holds_alternative<Iota>(a) ||
      std::holds_alternative<SizeValue>(a) || std::holds_alternative<Check>(a)) {
    return LayerRole::kPointwise;
  }
  if (std::holds_alternative<Gather>(a) || std::holds_alternative<GatherElements>(a) ||
      std::holds_alternative<IndexTensors>(a)) {
    return LayerRole::kGather;
  }
  if (std::holds_alternative<Concat>(a)) {
    const bool few = layer.inputs.size() <= kMostJoined;
    return few                          ? LayerRole::kJoin
           : join_chunk(network, layer) ? LayerRole::kReduction
                                        : LayerRole::kCall;
  }
  if (std::holds_alternative<Pad>(a) || std::holds_alternative<SliceScatter>(a)) {
    return LayerRole::kJoin;
  }
  const bool real =
      traits.math_dtype != nullptr ? traits.math_dtype(dtype) : dtype == DType::kFloat32;
  if (const auto* reduce = std::get_if<Reduce>(&a)) {
    const bool computes = !is_half(dtype) || real;
    return reduce->axes.empty() || !computes ? LayerRole::kCall : LayerRole::kReduction;
  }
  if (std::holds_alternative<Softmax>(a) || std::holds_alternative<Normalization>(a)) {
    const bool wide = dtype == DType::kFloat64 &&
                      (traits.loop_unary == nullptr || traits.loop_unary(UnaryOp::kExp, dtype));
    return real || wide ? LayerRole::kReduction : LayerRole::kCall;
  }
  if (std::holds_alternative<Pooling>(a)) {
    return real || dtype == DType::kFloat64 ? LayerRole::kReduction : LayerRole::kCall;
  }
  if (const auto* adaptive = std::get_if<AdaptivePooling>(&a)) {
    // Of sizes that vary, the windows' own sizes would: PyTorch has them.
    const std::vector<Expr>& from = network.type(layer.inputs[0]).shape;
    const auto known = [](const Expr& size) { return size.is_constant(); };
    const bool fixed = std::all_of(from.begin() + 1, from.end(), known) &&
                       std::all_of(adaptive->output_size.begin(), adaptive->output_size.end(),
                                   [&](const Expr& s) { return known(s) && !s.is_constant(0); });
    return fixed && (real || dtype == DType::kFloat64) ? LayerRole::kReduction : LayerRole::kCall;
  }
  if (std::holds_alternative<MatrixMultiply>(a)) {
    return real || multiplies_bytes(network, layer, traits) || dtype == DType::kFloat64 ||
                   dtype == DType::kInt64
               ? LayerRole::kContraction
               : LayerRole::kCall;
  }
  if (const auto* conv = std::get_if<Convolution>(&a)) {
    return conv->channels_last && !conv->transposed &&
                   (real || traits.convolves_bytes(*conv, network.type(layer.inputs[0]),
                                                   network.type(layer.inputs[1]))) &&
                   network.tensor(layer.inputs[1]).role == TensorRole::kConstant
               ? LayerRole::kContraction
               : LayerRole::kCall;
  }
  if (std::holds_alternative<Attention>(a)) {
    const bool known = network.type(layer.inputs[0]).shape[3].is_constant() &&
                       network.type(layer.inputs[2]).shape[3].is_constant();
    return real && traits.attention && known ? LayerRole::kAttention : LayerRole::kCall;
  }
  const bool whole = traits.runs_whole != nullptr && traits.runs_whole(a, dtype);
  return whole ? LayerRole::kWhole : LayerRole::kCall;
}

FusionPlan::FusionPlan(const Network& network, const BackendTraits& traits)
    : network_(network),
      traits_(traits),
      in_memory_(network.tensors.size(), 0),
      outputs_(network.tensors.size(), 0),
      readers_(network.tensors.size()),
      ends_(network.tensors.size()) {
  for (size_t i = 0; i < ends_.size(); ++i) {
    ends_[i] = static_cast<TensorId>(i);
    in_memory_[i] = network.tensors[i].role != TensorRole::kIntermediate;
  }
  for (const NetworkLayer& layer : network.layers) {
    roles_.push_back(layer_role(network, layer, traits));
  }
  count_uses();
  demand_operands();
  find_meetings();
  demand_shared();
  grow_epilogues();
}

void FusionPlan::count_uses() {
  for (size_t i = 0; i < network_.layers.size(); ++i) {
    for (const TensorId id : network_.layers[i].inputs) {
      std::vector<size_t>& list = readers_[static_cast<size_t>(id)];
      if (list.empty() || list.back() != i) {
        list.push_back(i);
      }
    }
  }
  for (const TensorId id : network_.outputs) {
    ++outputs_[static_cast<size_t>(id)];
    in_memory_[static_cast<size_t>(id)] = 1;
  }
}

/// What a view looks into lies in memory.
void FusionPlan::demand_view_base(TensorId id) {
  while (network_.tensor(id).producer >= 0 && !in_memory(id)) {
    const auto producer = static_cast<size_t>(network_.tensor(id).producer);
    if (roles_[producer] != LayerRole::kView) {
      break;
    }
    id = network_.layers[producer].inputs[0];
  }
  in_memory_[static_cast<size_t>(id)] = 1;
}

/// What a gather reads lies in memory, before it is turned, cut or converted: that is done with
/// what is read.
void FusionPlan::demand_table(TensorId id) {
  while (network_.tensor(id).producer >= 0 && !in_memory(id)) {
    const auto producer = static_cast<size_t>(network_.tensor(id).producer);
    const NetworkLayer& layer = network_.layers[producer];
    const bool follows = std::holds_alternative<Transpose>(layer.attributes) ||
                         std::holds_alternative<Expand>(layer.attributes) ||
                         std::holds_alternative<Slice>(layer.attributes) ||
                         std::holds_alternative<Cast>(layer.attributes);
    if (!follows || roles_[producer] == LayerRole::kCall) {
      break;
    }
    id = layer.inputs[0];
  }
  in_memory_[static_cast<size_t>(id)] = 1;
}

void FusionPlan::demand_whole(const NetworkLayer& layer) {
  if (std::holds_alternative<ScatterElements>(layer.attributes)) {
    demand_view_base(layer.inputs[1]);
    demand_view_base(layer.inputs[2]);  // the first is computed where the result lies
  } else {
    in_memory_[static_cast<size_t>(layer.inputs[0])] = 1;
  }
  for (const TensorId id : layer.outputs) {
    in_memory_[static_cast<size_t>(id)] = 1;
  }
}

void FusionPlan::demand_operands() {
  for (size_t i = 0; i < network_.layers.size(); ++i) {
    const NetworkLayer& layer = network_.layers[i];
    switch (roles_[i]) {
      case LayerRole::kWhole:
        demand_whole(layer);
        break;
      case LayerRole::kCall:
        for (const TensorId id : layer.inputs) {
          in_memory_[static_cast<size_t>(id)] = 1;
        }
        [[fallthrough]];
      case LayerRole::kReduction:
        for (const TensorId id : layer.outputs) {
          in_memory_[static_cast<size_t>(id)] = 1;
        }
        break;
      case LayerRole::kGather:
        demand_table(layer.inputs[0]);
        break;
      case LayerRole::kContraction:
        // A bias is part of the epilogue; convolutions read their input as it lies.
        for (size_t k = 0; k < 2; ++k) {
          if (std::holds_alternative<Convolution>(layer.attributes)) {
            in_memory_[static_cast<size_t>(layer.inputs[k])] = 1;
          } else {
            demand_view_base(layer.inputs[k]);
          }
        }
        in_memory_[static_cast<size_t>(layer.outputs[0])] = 1;
        break;
      case LayerRole::kAttention:
        for (const TensorId id : layer.inputs) {
          demand_view_base(id);
        }
        in_memory_[static_cast<size_t>(layer.outputs[0])] = 1;
        break;
      default:
        break;
    }
  }
}

/// Costs nothing to compute again.
bool FusionPlan::is_trivial(TensorId id) const {
  const int32_t producer = network_.tensor(id).producer;
  if (producer < 0) {
    return true;
  }
  const NetworkLayer& layer = network_.layers[static_cast<size_t>(producer)];
  if (std::holds_alternative<Fill>(layer.attributes) ||
      std::holds_alternative<Iota>(layer.attributes) ||
      std::holds_alternative<SizeValue>(layer.attributes)) {
    return true;
  }
  return (roles_[static_cast<size_t>(producer)] == LayerRole::kView ||
          std::holds_alternative<Cast>(layer.attributes)) &&
         (in_memory(layer.inputs[0]) || is_trivial(layer.inputs[0]));
}

int FusionPlan::cost(TensorId id, int limit) const {
  if (in_memory(id) || limit < 0) {
    return 1;
  }
  const NetworkLayer& layer = network_.layers[static_cast<size_t>(network_.tensor(id).producer)];
  const bool free = is_view(layer.attributes) || std::holds_alternative<Cast>(layer.attributes);
  int total = free ? 0 : 2;
  for (const TensorId input : layer.inputs) {
    total += cost(input, limit - total);
  }
  return total;
}

/// A formula reads its parts several times: they stay in registers where all of it is one loop.
void FusionPlan::find_meetings() {
  meetings_.resize(network_.tensors.size());
  for (size_t i = 0; i < meetings_.size(); ++i) {
    meetings_[i] = static_cast<TensorId>(i);
  }
  std::vector<int> members(network_.tensors.size(), 0);  // by meeting
  for (size_t i = network_.layers.size(); i-- > 0;) {
    if (roles_[i] != LayerRole::kPointwise) {
      continue;
    }
    const TensorId out = network_.layers[i].outputs[0];
    const auto k = static_cast<size_t>(out);
    const auto meeting_of = [&](size_t reader) {
      const NetworkLayer& r = network_.layers[reader];
      const bool joins = roles_[reader] == LayerRole::kPointwise &&
                         network_.type(r.outputs[0]).shape == network_.type(out).shape;
      return joins ? meetings_[static_cast<size_t>(r.outputs[0])] : out;
    };
    const bool ends = in_memory(out) || readers_[k].empty();
    TensorId meeting = ends ? out : meeting_of(readers_[k].front());
    for (const size_t reader : readers_[k]) {
      meeting = meeting_of(reader) == meeting ? meeting : out;
    }
    int& count = members[static_cast<size_t>(meeting)];
    meetings_[k] = count < kMostShared ? meeting : out;
    ++count;
  }
}

/// Pointwise values with several readers, read by more points than they have, or too large to be
/// computed in place.
void FusionPlan::demand_shared() {
  for (size_t i = 0; i < network_.layers.size(); ++i) {
    const NetworkLayer& layer = network_.layers[i];
    const LayerRole role = roles_[i];
    if (role != LayerRole::kPointwise && role != LayerRole::kGather && role != LayerRole::kJoin &&
        role != LayerRole::kView) {
      continue;
    }
    const TensorId out = layer.outputs[0];
    if (in_memory(out) || is_trivial(out)) {
      continue;
    }
    if (role == LayerRole::kView || meetings_[static_cast<size_t>(out)] != out) {
      continue;
    }
    if (cost(out) > kMostOps) {
      in_memory_[static_cast<size_t>(out)] = 1;
      continue;
    }
    // Follow views to the real readers.
    int readers = 0;
    bool grows = false;
    const Expr points = product(network_.type(out).shape);
    const std::function<void(TensorId)> visit = [&](TensorId id) {
      readers += outputs_[static_cast<size_t>(id)];
      for (const size_t reader : readers_[static_cast<size_t>(id)]) {
        const NetworkLayer& r = network_.layers[reader];
        if (roles_[reader] == LayerRole::kView) {
          visit(r.outputs[0]);
          continue;
        }
        ++readers;
        Expr wanted = product(network_.type(r.outputs[0]).shape);
        if (roles_[reader] == LayerRole::kReduction) {
          wanted = product(network_.type(r.inputs[0]).shape);
          grows = grows || std::holds_alternative<Pooling>(r.attributes) ||
                  std::holds_alternative<AdaptivePooling>(r.attributes);
        }
        const bool joins =
            roles_[reader] == LayerRole::kJoin || std::holds_alternative<Concat>(r.attributes);
        grows = grows || (!joins && !network_.bounds.proves_less_equal(wanted, points) &&
                          !(wanted == points));
      }
    };
    visit(out);
    if (readers > 1 || (grows && cost(out) > 5)) {
      in_memory_[static_cast<size_t>(out)] = 1;
    }
  }
}

/// From a contraction's result along single readers to the last pointwise tensor of its size; from
/// a reduction's to the last of its shape. What is only widened at the end is widened by its
/// reader.
void FusionPlan::grow_epilogues() {
  std::vector<char> claimed(network_.layers.size(), 0);  // a layer is in one epilogue at most
  for (size_t i = 0; i < network_.layers.size(); ++i) {
    const bool reduces = roles_[i] == LayerRole::kReduction;
    if (roles_[i] != LayerRole::kContraction && !reduces) {
      continue;
    }
    const TensorId start = network_.layers[i].outputs[0];
    const Expr points = product(network_.type(start).shape);
    TensorId at = start;
    TensorId end = start;
    std::vector<size_t> passed;
    int ops = 0;
    while (uses(at) == 1 && readers_[static_cast<size_t>(at)].size() == 1) {
      const size_t reader = readers_[static_cast<size_t>(at)].front();
      const NetworkLayer& layer = network_.layers[reader];
      const bool slices = std::holds_alternative<Slice>(layer.attributes) ||
                          std::holds_alternative<Expand>(layer.attributes) ||
                          std::holds_alternative<Pad>(layer.attributes);
      const bool passes =
          (roles_[reader] == LayerRole::kView && !slices && !reduces) ||
          (roles_[reader] == LayerRole::kPointwise &&
           (!reduces || network_.type(layer.outputs[0]).shape == network_.type(start).shape));
      // The value must come in once, or the epilogue would compute it twice.
      if (!passes || ops > kMostOps || claimed[reader] != 0 ||
          !(product(network_.type(layer.outputs[0]).shape) == points) ||
          std::count(layer.inputs.begin(), layer.inputs.end(), at) != 1) {
        break;
      }
      at = layer.outputs[0];
      passed.push_back(reader);
      ops = roles_[reader] == LayerRole::kPointwise ? cost(at) : ops;  // of all since the start
      const bool widens =
          std::holds_alternative<Cast>(layer.attributes) &&
          dtype_bytes(network_.type(at).dtype) > dtype_bytes(network_.type(layer.inputs[0]).dtype);
      if ((roles_[reader] == LayerRole::kPointwise && !widens) || in_memory(at)) {
        end = at;
      }
      if (in_memory(at)) {
        break;
      }
    }
    for (const size_t reader : passed) {
      claimed[reader] = 1;
    }
    if (end != start) {
      ends_[static_cast<size_t>(start)] = end;
      in_memory_[static_cast<size_t>(start)] = 0;
      in_memory_[static_cast<size_t>(end)] = 1;
    }
  }
}

}  // namespace stator
