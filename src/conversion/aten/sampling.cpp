// SPDX-License-Identifier: Apache-2.0
//
// grid_sampler: the input read at fractional places that a grid gives, on two or three axes:
// nearest, linear between the corners around, or cubic.
#include <optional>

#include "conversion/aten/formula.h"

namespace stator::aten {
namespace {

constexpr int64_t kNearest = 1, kBicubic = 2;    // interpolation_mode; 0: linear
constexpr int64_t kBorder = 1, kReflection = 2;  // padding_mode; 0: zeros

/// What is read: rows of the input, one a channel, and the grid's places on every axis.
struct Sampler {
  Conversion& c;
  TensorId rows;             // [N C spatial]
  Shape outputs;             // [N, C, places]
  Expr row;                  // elements of one
  std::vector<Term> sizes;   // of the spatial axes, 0-d
  std::vector<Term> places;  // [N, places], in elements
  bool align_corners = false;
  int64_t padding = 0;
};

Term number(Conversion& c, const Expr& size, DType dtype) {
  return {c, size.is_constant() ? whole(c, size.constant(), dtype)
                                : c.cast(c.network().add_size_value(size), dtype)};
}

/// min(max(x, 0), size - 1), 0 for NaN.
Term inside(Term size, Term x) {
  const Term kept = most(where(is_nan(x), 0, x), 0);
  return kept.apply(ElementwiseOp::kMin, size - 1);
}

/// x thrown back at the edges: the first and last element, or half an element beyond.
Term reflected(const Sampler& s, Term size, Term x) {
  const Term span = s.align_corners ? size - 1 : size;
  const double least = s.align_corners ? 0.0 : -0.5;
  const Term distance = abs(x - least);
  const Term safe = where(span == 0, 1, span);
  const Term flips = floor(distance / safe);
  const Term extra = distance - flips * safe;
  const Term even = floor(flips * 0.5) * 2.0 == flips;
  return where(span == 0, 0, where(even, extra, safe - extra) + least);
}

/// A place as padding moves it: into the input by its border or by reflection.
Term moved(const Sampler& s, size_t axis, Term x) {
  const Term size = s.sizes[axis];
  if (s.padding == kBorder) {
    return inside(size, x);
  }
  return s.padding == kReflection ? inside(size, reflected(s, size, x)) : x;
}

/// The elements at whole places, 0 outside: [N, C, places].
Term read(const Sampler& s, const std::vector<Term>& at) {
  Network& n = s.c.network();
  std::optional<Term> flat, valid;
  for (size_t axis = 0; axis < at.size(); ++axis) {
    const Term size = s.sizes[axis];
    const Term index = inside(size, at[axis]).to(DType::kInt64);
    const Term within = (at[axis] >= 0) & (at[axis] < size);
    flat = flat ? *flat * size.to(DType::kInt64) + index : index;
    valid = valid ? *valid & within : within;
  }
  const Shape one_channel = {s.outputs[0], Expr(1), s.outputs[2]};
  const TensorId begin =
      n.add_reshape(n.add_iota(s.outputs[0] * s.outputs[1], 0, s.row, DType::kInt64),
                    {s.outputs[0], s.outputs[1], Expr(1)});
  const Term index = Term(s.c, begin) + Term(s.c, n.add_reshape(flat->id(), one_channel));
  const Term values(s.c, n.add_gather(s.rows, index.id(), 0));
  return where(Term(s.c, n.add_reshape(valid->id(), one_channel)), values, 0);
}

/// A weight [N, places] beside values [N, C, places].
Term weighed(const Sampler& s, Term value, Term weight) {
  const Shape shape = {s.outputs[0], Expr(1), s.outputs[2]};
  return value * Term(s.c, s.c.network().add_reshape(weight.id(), shape));
}

Term nearest(const Sampler& s) {
  std::vector<Term> at;
  for (size_t axis = 0; axis < s.places.size(); ++axis) {
    at.push_back(round(moved(s, axis, s.places[axis])));
  }
  return read(s, at);
}

/// Each corner weighs by what lies on the other side of the place.
Term linear(const Sampler& s) {
  std::vector<Term> low, high, low_weight, high_weight;
  for (size_t axis = 0; axis < s.places.size(); ++axis) {
    const Term place = moved(s, axis, s.places[axis]);
    low.push_back(floor(place));
    high.push_back(low.back() + 1);
    low_weight.push_back(high.back() - place);
    high_weight.push_back(place - low.back());
  }
  std::optional<Term> sum;
  for (size_t corner = 0; corner < (size_t{1} << low.size()); ++corner) {
    std::vector<Term> at;
    std::optional<Term> weight;
    for (size_t axis = 0; axis < low.size(); ++axis) {
      const bool upper = (corner >> axis & 1) != 0;
      at.push_back(upper ? high[axis] : low[axis]);
      const Term part = upper ? high_weight[axis] : low_weight[axis];
      weight = weight ? *weight * part : part;
    }
    const Term part = weighed(s, read(s, at), *weight);
    sum = sum ? *sum + part : part;
  }
  return *sum;
}

/// Keys' kernel with a = -3/4: the weights of the elements at -1, 0, 1 and 2 from the floor.
std::vector<Term> cubic_weights(Term t) {
  constexpr double a = -0.75;
  const auto near = [&](Term x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [&](Term x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  return {far(t + 1), near(t), near(1.0 - t), far(2.0 - t)};
}

Term cubic(const Sampler& s) {
  const Term y = floor(s.places[0]), x = floor(s.places[1]);
  const std::vector<Term> rows = cubic_weights(s.places[0] - y);
  const std::vector<Term> columns = cubic_weights(s.places[1] - x);
  std::optional<Term> sum;
  for (int i = 0; i < 4; ++i) {
    std::optional<Term> line;
    for (int j = 0; j < 4; ++j) {
      const Term value = read(s, {moved(s, 0, y + (i - 1)), moved(s, 1, x + (j - 1))});
      const Term part = weighed(s, value, columns[static_cast<size_t>(j)]);
      line = line ? *line + part : part;
    }
    const Term part = weighed(s, *line, rows[static_cast<size_t>(i)]);
    sum = sum ? *sum + part : part;
  }
  return *sum;
}

/// The grid's coordinate `component` (-1 to 1) in elements of the input.
Term place_of(const Sampler& s, Term grid, size_t component, Term size) {
  Network& n = s.c.network();
  const TensorType type = n.type(grid.id());
  Shape start(type.shape.size(), Expr(0)), taken = type.shape;
  start.back() = static_cast<int64_t>(component);
  taken.back() = 1;
  const std::vector<int64_t> step(type.shape.size(), 1);
  const Term raw(
      s.c, n.add_reshape(n.add_slice(grid.id(), start, taken, step), {s.outputs[0], s.outputs[2]}));
  return s.align_corners ? (raw + 1) * ((size - 1) * 0.5) : ((raw + 1) * size - 1) * 0.5;
}

TensorId grid_sampler(Conversion& c, const Node& node) {
  const DType dtype = compute_dtype(c.meta(node, "input").dtype);
  const Shape shape = c.meta(node, "input").shape;
  const Shape& result = c.output_meta(node).shape;
  const TensorId x = c.operand(node, "input", dtype);
  Sampler s{c,
            c.network().add_reshape(x, {product(shape)}),
            {shape[0], shape[1], product({result.begin() + 2, result.end()})},
            product({shape.begin() + 2, shape.end()}),
            {},
            {},
            node.boolean("align_corners"),
            node.integer("padding_mode")};
  const Term grid(c, c.operand(node, "grid", dtype));
  const size_t axes = shape.size() - 2;
  for (size_t axis = 0; axis < axes; ++axis) {
    s.sizes.push_back(number(c, shape[axis + 2], dtype));
    // The grid's last axis names the input's axes from the last one on.
    s.places.push_back(place_of(s, grid, axes - 1 - axis, s.sizes.back()));
  }
  const int64_t mode = node.integer("interpolation_mode");
  const Term y = mode == kNearest ? nearest(s) : mode == kBicubic ? cubic(s) : linear(s);
  return c.network().add_reshape(y.id(), result);
}

Support support(const SupportContext& c, const Node& node) {
  const TensorMeta& input = c.meta(node, "input");
  if (input.rank() != 4 && input.rank() != 5) {
    return Support::no("its input has " + std::to_string(input.rank()) + " axes");
  }
  for (size_t k = 2; k < input.shape.size(); ++k) {
    if (!c.graph.bounds.proves_less_equal(1, input.shape[k])) {
      return Support::no("its input may have no elements");
    }
  }
  return floating_point_argument(c, node, "input");
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_sampling(ConverterRegistry& r) {
  using namespace aten;
  for (const char* name : {"grid_sampler_2d", "grid_sampler_3d", "grid_sampler"}) {
    r.add(std::string("aten.") + name + ".default", single(grid_sampler, aten::support));
  }
}

}  // namespace stator
