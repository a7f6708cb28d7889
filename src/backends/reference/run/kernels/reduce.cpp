// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "backends/reference/run/kernels.h"
#include "layer/scan_places.h"

namespace stator::reference {
namespace {

/// A row along one axis: offsets base + i * stride, i < size.
struct Row {
  int64_t base, stride, size;
  int64_t at(int64_t i) const { return base + i * stride; }
};

/// Calls visit(Row) for every row of `tensor` along `axis`.
template <typename Visit>
void for_each_row(const std::vector<int64_t>& shape, size_t axis, const Visit& visit) {
  const std::vector<int64_t> strides = strides_of(shape);
  std::vector<int64_t> outer = shape;
  outer[axis] = 1;
  for_each_index(outer, [&](const std::vector<int64_t>& index) {
    visit(Row{offset_of(index, strides), strides[axis], shape[axis]});
  });
}

/// What a reduction has seen so far.
class Fold {
 public:
  Fold(ReduceOp op, bool is_real) : op_(op), is_real_(is_real) {
    if (op == ReduceOp::kProd) {
      real_ = 1;
      integer_ = 1;
    } else if (op == ReduceOp::kMax) {
      real_ = -std::numeric_limits<double>::infinity();
      integer_ = INT64_MIN;
    } else if (op == ReduceOp::kMin) {
      real_ = std::numeric_limits<double>::infinity();
      integer_ = INT64_MAX;
    } else if (op == ReduceOp::kAll) {
      integer_ = 1;
    }
  }

  void add(const Tensor& x, int64_t i, int64_t position) {
    if (op_ == ReduceOp::kAny || op_ == ReduceOp::kAll) {
      const bool set = x.is_real() ? x.real(i) != 0 : x.integer(i) != 0;
      integer_ = op_ == ReduceOp::kAny ? (integer_ | (set ? 1 : 0)) : (integer_ & (set ? 1 : 0));
    } else if (op_ == ReduceOp::kArgMax || op_ == ReduceOp::kArgMin) {
      add_position(x, i, position);
    } else if (is_real_) {
      add_real(x.real(i));
    } else {
      add_integer(x.integer(i));
    }
    ++count_;
  }

  void put(Tensor& y, int64_t i) const {
    if (op_ == ReduceOp::kAny || op_ == ReduceOp::kAll || op_ == ReduceOp::kArgMax ||
        op_ == ReduceOp::kArgMin || !is_real_) {
      y.put_integer(i, integer_);
    } else if (op_ == ReduceOp::kMean) {
      y.put_real(i, real_ / static_cast<double>(count_));
    } else {
      y.put_real(i, real_);
    }
  }

 private:
  void add_real(double v) {
    switch (op_) {
      case ReduceOp::kProd:
        real_ *= v;
        break;
      case ReduceOp::kMax:
        real_ = std::isnan(real_) || std::isnan(v) ? NAN : std::max(real_, v);
        break;
      case ReduceOp::kMin:
        real_ = std::isnan(real_) || std::isnan(v) ? NAN : std::min(real_, v);
        break;
      default:
        real_ += v;
    }
  }
  void add_integer(int64_t v) {
    switch (op_) {
      case ReduceOp::kProd:
        integer_ = static_cast<int64_t>(static_cast<uint64_t>(integer_) * static_cast<uint64_t>(v));
        break;
      case ReduceOp::kMax:
        integer_ = std::max(integer_, v);
        break;
      case ReduceOp::kMin:
        integer_ = std::min(integer_, v);
        break;
      default:
        integer_ = static_cast<int64_t>(static_cast<uint64_t>(integer_) + static_cast<uint64_t>(v));
    }
  }
  void add_position(const Tensor& x, int64_t i, int64_t position) {
    const bool greatest = op_ == ReduceOp::kArgMax;
    bool better = count_ == 0;
    if (x.is_real()) {
      const double v = x.real(i);
      better =
          better || (!std::isnan(real_) && (std::isnan(v) || (greatest ? v > real_ : v < real_)));
      real_ = better ? v : real_;
    } else {
      const int64_t v = x.integer(i);
      better = better || (greatest ? v > best_ : v < best_);
      best_ = better ? v : best_;
    }
    integer_ = better ? position : integer_;
  }

  ReduceOp op_;
  bool is_real_;
  double real_ = 0;
  int64_t integer_ = 0, best_ = 0, count_ = 0;
};

bool before(const Tensor& x, int64_t a, int64_t b, bool descending) {
  if (!x.is_real()) {
    return descending ? x.integer(a) > x.integer(b) : x.integer(a) < x.integer(b);
  }
  const double u = x.real(a), v = x.real(b);
  // NaN is the greatest.
  const bool less = std::isnan(v) ? !std::isnan(u) : u < v;
  const bool greater = std::isnan(u) ? !std::isnan(v) : u > v;
  return descending ? greater : less;
}

/// Puts places of a row in order, by what stands before what.
using Less = std::function<bool(int64_t, int64_t)>;
using Ordering = std::function<void(std::vector<int64_t>&, const Less&)>;

/// Writes the first `count` of the rows along `axis`, ordered.
void sort_rows(const Tensor& x, size_t axis, bool descending, int64_t count,
               const Ordering& ordering, Tensors& out) {
  std::vector<Row> targets;
  for_each_row(out[0].shape, axis, [&](Row row) { targets.push_back(row); });
  size_t next = 0;
  for_each_row(x.shape, axis, [&](Row row) {
    if (count > row.size) {
      throw Fault{{DataError::kRank, 0, false}, count, row.size};
    }
    std::vector<int64_t> order(static_cast<size_t>(row.size));
    std::iota(order.begin(), order.end(), 0);
    if (count > 0) {
      ordering(order,
               [&](int64_t a, int64_t b) { return before(x, row.at(a), row.at(b), descending); });
      const Row& to = targets[next++];
      for (int64_t i = 0; i < count; ++i) {
        out[0].copy(to.at(i), x, row.at(order[static_cast<size_t>(i)]));
        out[1].put_integer(to.at(i), order[static_cast<size_t>(i)]);
      }
    }
  });
}

void sort_stably(std::vector<int64_t>& places, const Less& less) {
  std::stable_sort(places.begin(), places.end(), less);
}

/// The order of PyTorch's CPU kernel, equals included: the library's algorithms by the same steps.
Ordering first_places(int64_t count, bool sorted) {
  return [=](std::vector<int64_t>& places, const Less& less) {
    const auto begin = places.begin(), last = begin + (count - 1);
    if (count * 64 <= static_cast<int64_t>(places.size())) {
      std::partial_sort(begin, begin + count, places.end(), less);
      return;
    }
    std::nth_element(begin, last, places.end(), less);
    if (sorted) {
      std::sort(begin, last, less);
    }
  };
}

}  // namespace

void run(const Reduce& layer, const Tensors& in, Tensors& out) {
  const Tensor& x = in[0];
  const std::vector<int64_t> strides = strides_of(x.shape);
  std::vector<int64_t> outer = x.shape, inner(x.shape.size(), 1);
  for (const int64_t axis : layer.axes) {
    outer[static_cast<size_t>(axis)] = 1;
    inner[static_cast<size_t>(axis)] = x.shape[static_cast<size_t>(axis)];
  }
  int64_t i = 0;
  for_each_index(outer, [&](const std::vector<int64_t>& index) {
    Fold fold(layer.op, x.is_real());
    int64_t position = 0;
    for_each_index(inner, [&](const std::vector<int64_t>& step) {
      fold.add(x, offset_of(index, strides) + offset_of(step, strides), position++);
    });
    fold.put(out[0], i++);
  });
}

void run(const Softmax& layer, const Tensors& in, Tensors& out) {
  const Tensor& x = in[0];
  for_each_row(x.shape, static_cast<size_t>(layer.axis), [&](Row row) {
    double most = -std::numeric_limits<double>::infinity(), total = 0;
    for (int64_t i = 0; i < row.size; ++i) {
      most = std::max(most, x.real(row.at(i)));
    }
    for (int64_t i = 0; i < row.size; ++i) {
      total += std::exp(x.real(row.at(i)) - most);
    }
    for (int64_t i = 0; i < row.size; ++i) {
      const double shifted = x.real(row.at(i)) - most;
      out[0].put_real(row.at(i), layer.log ? shifted - std::log(total) : std::exp(shifted) / total);
    }
  });
}

void run(const Normalization& layer, const Tensors& in, Tensors& out) {
  const Tensor& x = in[0];
  int64_t width = 1;
  for (const int64_t axis : layer.axes) {
    width *= x.shape[static_cast<size_t>(axis)];
  }
  const Tensor* scale = layer.has_scale ? &in[1] : nullptr;
  const Tensor* bias = layer.has_bias ? &in[layer.has_scale ? 2 : 1] : nullptr;
  const int64_t rows = width == 0 ? 0 : x.count() / width;
  for (int64_t r = 0; r < rows; ++r) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < width && !layer.rms; ++i) {
      mean += x.real(r * width + i);
    }
    mean /= static_cast<double>(width);
    for (int64_t i = 0; i < width; ++i) {
      const double d = x.real(r * width + i) - mean;
      variance += d * d;
    }
    const double factor = 1 / std::sqrt(variance / static_cast<double>(width) + layer.epsilon);
    for (int64_t i = 0; i < width; ++i) {
      double y = (x.real(r * width + i) - mean) * factor;
      y = scale != nullptr ? y * scale->real(i) : y;
      y = bias != nullptr ? y + bias->real(i) : y;
      out[0].put_real(r * width + i, y);
    }
  }
}

void run(const TopK& layer, const Tensors& in, Tensors& out) {
  const int64_t k = layer.k.constant();
  sort_rows(in[0], static_cast<size_t>(layer.axis), layer.largest, k,
            layer.stable ? Ordering(sort_stably) : first_places(k, layer.sorted), out);
}

void run(const Sort& layer, const Tensors& in, Tensors& out) {
  const auto axis = static_cast<size_t>(layer.axis);
  const auto sort_plainly = [](std::vector<int64_t>& places, const Less& less) {
    std::sort(places.begin(), places.end(), less);
  };
  sort_rows(in[0], axis, layer.descending, in[0].shape[axis],
            layer.stable ? Ordering(sort_stably) : Ordering(sort_plainly), out);
}

/// torch.cummax: what comes last wins among equals, and NaN stays.
static void running_extreme(const Scan& layer, const Tensor& x, Tensors& out) {
  const bool greatest = layer.op == ScanOp::kMax;
  for_each_row(x.shape, static_cast<size_t>(layer.axis), [&](Row row) {
    int64_t best = 0;
    for (int64_t i = 0; i < row.size; ++i) {
      const int64_t a = row.at(i), b = row.at(best);
      bool better = false;
      if (x.is_real()) {
        const double v = x.real(a), w = x.real(b);
        better = std::isnan(v) || (!std::isnan(w) && (greatest ? v >= w : v <= w));
      } else {
        better = greatest ? x.integer(a) >= x.integer(b) : x.integer(a) <= x.integer(b);
      }
      best = better ? i : best;
      out[0].copy(row.at(i), x, row.at(best));
      out[1].put_integer(row.at(i), best);
    }
  });
}

static void running_log_sum_exp(const Scan& layer, const Tensor& x, Tensor& out) {
  for_each_row(x.shape, static_cast<size_t>(layer.axis), [&](Row row) {
    double total = -std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < row.size; ++i) {
      const double v = x.real(row.at(i));
      const double least = v < total ? v : total, most = v < total ? total : v;
      const bool same_infinity = least == most && std::isinf(most);
      total = same_infinity ? most : std::log1p(std::exp(least - most)) + most;
      out.put_real(row.at(i), total);
    }
  });
}

void run(const Scan& layer, const Tensors& in, Tensors& out) {
  if (layer.op == ScanOp::kLogSumExp) {
    running_log_sum_exp(layer, in[0], out[0]);
    return;
  }
  if (has_places(layer.op)) {
    running_extreme(layer, in[0], out);
    return;
  }
  static constexpr ReduceOp kOps[] = {ReduceOp::kSum, ReduceOp::kProd, ReduceOp::kMax,
                                      ReduceOp::kMin};
  for_each_row(in[0].shape, static_cast<size_t>(layer.axis), [&](Row row) {
    Fold fold(kOps[static_cast<size_t>(layer.op)], in[0].is_real());
    for (int64_t i = 0; i < row.size; ++i) {
      fold.add(in[0], row.at(i), i);
      fold.put(out[0], row.at(i));
    }
  });
}

}  // namespace stator::reference
