// SPDX-License-Identifier: Apache-2.0
//
// Places in sorted sequences, by bisection; membership, by comparison with every candidate.
#include "conversion/aten/checks.h"
#include "conversion/aten/index.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

constexpr int64_t kMostElements = int64_t{1} << 40;  // of a sequence whose length has no bound

/// What a search reads: sequences of `length`, one behind the other.
struct Sequences {
  TensorId elements;     // flat
  TensorId sorter = -1;  // the order of each, flat; or none
  TensorId begin = -1;   // where the sequence of each value begins; or there is only one
  Expr length;
  DType dtype;
};

/// The element of each value's sequence at `place`.
TensorId element_at(Conversion& c, const Sequences& s, TensorId place) {
  Network& n = c.network();
  const auto at = [&](TensorId p) {
    return s.begin < 0 ? p : elementwise(c, {s.begin, p}, Op::kAdd);
  };
  if (s.sorter >= 0) {
    const TensorId order = n.add_gather(s.sorter, at(place), 0, false, DataError::kElement);
    // An empty sequence has the one place that flat() adds.
    place = checked_places(c, order, max(s.length, 1), DataError::kElement, 0);
  }
  return c.cast(n.add_gather(s.elements, at(place), 0), s.dtype);
}

/// PyTorch's own bisection, also where a sequence is not sorted or has NaN: of each value how many
/// elements of its sequence lie below it; `right`: or are equal.
TensorId bisect(Conversion& c, const Sequences& s, TensorId values, bool right) {
  Network& n = c.network();
  const TensorId zero = whole(c, 0, DType::kInt64), one = whole(c, 1, DType::kInt64);
  const TensorId last = size_tensor(c, s.length - 1);
  const Shape shape = n.type(values).shape;
  TensorId start = n.add_expand(zero, shape);
  TensorId left = n.add_expand(size_tensor(c, s.length), shape);  // elements not decided yet
  const std::optional<int64_t> greatest = c.graph().bounds.greatest(s.length);
  for (int64_t most = greatest.value_or(kMostElements); most > 0; most /= 2) {
    const TensorId half = elementwise(c, {left, one}, Op::kShiftRight);
    const TensorId middle = elementwise(c, {start, half}, Op::kAdd);
    const TensorId place =
        elementwise(c, {elementwise(c, {middle, last}, Op::kMin), zero}, Op::kMax);
    const TensorId above =
        elementwise(c, {element_at(c, s, place), values}, right ? Op::kGreater : Op::kGreaterEqual);
    const TensorId open = elementwise(c, {left, zero}, Op::kGreater);
    const TensorId on = elementwise(c, {open, n.add_unary(above, UnaryOp::kNot)}, Op::kAnd);
    const TensorId behind = elementwise(c, {middle, one}, Op::kAdd);
    const TensorId rest = elementwise(c, {elementwise(c, {left, half}, Op::kSub), one}, Op::kSub);
    start = choose(c, {on, behind, start});
    left = choose(c, {on, rest, half});
  }
  return start;
}

/// Flat, and never without an element, so that there is something to read.
TensorId flat(Conversion& c, TensorId x, bool may_be_empty) {
  Network& n = c.network();
  const TensorType type = n.type(x);
  x = n.add_reshape(x, {product(type.shape)});
  if (!may_be_empty) return x;
  const TensorId more = n.add_fill({Expr(1)}, type.dtype, Scalar::of(int64_t{0}));
  return n.add_concatenation({x, more}, 0);
}

Compute places(const char* sequence, const char* values) {
  return [sequence, values](Conversion& c, const Node& node) {
    Network& n = c.network();
    const DType own = result_type(c.graph(), node, {sequence, values});
    const bool right = node.boolean("right") || node.string("side") == "right";
    const TensorId sorted = c.operand(node, sequence, own);
    const TensorId wanted = c.operand(node, values, compute_dtype(own));
    const Shape shape = n.type(sorted).shape;
    Sequences s{-1, -1, -1, shape.back(), compute_dtype(own)};
    const bool may_be_empty = !c.graph().bounds.proves_less_equal(1, product(shape));
    s.elements = flat(c, sorted, may_be_empty);
    if (has_tensor(node, "sorter")) {
      s.sorter = flat(c, c.operand(node, "sorter", DType::kInt64), may_be_empty);
    }
    if (shape.size() > 1) {
      const Expr count = product({shape.begin(), shape.end() - 1});
      Shape rows(shape.begin(), shape.end() - 1);
      rows.push_back(Expr(1));
      s.begin = n.add_reshape(n.add_iota(count, 0, s.length, DType::kInt64), rows);
    }
    return bisect(c, s, wanted, right);
  };
}

Support search_support(const SupportContext& c, const Node& node) {
  const TensorMeta& sequence = c.meta(node, "sorted_sequence");
  const bool fits = sequence.rank() == 1 ||
                    (has_tensor(node, "self") && c.meta(node, "self").rank() == sequence.rank());
  return fits ? Support::yes() : Support::no("its sequences and values differ in axes");
}

/// Any of test_elements equal to each element.
TensorId isin(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType common = result_type(c.graph(), node, {"elements", "test_elements"});
  const DType dtype = common == DType::kBool ? DType::kUInt8 : compute_dtype(common);
  const TensorId elements = c.operand(node, "elements", dtype);
  const TensorId tests = c.operand(node, "test_elements", dtype);
  Shape rows = n.type(elements).shape;
  rows.push_back(Expr(1));
  const TensorId equal = elementwise(
      c, {n.add_reshape(elements, rows), n.add_reshape(tests, {product(n.type(tests).shape)})},
      Op::kEqual);
  const TensorId found =
      n.add_reduce(equal, ReduceOp::kAny, {static_cast<int64_t>(rows.size()) - 1}, false);
  return node.boolean("invert") ? n.add_unary(found, UnaryOp::kNot) : found;
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_search(ConverterRegistry& r) {
  using namespace aten;
  for (const char* overload : {"Tensor", "Scalar"}) {
    r.add(std::string("aten.bucketize.") + overload, single(places("boundaries", "self")));
    r.add(std::string("aten.searchsorted.") + overload,
          single(places("sorted_sequence", "self"), search_support));
  }
  r.add("aten.isin.Tensor_Tensor", single(isin));
}

}  // namespace stator
