// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <map>
#include <optional>
#include <tuple>

#include "optimizer/passes/passes.h"
#include "optimizer/passes/rewrite.h"

namespace stator {
namespace {

/// A product with constant weights, as they lie: [n, k] when `transposed`, else [k, n].
struct Product {
  size_t layer = 0;
  TensorId weight = -1, bias = -1;
  bool transposed = false;
  int64_t n = 0, k = 0;
};

class MergeProducts {
 public:
  MergeProducts(const Network& network, const BackendTraits& traits)
      : old_(network), traits_(traits), rewriter_(network), readers_(layer_readers(network)) {}

  int run(Network* result) {
    find_groups();
    int fired = 0;
    for (size_t i = 0; i < old_.layers.size(); ++i) {
      const auto group = group_of_.find(i);
      if (group == group_of_.end()) {
        rewriter_.copy(old_.layers[i]);
      } else if (groups_[group->second].front().layer == i) {
        merge(groups_[group->second]);
        ++fired;
      }
    }
    if (fired > 0) *result = rewriter_.finish();
    return fired;
  }

 private:
  void find_groups() {
    // By operand, element type, layout and whether there is a bias.
    std::map<std::tuple<TensorId, bool, bool, int64_t>, std::vector<Product>> by_key;
    for (size_t i = 0; i < old_.layers.size(); ++i) {
      if (const std::optional<Product> p = product_of(i)) {
        by_key[{old_.layers[i].inputs[0], p->transposed, p->bias >= 0, p->k}].push_back(*p);
      }
    }
    for (auto& [key, products] : by_key) {
      if (products.size() < 2) continue;
      for (const Product& p : products) group_of_[p.layer] = groups_.size();
      groups_.push_back(std::move(products));
    }
  }

  std::optional<Product> product_of(size_t i) const {
    const NetworkLayer& layer = old_.layers[i];
    const auto* matmul = std::get_if<MatrixMultiply>(&layer.attributes);
    if (matmul == nullptr || matmul->transpose_a ||
        old_.tensor(layer.inputs[0]).role == TensorRole::kConstant ||
        old_.type(layer.inputs[1]).rank() != 2 || !reads_slices(layer.outputs[0])) {
      return std::nullopt;
    }
    Product p;
    p.layer = i;
    p.weight = layer.inputs[1];
    p.transposed = matmul->transpose_b;
    if (const int32_t producer = old_.tensor(p.weight).producer; producer >= 0) {
      const NetworkLayer& view = old_.layers[static_cast<size_t>(producer)];
      if (!std::holds_alternative<Transpose>(view.attributes)) return std::nullopt;
      p.weight = view.inputs[0];  // of two axes, so that it swaps them
      p.transposed = !p.transposed;
    }
    const NetworkTensor& weight = old_.tensor(p.weight);
    if (weight.role != TensorRole::kConstant || weight.type.rank() != 2) return std::nullopt;
    p.n = weight.type.shape[p.transposed ? 0 : 1].constant();
    p.k = weight.type.shape[p.transposed ? 1 : 0].constant();
    if (layer.inputs.size() == 3) {
      p.bias = layer.inputs[2];
      if (old_.tensor(p.bias).role != TensorRole::kConstant) return std::nullopt;
    }
    return p;
  }

  /// Whether what reads the product's result can read a slice of a wider one as well, and the
  /// product does nothing of it in an epilogue that it would lose.
  bool reads_slices(TensorId id) const {
    if (feeds_attention(id)) return true;
    if (!traits_.merges_products || readers_[static_cast<size_t>(id)].empty()) return false;
    for (const size_t index : readers_[static_cast<size_t>(id)]) {
      const NetworkLayer& reader = old_.layers[index];
      const LayerAttributes& a = reader.attributes;
      const bool passes = std::holds_alternative<Reshape>(a) ||
                          std::holds_alternative<Transpose>(a) ||
                          std::holds_alternative<Slice>(a) || std::holds_alternative<Cast>(a);
      if (std::holds_alternative<Attention>(a) || std::holds_alternative<Concat>(a)) continue;
      if (passes ? !reads_slices(reader.outputs[0]) : !is_loop_work(a)) return false;
    }
    return true;
  }

  /// Pointwise work that the libraries' epilogues do not have.
  static bool is_loop_work(const LayerAttributes& a) {
    if (const auto* unary = std::get_if<Unary>(&a)) {
      return unary->op != UnaryOp::kRelu && unary->op != UnaryOp::kGeluTanh;
    }
    const auto* elementwise = std::get_if<Elementwise>(&a);
    return elementwise != nullptr && elementwise->op != ElementwiseOp::kAdd;
  }

  /// Whether nothing but views and casts lies between the tensor and an attention layer: such
  /// operands are read where they lie, so that slices of one tensor do as well.
  bool feeds_attention(TensorId id) const {
    const auto& readers = readers_[static_cast<size_t>(id)];
    if (readers.size() != 1) return false;
    const NetworkLayer& reader = old_.layers[readers.front()];
    if (std::holds_alternative<Attention>(reader.attributes)) return true;
    const bool passes = std::holds_alternative<Reshape>(reader.attributes) ||
                        std::holds_alternative<Transpose>(reader.attributes);
    return passes && feeds_attention(reader.outputs[0]);
  }

  void merge(const std::vector<Product>& products) {
    const NetworkLayer& first = old_.layers[products.front().layer];
    const DType dtype = old_.type(products.front().weight).dtype;
    const int64_t bytes = dtype_bytes(dtype), k = products.front().k;
    int64_t n = 0;
    for (const Product& p : products) n += p.n;
    Network& to = rewriter_.network();
    to.current = first.provenance;
    void* memory = nullptr;
    TensorData joined = TensorData::allocate(n * k * bytes, &memory);
    int64_t done = 0;
    for (const Product& p : products) {
      const auto* from = old_.tensor(p.weight).data.as<char>();
      auto* at = static_cast<char*>(memory);
      if (p.transposed) {
        std::memcpy(at + done * k * bytes, from, static_cast<size_t>(p.n * k * bytes));
      } else {
        for (int64_t row = 0; row < k; ++row) {
          std::memcpy(at + (row * n + done) * bytes, from + row * p.n * bytes,
                      static_cast<size_t>(p.n * bytes));
        }
      }
      done += p.n;
    }
    const bool transposed = products.front().transposed;
    const std::vector<Expr> shape = transposed ? std::vector<Expr>{n, k} : std::vector<Expr>{k, n};
    const std::string name = old_.tensor(products.front().weight).name + ".joined";
    const TensorId weight = to.add_constant(name, {dtype, shape}, std::move(joined));
    TensorId bias = -1;
    if (products.front().bias >= 0) {
      TensorData data = TensorData::allocate(n * bytes, &memory);
      auto* at = static_cast<char*>(memory);
      for (const Product& p : products) {
        std::memcpy(at, old_.tensor(p.bias).data.data, static_cast<size_t>(p.n * bytes));
        at += p.n * bytes;
      }
      bias = to.add_constant(name + ".bias", {dtype, {Expr(n)}}, std::move(data));
    }
    const TensorId y =
        to.add_matrix_multiply(rewriter_.map(first.inputs[0]), false, weight, transposed, bias);
    done = 0;
    for (const Product& p : products) {
      std::vector<Expr> start(to.type(y).shape.size(), 0), size = to.type(y).shape;
      start.back() = done;
      size.back() = p.n;
      to.current = old_.layers[p.layer].provenance;
      rewriter_.bind(old_.layers[p.layer].outputs[0],
                     to.add_slice(y, start, size, std::vector<int64_t>(size.size(), 1)));
      done += p.n;
    }
  }

  const Network& old_;
  const BackendTraits& traits_;
  Rewriter rewriter_;
  std::vector<std::vector<size_t>> readers_;
  std::vector<std::vector<Product>> groups_;
  std::map<size_t, size_t> group_of_;  // layer → group
};

}  // namespace

int merge_products(Network& network, const OptimizerOptions& options) {
  if (!options.traits.attention) {
    return 0;
  }
  Network result;
  const int fired = MergeProducts(network, options.traits).run(&result);
  if (fired > 0) {
    network = std::move(result);
  }
  return fired;
}

}  // namespace stator
