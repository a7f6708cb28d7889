// SPDX-License-Identifier: Apache-2.0
#include "backends/reference/run/kernels.h"

namespace stator::reference {
namespace {

/// The index, counted from the end where that is allowed; a fault when it is out of range.
int64_t checked(int64_t index, int64_t size, const FaultSite& site) {
  index = site.wrap && index < 0 ? index + size : index;
  if (index < 0 || index >= size) {
    throw Fault{site, index, size};
  }
  return index;
}

}  // namespace

void run(const Check& layer, const Tensors& in, Tensors& out) {
  const Tensor &x = in.front(), &value = in.back();
  const FaultSite site{layer.error, layer.dim, layer.wrap};
  const bool alone = in.size() == 1;
  // All values, also where the result has no elements.
  for (int64_t i = 0; i < value.count(); ++i) {
    const int64_t place = checked(value.integer(i), layer.limit.constant(), site);
    if (alone) {
      out[0].put_integer(i, place);
    }
  }
  for (int64_t i = 0; !alone && i < x.count(); ++i) {
    out[0].copy(i, x, i);
  }
}

void run(const Gather& layer, const Tensors& in, Tensors& out) {
  const Tensor &x = in[0], &indices = in[1];
  const auto axis = static_cast<size_t>(layer.axis);
  const std::vector<int64_t> strides = strides_of(x.shape);
  const std::vector<int64_t> index_strides = strides_of(indices.shape);
  const size_t rank = indices.shape.size();
  const FaultSite site{layer.error, 0, layer.wrap};
  int64_t i = 0;
  for_each_index(out[0].shape, [&](const std::vector<int64_t>& at) {
    int64_t position = 0;
    for (size_t k = 0; k < rank; ++k) {
      position += at[axis + k] * index_strides[k];
    }
    int64_t from = checked(indices.integer(position), x.shape[axis], site) * strides[axis];
    for (size_t k = 0; k < x.shape.size(); ++k) {
      from += k < axis ? at[k] * strides[k] : k > axis ? at[k - 1 + rank] * strides[k] : 0;
    }
    out[0].copy(i++, x, from);
  });
}

void run(const GatherElements& layer, const Tensors& in, Tensors& out) {
  const auto axis = static_cast<size_t>(layer.axis);
  const std::vector<int64_t> strides = strides_of(in[0].shape);
  const FaultSite site{layer.error, layer.axis, false};
  int64_t i = 0;
  for_each_index(out[0].shape, [&](const std::vector<int64_t>& at) {
    const int64_t index = checked(in[1].integer(i), in[0].shape[axis], site);
    out[0].copy(i++, in[0], offset_of(at, strides) + (index - at[axis]) * strides[axis]);
  });
}

void run(const IndexTensors& layer, const Tensors& in, Tensors& out) {
  const Tensor& x = in[0];
  const auto first = static_cast<size_t>(layer.first_axis);
  const size_t count = in.size() - 1;
  const size_t index_rank = out[0].shape.size() - (x.shape.size() - count);
  const std::vector<int64_t> strides = strides_of(x.shape);
  int64_t i = 0;
  for_each_index(out[0].shape, [&](const std::vector<int64_t>& at) {
    const std::vector<int64_t> position(at.begin() + static_cast<int64_t>(first),
                                        at.begin() + static_cast<int64_t>(first + index_rank));
    int64_t from = 0;
    for (size_t k = 0; k < x.shape.size(); ++k) {
      int64_t index = 0;
      if (k < first) {
        index = at[k];
      } else if (k >= first + count) {
        index = at[k - count + index_rank];
      } else {
        const Tensor& indices = in[1 + k - first];
        const FaultSite site{DataError::kIndex, static_cast<int64_t>(k - first), true};
        index = checked(indices.integer(broadcast_offset(position, indices)), x.shape[k], site);
      }
      from += index * strides[k];
    }
    out[0].copy(i++, x, from);
  });
}

namespace {

/// What an update makes of what was there, with their sum and product in the type's arithmetic.
template <typename T>
T written(ScatterOp op, T old, T update, T sum, T product) {
  switch (op) {
    case ScatterOp::kAdd:
      return sum;
    case ScatterOp::kMul:
      return product;
    case ScatterOp::kMax:
      return update != update || old < update ? update : old;
    case ScatterOp::kMin:
      return update != update || update < old ? update : old;
    default:
      return update;
  }
}

void write(ScatterOp op, Tensor& y, int64_t to, const Tensor& updates, int64_t from) {
  if (op == ScatterOp::kPut) {
    y.copy(to, updates, from);
  } else if (y.is_real()) {
    const double old = y.real(to), update = updates.real(from);
    y.put_real(to, written(op, old, update, old + update, old * update));
  } else {
    const int64_t old = y.integer(to), update = updates.integer(from);
    const auto a = static_cast<uint64_t>(old), b = static_cast<uint64_t>(update);
    y.put_integer(
        to, written(op, old, update, static_cast<int64_t>(a + b), static_cast<int64_t>(a * b)));
  }
}

}  // namespace

void run(const ScatterElements& layer, const Tensors& in, Tensors& out) {
  run(Reshape{}, {in[0]}, out);
  const auto axis = static_cast<size_t>(layer.axis);
  const std::vector<int64_t> strides = strides_of(in[0].shape);
  const std::vector<int64_t> update_strides = strides_of(in[2].shape);
  const FaultSite site{layer.error, layer.axis, false};
  int64_t i = 0;
  for_each_index(in[1].shape, [&](const std::vector<int64_t>& at) {
    const int64_t index = checked(in[1].integer(i++), in[0].shape[axis], site);
    const int64_t to = offset_of(at, strides) + (index - at[axis]) * strides[axis];
    write(layer.op, out[0], to, in[2], offset_of(at, update_strides));
  });
}

}  // namespace stator::reference
