// SPDX-License-Identifier: Apache-2.0
//
// With q of zero point z and scale s, and constant weights c of scale t:
//   sum_k (q_k - z) s * c_kn t  =  (sum_k q_k c_kn  -  z sum_k c_kn) * (s t)
// The first sum is the product of integers, the second is constant: the column sums of the weights.
#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "base/float_element.h"
#include "optimizer/passes/passes.h"
#include "optimizer/passes/quantized_operand.h"
#include "optimizer/passes/rewrite.h"

namespace stator {
namespace {

/// Products of 255 and -128 summed this often fit 32 bits.
constexpr int64_t kLongestSum = 65536;
/// A padded weight may be this much larger, or it would not be folded.
constexpr int64_t kMostPadding = 64 << 10;

struct Product {
  QuantizedOperand a, b;
  DType a_dtype = DType::kInt8;  // that the backend takes
  bool transpose_b = false;      // of b.q, for products of matrices
};

bool is_one(const Expr& e) { return e.is_constant(1); }

/// Whether a tensor that broadcasts against `rank` axes varies along `axis` alone, or not at all.
bool varies_along(const TensorType& type, int rank, int axis) {
  for (int k = 0; k < type.rank(); ++k) {
    if (!is_one(type.shape[static_cast<size_t>(k)]) && k + rank - type.rank() != axis) return false;
  }
  return true;
}

bool is_single(const TensorType& type) {
  return std::all_of(type.shape.begin(), type.shape.end(), is_one);
}

/// Whether it is one number for everything along the last axis.
bool is_single_by_row(const TensorType& type) {
  return type.rank() == 0 || is_one(type.shape.back());
}

/// What a zero point or a value becomes when i8 is stored as u8, or the other way round.
double shift_between(DType from, DType to) {
  return from == to ? 0 : to == DType::kUInt8 ? 128 : -128;
}

bool any(const std::vector<int64_t>& values) {
  return std::any_of(values.begin(), values.end(), [](int64_t v) { return v != 0; });
}

class QuantizedProducts {
 public:
  QuantizedProducts(const Network& network, const BackendTraits& traits)
      : old_(network), traits_(traits), rewriter_(network) {}

  int run(Network* result) {
    for (size_t i = 0; i < old_.layers.size(); ++i) {
      const auto product = match(old_.layers[i]);
      if (!product) continue;
      // Numbers are stored in one type; a product that wants another stays as it is.
      const auto stored = wanted_.find(product->a.q);
      if (stored != wanted_.end() && stored->second->a_dtype != product->a_dtype) continue;
      const auto place = products_.emplace(i, *product).first;
      wanted_.emplace(product->a.q, &place->second);
    }
    if (products_.empty()) return 0;
    for (size_t i = 0; i < old_.layers.size(); ++i) {
      const auto product = products_.find(i);
      if (product == products_.end()) {
        rewriter_.copy(old_.layers[i]);
      } else {
        replace(old_.layers[i], product->second);
      }
      for (const TensorId id : old_.layers[i].outputs) store(id);
    }
    *result = rewriter_.finish();
    return static_cast<int>(products_.size());
  }

 private:
  Network& net() { return rewriter_.network(); }

  std::optional<Product> match(const NetworkLayer& layer) const {
    const auto* matmul = std::get_if<MatrixMultiply>(&layer.attributes);
    const auto* conv = std::get_if<Convolution>(&layer.attributes);
    if ((matmul == nullptr || traits_.byte_product == nullptr) &&
        (conv == nullptr || traits_.byte_convolution == nullptr)) {
      return std::nullopt;
    }
    const DType out = old_.type(layer.outputs[0]).dtype;
    if (out != DType::kFloat32 && !is_half(out)) return std::nullopt;
    auto a = find_quantized(old_, layer.inputs[0]);
    if (!a || a->transposed) return std::nullopt;
    auto b = find_quantized(old_, layer.inputs[1]);
    if (!b || !from_constants(old_, b->q) || !from_constants(old_, b->scale)) return std::nullopt;
    const double zero = b->zero == -1 ? 0 : constant_value(old_, b->zero).value_or(-1e9);
    if (zero + shift_between(b->dtype, DType::kInt8) != 0) return std::nullopt;
    Product product{*a, *b};
    for (const DType dtype : {a->dtype, a->dtype == DType::kInt8 ? DType::kUInt8 : DType::kInt8}) {
      product.a_dtype = dtype;
      const bool fits =
          matmul != nullptr ? fits_product(*matmul, &product) : fits_convolution(*conv, product);
      if (fits) return product;
    }
    return std::nullopt;
  }

  bool fits_product(const MatrixMultiply& matmul, Product* product) const {
    const QuantizedOperand &a = product->a, &b = product->b;
    if (matmul.transpose_a || a.type->rank() < 2 || b.type->rank() != 2) return false;
    product->transpose_b = matmul.transpose_b != b.transposed;
    const int n_axis = product->transpose_b ? 0 : 1;
    const Expr& k = b.type->shape[static_cast<size_t>(1 - n_axis)];
    const Expr& n = b.type->shape[static_cast<size_t>(n_axis)];
    return k.is_constant() && n.is_constant() && k.constant() <= kLongestSum &&
           a.type->shape.back() == k && padding(k.constant()) * n.constant() <= kMostPadding &&
           traits_.byte_product(product->a_dtype, n.constant(),
                                k.constant() + padding(k.constant())) &&
           is_single_by_row(old_.type(a.scale)) &&
           (a.zero == -1 || is_single_by_row(old_.type(a.zero))) &&
           varies_along(old_.type(b.scale), 2, n_axis);
  }

  bool fits_convolution(const Convolution& conv, const Product& product) const {
    const QuantizedOperand &a = product.a, &b = product.b;
    const int rank = b.type->rank();
    const std::vector<Expr>& w = b.type->shape;
    const Expr size = stator::product(w);
    if (conv.transposed || conv.channels_last || b.transposed || !size.is_constant() ||
        size.constant() == 0 || !a.type->shape[1].is_constant()) {
      return false;
    }
    const int64_t channels = w[1].constant(), each = size.constant() / w[0].constant();
    const int64_t more = padding(channels);
    if (more != 0 &&
        (conv.groups != 1 || size.constant() / channels * (channels + more) > kMostPadding)) {
      return false;
    }
    TensorType x = *a.type, filter = *b.type;
    x.dtype = product.a_dtype;
    x.shape[1] = x.shape[1] + more;
    filter.dtype = DType::kInt8;
    filter.shape[1] = channels + more;
    if (!traits_.byte_convolution(conv, x, filter)) return false;
    // Margins are filled with the zero point, which must be known.
    const bool zero_known = a.zero == -1 || constant_value(old_, a.zero).has_value();
    if ((any(conv.pad_before) || any(conv.pad_after)) && !zero_known) return false;
    return each <= kLongestSum && is_single(old_.type(a.scale)) &&
           (a.zero == -1 || is_single(old_.type(a.zero))) &&
           varies_along(old_.type(b.scale), rank, 0);
  }

  int64_t padding(int64_t size) const {
    return (traits_.byte_group - size % traits_.byte_group) % traits_.byte_group;
  }

  TensorId number(double value, DType dtype) {
    return net().add_scalar(
        is_floating_point(dtype) ? Scalar::of(value) : Scalar::of(static_cast<int64_t>(value)),
        dtype);
  }
  TensorId elementwise(TensorId a, TensorId b, ElementwiseOp op) {
    return net().add_elementwise(a, b, op);
  }

  /// i8 as u8 of 128 more, and back: the same bits with the first one turned.
  TensorId shifted(TensorId x, DType to) {
    const DType from = net().type(x).dtype;
    if (from == to) return x;
    const TensorId bits = from == DType::kUInt8 ? x : net().add_cast(x, DType::kUInt8);
    const TensorId turned = elementwise(bits, number(128, DType::kUInt8), ElementwiseOp::kXor);
    return to == DType::kUInt8 ? turned : net().add_cast(turned, DType::kInt8);
  }

  /// The numbers of an operand as bytes of `to`.
  TensorId bytes(const QuantizedOperand& operand, DType to) {
    return shifted(net().add_cast(rewriter_.map(operand.q), operand.dtype), to);
  }

  /// As soon as an operand's numbers are there, they are stored as the product wants them; what
  /// else reads them reads those.
  void store(TensorId id) {
    const auto wanted = wanted_.find(id);
    if (wanted == wanted_.end() || stored_.count(id) != 0) return;
    const QuantizedOperand& operand = wanted->second->a;
    const TensorId kept = bytes(operand, wanted->second->a_dtype);
    stored_[id] = kept;
    const TensorType& type = old_.type(id);
    const TensorId back = net().add_cast(shifted(kept, operand.dtype), type.dtype);
    if (back != kept) rewriter_.bind(id, back);
  }

  TensorId ones(std::vector<Expr> shape) {
    void* memory = nullptr;
    TensorData data = TensorData::allocate(stator::product(shape).constant(), &memory);
    std::memset(memory, 1, static_cast<size_t>(data.size_bytes));
    return net().add_constant("ones", {DType::kInt8, std::move(shape)}, std::move(data));
  }

  TensorId padded(TensorId x, size_t axis, int64_t count) {
    Pad pad;
    pad.before.assign(net().type(x).shape.size(), 0);
    pad.after = pad.before;
    pad.after[axis] = count;
    pad.value = Scalar::of(int64_t{0});
    return count == 0 ? x : net().add_pad(x, pad);
  }

  /// The zero point of a as the product has it, i32; -1 where it is zero.
  TensorId zero_point(const Product& p) {
    const double shift = shift_between(p.a.dtype, p.a_dtype);
    const auto value = known_zero(p);
    if (value.has_value()) return *value == 0 ? -1 : number(*value, DType::kInt32);
    const TensorId zero = net().add_cast(rewriter_.map(p.a.zero), DType::kInt32);
    return shift == 0 ? zero : elementwise(zero, number(shift, DType::kInt32), ElementwiseOp::kAdd);
  }
  std::optional<double> known_zero(const Product& p) const {
    const auto value = p.a.zero == -1 ? std::optional(0.0) : constant_value(old_, p.a.zero);
    if (!value.has_value()) return std::nullopt;
    return *value + shift_between(p.a.dtype, p.a_dtype);
  }

  TensorId scale_of(const QuantizedOperand& operand) {
    const TensorId scale = net().add_cast(rewriter_.map(operand.scale), DType::kFloat32);
    return operand.divides ? net().add_unary(scale, UnaryOp::kReciprocal) : scale;
  }

  /// What varies with the result's channels alone, of `behind` more axes after theirs.
  TensorId by_channel(TensorId x, size_t behind) {
    const Expr count = stator::product(net().type(x).shape);
    if (is_one(count)) return net().add_reshape(x, {});
    std::vector<Expr> shape(behind + 1, Expr(1));
    shape[0] = count;
    return net().add_reshape(x, shape);
  }

  void replace(const NetworkLayer& layer, const Product& p) {
    net().current = layer.provenance;
    store(p.a.q);  // where it is an input or a constant
    const TensorId a = stored_.at(p.a.q), b = bytes(p.b, DType::kInt8);
    const TensorId zero = zero_point(p);
    const auto* conv = std::get_if<Convolution>(&layer.attributes);
    const Sums sums =
        conv != nullptr ? convolved(*conv, p, a, b, zero != -1) : multiplied(p, a, b, zero != -1);
    const size_t behind = conv != nullptr ? conv->stride.size() : 0;
    TensorId y = sums.product;
    if (zero != -1) {
      const TensorId columns = by_channel(sums.columns, behind);
      y = elementwise(y, elementwise(columns, zero, ElementwiseOp::kMul), ElementwiseOp::kSub);
    }
    // A convolution's scale of its input is one number, of any rank.
    const TensorId a_scale = conv != nullptr ? net().add_reshape(scale_of(p.a), {}) : scale_of(p.a);
    const TensorId scale =
        elementwise(by_channel(scale_of(p.b), behind), a_scale, ElementwiseOp::kMul);
    y = elementwise(net().add_cast(y, DType::kFloat32), scale, ElementwiseOp::kMul);
    if (layer.inputs.size() == 3) {
      const TensorId bias = net().add_cast(rewriter_.map(layer.inputs[2]), DType::kFloat32);
      y = elementwise(y, by_channel(bias, behind), ElementwiseOp::kAdd);
    }
    y = net().add_cast(y, old_.type(layer.outputs[0]).dtype);
    net().tensor(y).type = old_.type(layer.outputs[0]);
    net().tensor(y).name = old_.tensor(layer.outputs[0]).name;
    rewriter_.bind(layer.outputs[0], y);
  }

  struct Sums {
    TensorId product;
    TensorId columns;  // sums of the weights alone; -1 where not asked for
  };

  Sums multiplied(const Product& p, TensorId a, TensorId b, bool wants_columns) {
    const int64_t k = p.a.type->shape.back().constant(), more = padding(k);
    a = padded(a, p.a.type->shape.size() - 1, more);
    b = padded(b, p.transpose_b ? 1 : 0, more);
    const TensorId columns =
        wants_columns ? net().add_matrix_multiply(ones({1, k + more}), false, b, p.transpose_b)
                      : -1;
    return {net().add_matrix_multiply(a, false, b, p.transpose_b), columns};
  }

  Sums convolved(Convolution conv, const Product& p, TensorId a, TensorId b, bool wants_columns) {
    const int64_t channels = p.b.type->shape[1].constant();
    Sums sums{-1, -1};
    const int64_t more = conv.groups == 1 ? padding(channels) : 0;
    b = padded(b, 1, more);
    if (wants_columns) {
      std::vector<Expr> window = net().type(b).shape;
      window[0] = 1;
      window[1] = (channels + more) * conv.groups;
      Convolution once = conv;
      once.pad_before.assign(conv.stride.size(), 0);
      once.pad_after = once.pad_before;
      once.dilation.assign(conv.stride.size(), 1);
      sums.columns = net().add_convolution_nd(ones(window), b, -1, once);
    }
    Pad pad;
    pad.before.assign(net().type(a).shape.size(), 0);
    pad.after = pad.before;
    pad.after[1] = more;
    pad.value = Scalar::of(static_cast<int64_t>(known_zero(p).value_or(0)));
    if (known_zero(p).value_or(0) != 0) {
      for (size_t d = 0; d < conv.stride.size(); ++d) {
        pad.before[d + 2] = std::exchange(conv.pad_before[d], 0);
        pad.after[d + 2] = std::exchange(conv.pad_after[d], 0);
      }
    }
    const auto moves = [](const std::vector<Expr>& sizes) {
      return std::any_of(sizes.begin(), sizes.end(),
                         [](const Expr& e) { return !e.is_constant(0); });
    };
    if (moves(pad.before) || moves(pad.after)) a = net().add_pad(a, pad);
    sums.product = net().add_convolution_nd(a, b, -1, conv);
    return sums;
  }

  const Network& old_;
  const BackendTraits& traits_;
  Rewriter rewriter_;
  std::map<size_t, Product> products_;         // by layer
  std::map<TensorId, const Product*> wanted_;  // the first that takes an operand's numbers
  std::map<TensorId, TensorId> stored_;
};

}  // namespace

int quantized_products(Network& network, const OptimizerOptions& options) {
  if (options.traits.byte_product == nullptr && options.traits.byte_convolution == nullptr) {
    return 0;
  }
  Network result;
  const int fired = QuantizedProducts(network, options.traits).run(&result);
  if (fired == 0) return 0;
  network = std::move(result);
  (void)remove_dead_layers(network, options);  // the weights' dequantization
  return fired;
}

}  // namespace stator
