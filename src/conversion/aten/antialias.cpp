// SPDX-License-Identifier: Apache-2.0
//
// Antialiased resizing: each axis is a product with a matrix of weights, which the sizes give. A
// weight is that of a triangle, or of Keys' cubic, as wide as an output element is in the input.
#include <algorithm>
#include <cmath>

#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

double triangle(double x) { return std::max(0.0, 1.0 - std::fabs(x)); }

double cubic(double x) {
  constexpr double a = -0.5;
  const double y = std::fabs(x);
  if (y < 1) return ((a + 2) * y - (a + 3)) * y * y + 1;
  return y < 2 ? ((a * y - 5 * a) * y + 8 * a) * y - 4 * a : 0.0;
}

using Filter = double (*)(double);

struct Axis {
  int64_t input = 0, output = 0;
  double step = 1;  // input elements per output element
};

/// [output, input]; each row adds up to 1.
TensorId weights(Conversion& c, const Axis& axis, Filter filter, double width, DType dtype) {
  const double reach = 0.5 * width * std::max(axis.step, 1.0);
  const double scale = std::max(axis.step, 1.0);
  void* writable = nullptr;
  const TensorData data =
      TensorData::allocate(axis.output * axis.input * dtype_bytes(dtype), &writable);
  const auto put = [&](int64_t at, double value) {
    if (dtype == DType::kFloat64) {
      static_cast<double*>(writable)[at] = value;
    } else {
      static_cast<float*>(writable)[at] = static_cast<float>(value);
    }
  };
  for (int64_t i = 0; i < axis.output; ++i) {
    const double center = axis.step * (static_cast<double>(i) + 0.5);
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - reach + 0.5), 0);
    const int64_t last = std::min(static_cast<int64_t>(center + reach + 0.5), axis.input);
    double sum = 0;
    const auto weight = [&](int64_t j) {
      return filter((static_cast<double>(j) - center + 0.5) / scale);
    };
    for (int64_t j = first; j < last; ++j) sum += weight(j);
    for (int64_t j = 0; j < axis.input; ++j) {
      const bool seen = j >= first && j < last;
      put(i * axis.input + j, seen && sum != 0 ? weight(j) / sum : 0.0);
    }
  }
  const std::string name = "weights_" + std::to_string(c.network().tensors.size());
  return c.network().add_constant(name, {dtype, {Expr(axis.output), Expr(axis.input)}}, data);
}

const char* input_name(const Node& node) { return node.find("self") != nullptr ? "self" : "input"; }

/// The factor that the caller gave for axis k of two, or 0.
double factor(const Node& node, size_t k) {
  if (const Argument* list = node.find("scale_factors")) {
    const auto* given = std::get_if<std::vector<double>>(list);
    return given != nullptr && given->size() > k ? (*given)[k] : 0.0;
  }
  const char* name = k == 0 ? "scales_h" : "scales_w";
  return node.is_none(name) ? 0.0 : node.number(name);
}

Axis axis_of(const Node& node, const Shape& from, const Shape& to, size_t k) {
  Axis axis{from[k + 2].constant(), to[k + 2].constant(), 1};
  const auto in = static_cast<double>(axis.input), out = static_cast<double>(axis.output);
  if (node.boolean("align_corners")) {
    axis.step = axis.output > 1 ? (in - 1) / (out - 1) : 0;
  } else {
    const double given = factor(node, k);
    axis.step = given > 0 ? 1 / given : in / out;
  }
  return axis;
}

Compute resize(Filter filter, double width) {
  return [filter, width](Conversion& c, const Node& node) {
    Network& n = c.network();
    const char* input = input_name(node);
    const DType dtype = compute_dtype(c.meta(node, input).dtype);
    const Shape& from = c.meta(node, input).shape;
    const Shape& to = c.output_meta(node).shape;
    const TensorId x = c.operand(node, input, dtype);
    const TensorId columns = weights(c, axis_of(node, from, to, 1), filter, width, dtype);
    const TensorId wide = n.add_matrix_multiply(x, false, columns, true);
    const TensorId rows = weights(c, axis_of(node, from, to, 0), filter, width, dtype);
    const TensorId flat = n.add_reshape(wide, {from[0] * from[1], from[2], to[3]});
    return n.add_reshape(n.add_matrix_multiply(rows, false, flat, false), to);
  };
}

Support support(const SupportContext& c, const Node& node) {
  const Shape& from = c.meta(node, input_name(node)).shape;
  const Shape& to = c.graph.value(node.outputs[0]).tensor.shape;
  for (const size_t k : {size_t{2}, size_t{3}}) {
    if (!from[k].is_constant() || !to[k].is_constant()) {
      return Support::no("its weights depend on a symbolic size");
    }
    if (from[k].constant() * to[k].constant() > (1 << 24)) {
      return Support::no("it is too large for a matrix of weights");
    }
  }
  return floating_point_argument(c, node, input_name(node));
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_antialias(ConverterRegistry& r) {
  using namespace aten;
  for (const char* overload : {".default", ".vec"}) {
    r.add(std::string("aten._upsample_bilinear2d_aa") + overload,
          single(aten::resize(triangle, 2), aten::support));
    r.add(std::string("aten._upsample_bicubic2d_aa") + overload,
          single(aten::resize(cubic, 4), aten::support));
  }
}

}  // namespace stator
