// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/reference/run/kernels.h"
#include "layer/resize_taps.h"

namespace stator::reference {
namespace {

/// Sums in double, or exactly in int64.
class Accumulator {
 public:
  explicit Accumulator(const Tensor& like) : is_real_(like.is_real()) {}
  void add(const Tensor& a, int64_t i, const Tensor& b, int64_t j) {
    if (is_real_) {
      real_ += a.real(i) * b.real(j);
    } else {
      integer_ += static_cast<uint64_t>(a.integer(i)) * static_cast<uint64_t>(b.integer(j));
    }
  }
  void add(const Tensor& a, int64_t i) {
    if (is_real_) {
      real_ += a.real(i);
    } else {
      integer_ += static_cast<uint64_t>(a.integer(i));
    }
  }
  void put(Tensor& y, int64_t i) const {
    if (is_real_) {
      y.put_real(i, real_);
    } else {
      y.put_integer(i, static_cast<int64_t>(integer_));
    }
  }

 private:
  bool is_real_;
  double real_ = 0;
  uint64_t integer_ = 0;
};

/// Sums of products of bytes, a step apart in each operand; weights are summed up with it.
template <typename A, typename B>
int32_t byte_dot(const Tensor& a, int64_t i, int64_t a_step, const Tensor& b, int64_t j,
                 int64_t b_step, int64_t length) {
  const A* x = static_cast<const A*>(a.data) + i;
  const B* y = static_cast<const B*>(b.data) + j;
  int32_t sum = 0;
  for (int64_t k = 0; k < length; ++k) sum += x[k * a_step] * y[k * b_step];
  return sum;
}

/// Null for operands of other types.
auto byte_dot_of(DType a, DType b) {
  auto* dot = &byte_dot<int8_t, int8_t>;
  if (!is_byte(a) || !is_byte(b)) return decltype(dot)(nullptr);
  const bool same = a == b;
  if (a == DType::kUInt8) return same ? &byte_dot<uint8_t, uint8_t> : &byte_dot<uint8_t, int8_t>;
  return same ? dot : &byte_dot<int8_t, uint8_t>;
}

/// Offset of an image element by (n, c, spatial position).
struct Image {
  const Tensor& tensor;
  bool channels_last;
  std::vector<int64_t> strides;
  Image(const Tensor& t, bool last)
      : tensor(t), channels_last(last), strides(strides_of(t.shape)) {}
  size_t axis(size_t k) const { return k + (channels_last ? 1 : 2); }
  int64_t channels() const { return tensor.shape[channels_last ? tensor.shape.size() - 1 : 1]; }
  int64_t size(size_t k) const { return tensor.shape[axis(k)]; }
  int64_t offset(int64_t n, int64_t c, const std::vector<int64_t>& at) const {
    int64_t o = n * strides[0] + c * strides[channels_last ? strides.size() - 1 : 1];
    for (size_t k = 0; k < at.size(); ++k) {
      o += at[k] * strides[axis(k)];
    }
    return o;
  }
  std::vector<int64_t> spatial() const {
    std::vector<int64_t> sizes;
    for (size_t k = 0; k + 2 < tensor.shape.size(); ++k) {
      sizes.push_back(size(k));
    }
    return sizes;
  }
};

}  // namespace

void run(const MatrixMultiply& layer, const Tensors& in, Tensors& out) {
  const Tensor &a = in[0], &b = in[1];
  Tensor& y = out[0];
  const size_t ra = a.shape.size(), rb = b.shape.size(), ry = y.shape.size();
  const int64_t m = y.shape[ry - 2], n = y.shape[ry - 1];
  const int64_t k = layer.transpose_a ? a.shape[ra - 2] : a.shape[ra - 1];
  Tensor batch_a = a, batch_b = b;
  batch_a.shape.resize(ra - 2);
  batch_b.shape.resize(rb - 2);
  int64_t batch = 0;
  auto* dot = in.size() == 2 ? byte_dot_of(a.dtype, b.dtype) : nullptr;
  for_each_index({y.shape.begin(), y.shape.end() - 2}, [&](const std::vector<int64_t>& index) {
    const int64_t base_a = broadcast_offset(index, batch_a) * m * k;
    const int64_t base_b = broadcast_offset(index, batch_b) * k * n;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        const int64_t row = base_a + (layer.transpose_a ? i : i * k);
        const int64_t column = base_b + (layer.transpose_b ? j * k : j);
        const int64_t a_step = layer.transpose_a ? m : 1, b_step = layer.transpose_b ? 1 : n;
        if (dot != nullptr) {
          y.put_integer((batch * m + i) * n + j, dot(a, row, a_step, b, column, b_step, k));
          continue;
        }
        Accumulator sum(a);
        for (int64_t p = 0; p < k; ++p) {
          sum.add(a, row + p * a_step, b, column + p * b_step);
        }
        if (in.size() == 3) {
          sum.add(in[2], j);
        }
        sum.put(y, (batch * m + i) * n + j);
      }
    }
    ++batch;
  });
}

void run(const Convolution& layer, const Tensors& in, Tensors& out) {
  const Image x(in[0], layer.channels_last), y(out[0], layer.channels_last);
  const Tensor& w = in[1];
  const std::vector<int64_t> w_strides = strides_of(w.shape);
  const std::vector<int64_t> kernel(w.shape.begin() + 2, w.shape.end());
  const size_t spatial = kernel.size();
  const int64_t in_group = x.channels() / layer.groups, out_group = y.channels() / layer.groups;
  for (int64_t n = 0; n < out[0].shape[0]; ++n) {
    for (int64_t o = 0; o < y.channels(); ++o) {
      const int64_t group = o / out_group;
      for_each_index(y.spatial(), [&](const std::vector<int64_t>& at) {
        Accumulator sum(in[0]);
        for_each_index(kernel, [&](const std::vector<int64_t>& tap) {
          std::vector<int64_t> source(spatial);
          for (size_t k = 0; k < spatial; ++k) {
            if (layer.transposed) {
              // y = x * stride - pad + tap * dilation, solved for x.
              const int64_t reach = at[k] + layer.pad_before[k] - tap[k] * layer.dilation[k];
              if (reach % layer.stride[k] != 0) {
                return;
              }
              source[k] = reach / layer.stride[k];
            } else {
              source[k] =
                  at[k] * layer.stride[k] - layer.pad_before[k] + tap[k] * layer.dilation[k];
            }
            if (source[k] < 0 || source[k] >= x.size(k)) {
              return;
            }
          }
          int64_t tap_offset = 0;
          for (size_t k = 0; k < spatial; ++k) {
            tap_offset += tap[k] * w_strides[2 + k];
          }
          for (int64_t c = 0; c < in_group; ++c) {
            const int64_t channel = group * in_group + c;
            const int64_t weight =
                layer.transposed ? channel * w_strides[0] + (o - group * out_group) * w_strides[1]
                                 : o * w_strides[0] + c * w_strides[1];
            sum.add(in[0], x.offset(n, channel, source), w, weight + tap_offset);
          }
        });
        if (in.size() == 3) {
          sum.add(in[2], o);
        }
        sum.put(out[0], y.offset(n, o, at));
      });
    }
  }
}

void run(const Pooling& layer, const Tensors& in, Tensors& out) {
  const Image x(in[0], layer.channels_last), y(out[0], layer.channels_last);
  for (int64_t n = 0; n < out[0].shape[0]; ++n) {
    for (int64_t c = 0; c < y.channels(); ++c) {
      for_each_index(y.spatial(), [&](const std::vector<int64_t>& at) {
        double sum = 0, most = -std::numeric_limits<double>::infinity();
        int64_t inside = 0, window = 0;
        bool nan = false;
        for_each_index(layer.kernel, [&](const std::vector<int64_t>& tap) {
          std::vector<int64_t> source(at.size());
          bool is_inside = true, counts = true;
          for (size_t k = 0; k < at.size(); ++k) {
            source[k] = at[k] * layer.stride[k] - layer.pad_before[k] + tap[k] * layer.dilation[k];
            is_inside = is_inside && source[k] >= 0 && source[k] < x.size(k);
            // Windows of ceil mode reach beyond the padding; that part never counts.
            counts = counts && source[k] < x.size(k) + layer.pad_after[k];
          }
          window += counts ? 1 : 0;
          if (!is_inside) {
            return;
          }
          const double value = in[0].real(x.offset(n, c, source));
          ++inside;
          sum += value;
          nan = nan || std::isnan(value);
          most = std::max(most, value);
        });
        const int64_t divisor = layer.divisor != 0        ? layer.divisor
                                : layer.count_include_pad ? window
                                                          : inside;
        const double value =
            layer.op == PoolOp::kMax ? (nan ? NAN : most) : sum / static_cast<double>(divisor);
        out[0].put_real(y.offset(n, c, at), value);
      });
    }
  }
}

void run(const AdaptivePooling& layer, const Tensors& in, Tensors& out) {
  const Image x(in[0], layer.channels_last), y(out[0], layer.channels_last);
  for (int64_t n = 0; n < out[0].shape[0]; ++n) {
    for (int64_t c = 0; c < y.channels(); ++c) {
      for_each_index(y.spatial(), [&](const std::vector<int64_t>& at) {
        std::vector<int64_t> begin(at.size()), window(at.size());
        int64_t count = 1;
        for (size_t k = 0; k < at.size(); ++k) {
          begin[k] = at[k] * x.size(k) / y.size(k);
          window[k] = ((at[k] + 1) * x.size(k) + y.size(k) - 1) / y.size(k) - begin[k];
          count *= window[k];
        }
        double sum = 0, most = -std::numeric_limits<double>::infinity();
        bool nan = false;
        for_each_index(window, [&](const std::vector<int64_t>& tap) {
          std::vector<int64_t> source(at.size());
          for (size_t k = 0; k < at.size(); ++k) {
            source[k] = begin[k] + tap[k];
          }
          const double value = in[0].real(x.offset(n, c, source));
          sum += value;
          nan = nan || std::isnan(value);
          most = std::max(most, value);
        });
        out[0].put_real(y.offset(n, c, at), layer.op == PoolOp::kMax
                                                ? (nan ? NAN : most)
                                                : sum / static_cast<double>(count));
      });
    }
  }
}

void run(const Attention& layer, const Tensors& in, Tensors& out) {
  const Tensor &q = in[0], &k = in[1], &v = in[2];
  const int64_t heads = q.shape[1], kv_heads = k.shape[1], queries = q.shape[2];
  const int64_t keys = k.shape[2], width = q.shape[3], v_width = v.shape[3];
  std::vector<double> scores(static_cast<size_t>(keys));
  for_each_index({q.shape[0], heads, queries}, [&](const std::vector<int64_t>& at) {
    const int64_t group = at[1] / (heads / kv_heads);
    const int64_t q_row = ((at[0] * heads + at[1]) * queries + at[2]) * width;
    const int64_t kv = (at[0] * kv_heads + group) * keys;
    double most = -std::numeric_limits<double>::infinity();
    bool any = false;
    for (int64_t j = 0; j < keys; ++j) {
      double score = 0;
      for (int64_t d = 0; d < width; ++d) {
        score += q.real(q_row + d) * k.real((kv + j) * width + d);
      }
      score *= layer.scale;
      bool admitted = !layer.causal || j <= at[2];
      if (layer.has_mask) {
        const int64_t m = broadcast_offset({at[0], at[1], at[2], j}, in[3]);
        if (in[3].dtype == DType::kBool) {
          admitted = admitted && in[3].integer(m) != 0;
        } else {
          score += in[3].real(m);
        }
      }
      scores[static_cast<size_t>(j)] = admitted ? score : -std::numeric_limits<double>::infinity();
      any = any || scores[static_cast<size_t>(j)] != -std::numeric_limits<double>::infinity();
      most = std::max(most, scores[static_cast<size_t>(j)]);
    }
    double total = 0;
    for (double& score : scores) {
      score = std::exp(score - most);
      total += score;
    }
    for (int64_t e = 0; e < v_width; ++e) {
      double sum = 0;
      for (int64_t j = 0; j < keys; ++j) {
        sum += scores[static_cast<size_t>(j)] * v.real((kv + j) * v_width + e);
      }
      // A row that admits no key, by either kind of mask, is 0.
      out[0].put_real(q_row / std::max<int64_t>(width, 1) * v_width + e, any ? sum / total : 0.0);
    }
  });
}

void run(const Resize& layer, const Tensors& in, Tensors& out) {
  const Image x(in[0], layer.channels_last), y(out[0], layer.channels_last);
  const size_t spatial = layer.size.size();
  std::vector<ResizeTaps> axes;
  std::vector<int64_t> counts(spatial, resize_tap_count(layer.mode));
  for (size_t k = 0; k < spatial; ++k) {
    axes.push_back(resize_taps(layer, k, x.size(k), y.size(k), in[0].dtype == DType::kFloat64));
  }
  for (int64_t n = 0; n < out[0].shape[0]; ++n) {
    for (int64_t c = 0; c < y.channels(); ++c) {
      for_each_index(y.spatial(), [&](const std::vector<int64_t>& at) {
        double sum = 0;
        for_each_index(counts, [&](const std::vector<int64_t>& tap) {
          std::vector<int64_t> source(spatial);
          double weight = 1;
          for (size_t k = 0; k < spatial; ++k) {
            const auto at_tap = static_cast<size_t>(tap[k] * y.size(k) + at[k]);
            source[k] = axes[k].places[at_tap];
            weight *= axes[k].weights[at_tap];
          }
          sum += weight * in[0].real(x.offset(n, c, source));
        });
        out[0].put_real(y.offset(n, c, at), sum);
      });
    }
  }
}

}  // namespace stator::reference
