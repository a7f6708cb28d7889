// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "backends/reference/run/kernels.h"

namespace stator::reference {
namespace {

/// The source position of a padded one, or -1 where the padding's value stands.
int64_t padded_source(PadMode mode, int64_t i, int64_t size) {
  if (i >= 0 && i < size) {
    return i;
  }
  switch (mode) {
    case PadMode::kConstant:
      return -1;
    case PadMode::kReplicate:
      return i < 0 ? 0 : size - 1;
    case PadMode::kReflect:
      return i < 0 ? -i : 2 * (size - 1) - i;
    case PadMode::kCircular:
      return ((i % size) + size) % size;
  }
  return -1;
}

}  // namespace

void run(const Transpose& layer, const Tensors& in, Tensors& out) {
  const std::vector<int64_t> strides = strides_of(in[0].shape);
  int64_t i = 0;
  for_each_index(out[0].shape, [&](const std::vector<int64_t>& index) {
    int64_t from = 0;
    for (size_t k = 0; k < index.size(); ++k) {
      from += index[k] * strides[static_cast<size_t>(layer.permutation[k])];
    }
    out[0].copy(i++, in[0], from);
  });
}

void run(const Reshape&, const Tensors& in, Tensors& out) {
  std::memcpy(out[0].data, in[0].data,
              static_cast<size_t>(in[0].count() * dtype_bytes(in[0].dtype)));
}

void run(const Expand&, const Tensors& in, Tensors& out) {
  int64_t i = 0;
  for_each_index(out[0].shape, [&](const std::vector<int64_t>& index) {
    out[0].copy(i++, in[0], broadcast_offset(index, in[0]));
  });
}

void run(const Slice& layer, const Tensors& in, Tensors& out) {
  const std::vector<int64_t> strides = strides_of(in[0].shape);
  int64_t i = 0;
  for_each_index(out[0].shape, [&](const std::vector<int64_t>& index) {
    int64_t from = 0;
    for (size_t k = 0; k < index.size(); ++k) {
      from += (layer.start[k].constant() + layer.step[k] * index[k]) * strides[k];
    }
    out[0].copy(i++, in[0], from);
  });
}

void run(const Concat& layer, const Tensors& in, Tensors& out) {
  const auto axis = static_cast<size_t>(layer.axis);
  const std::vector<int64_t> strides = strides_of(out[0].shape);
  int64_t begin = 0;
  for (const Tensor& part : in) {
    int64_t i = 0;
    for_each_index(part.shape, [&](const std::vector<int64_t>& index) {
      out[0].copy(offset_of(index, strides) + begin * strides[axis], part, i++);
    });
    begin += part.shape[axis];
  }
}

void run(const Pad& layer, const Tensors& in, Tensors& out) {
  const std::vector<int64_t> strides = strides_of(in[0].shape);
  int64_t i = 0;
  for_each_index(out[0].shape, [&](const std::vector<int64_t>& index) {
    int64_t from = 0;
    bool inside = true;
    for (size_t k = 0; k < index.size(); ++k) {
      const int64_t source =
          padded_source(layer.mode, index[k] - layer.before[k].constant(), in[0].shape[k]);
      inside = inside && source >= 0;
      from += source * strides[k];
    }
    if (inside) {
      out[0].copy(i, in[0], from);
    } else if (layer.value.is_integer) {
      out[0].put_integer(i, layer.value.integer);
    } else {
      out[0].put_real(i, layer.value.real);
    }
    ++i;
  });
}

void run(const SliceScatter& layer, const Tensors& in, Tensors& out) {
  run(Reshape{}, {in[0]}, out);
  const auto axis = static_cast<size_t>(layer.axis);
  const std::vector<int64_t> strides = strides_of(in[0].shape);
  int64_t i = 0;
  for_each_index(in[1].shape, [&](const std::vector<int64_t>& index) {
    int64_t to = offset_of(index, strides) - index[axis] * strides[axis];
    to += (layer.start.constant() + layer.step * index[axis]) * strides[axis];
    out[0].copy(to, in[1], i++);
  });
}

}  // namespace stator::reference
