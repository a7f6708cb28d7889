// SPDX-License-Identifier: Apache-2.0
//
// What a backend likes: the only thing the optimizer knows of it.
#pragma once

#include <string>

#include "stator/layer.h"

namespace stator {

struct BackendTraits {
  std::string name;                   // "cpu", "reference"
  std::string tensor_device = "cpu";  // PyTorch's name for where its tensors lie
  bool fuses_loops = true;       // false: one layer a region, everything a call (the reference)
  bool channels_last = true;     // convolutions and pooling run in channels-last layout
  int64_t channel_multiple = 1;  // convolutions' input channels are padded to a multiple of this
  bool fuses_epilogues = true;   // contraction regions take pointwise epilogues
  bool merges_products = false;  // of one operand, also where that takes epilogues from them
  bool sparse_products = false;  // weights that are 2:4 along k are worth knowing of
  bool attention = true;         // attention is one region (else: matmul, softmax, matmul)
  /// Element types of loops and epilogues; null: all but the halves and complex numbers.
  bool (*loop_dtype)(DType) = nullptr;
  /// Real types of softmax, normalizations, pooling, convolutions and attention; null: float32.
  bool (*math_dtype)(DType) = nullptr;
  /// Steps up to this long leave part of the device idle: branches of them run side by side; 0: no
  /// step does.
  double short_step_us = 0;
  /// Reductions to at most so many results, each of so many elements or more, leave most of the
  /// device idle; 0: none does.
  int64_t few_results = 0;
  int64_t long_reduction = 0;
  double bytes_per_us = 1e4;  // that a loop moves, about
  /// Whether a product with constant weights of i8 runs on the integers: the type of its left
  /// operand (i8 or u8), n and k. The same of a convolution, by the types of its input and its
  /// weights. Null: none does.
  bool (*byte_product)(DType a, int64_t n, int64_t k) = nullptr;
  bool (*byte_convolution)(const Convolution&, const TensorType& x, const TensorType& w) = nullptr;
  bool convolves_bytes(const Convolution& conv, const TensorType& x, const TensorType& w) const {
    return byte_convolution != nullptr && w.dtype == DType::kInt8 && byte_convolution(conv, x, w);
  }
  int64_t byte_group = 4;  // k, or the channels, are padded to a multiple of it
  /// Types in which products are faster than in float32; null: none.
  bool (*fast_product)(DType) = nullptr;
  /// Which functions loops and epilogues may hold; a layer of another becomes a call. Null: all.
  bool (*loop_unary)(UnaryOp, DType) = nullptr;
  bool (*loop_elementwise)(ElementwiseOp, DType) = nullptr;
  /// Whether a scan, a sort, a top-k or a scatter of such elements has a kernel. Null: none.
  bool (*runs_whole)(const LayerAttributes&, DType) = nullptr;
};

}  // namespace stator
