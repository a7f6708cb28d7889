// SPDX-License-Identifier: Apache-2.0
//
// embedding_bag: rows of a table, summed or averaged over bags that offsets cut from a list of
// places. Each place is added to its bag's row.
#include "conversion/aten/checks.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

constexpr int64_t kSum = 0, kMean = 1;  // mode

/// The bag of each place: how many offsets are not beyond it, less one.
TensorId bag_numbers(Conversion& c, TensorId offsets, const Expr& places) {
  Network& n = c.network();
  const TensorId place = n.add_reshape(n.add_iota(places, 0, 1, DType::kInt64), {places, Expr(1)});
  const TensorId started = n.add_elementwise(offsets, place, Op::kLessEqual);
  const TensorId count = n.add_reduce(c.cast(started, DType::kInt64), ReduceOp::kSum, {1}, false);
  return n.add_elementwise(count, whole(c, 1, DType::kInt64), Op::kSub);
}

/// The offsets, of which PyTorch asks that they begin at 0 and that none is past the end.
TensorId checked_offsets(Conversion& c, TensorId offsets, const Expr& places) {
  Network& n = c.network();
  const TensorId zero = whole(c, 0, DType::kInt64);
  const TensorId number = n.add_iota(n.type(offsets).shape[0], 0, 1, DType::kInt64);
  const TensorId is_first = n.add_elementwise(number, zero, Op::kEqual);
  const TensorId is_set = n.add_elementwise(offsets, zero, Op::kNotEqual);
  const TensorId wrong = n.add_elementwise(is_first, is_set, Op::kAnd);
  return checked_places(c, check_none(c, offsets, wrong, DataError::kBagOffset), places + 1,
                        DataError::kBagOffset);
}

/// `rows` [places, width] added up by bag: [bags, width].
TensorId add_by_bag(Conversion& c, TensorId bags, TensorId rows, const Expr& bag_count) {
  Network& n = c.network();
  const TensorType type = n.type(rows);
  const TensorId index = n.add_expand(n.add_reshape(bags, {type.shape[0], Expr(1)}), type.shape);
  const TensorId zeros =
      n.add_fill({bag_count, type.shape[1]}, type.dtype, scalar_of(Argument{0.0}, type.dtype));
  return n.add_layer(ScatterElements{0, ScatterOp::kAdd}, {zeros, index, rows})[0];
}

/// Where PyTorch takes its fast path on the CPU, the last offset ends the last bag's sum; elsewhere
/// the last bag runs to the end of the places, and its size always counts so.
bool ends_at_last_offset(const Conversion& c, const Node& node) {
  const TensorMeta& weight = c.meta(node, "weight");
  const bool rows = weight.strides.empty() || weight.strides.back().is_constant(1);
  const bool padded = !node.is_none("padding_idx") && node.integer("padding_idx") >= 0;
  return node.boolean("include_last_offset") && !on_gpu(c.graph()) && rows && !padded &&
         weight.dtype != DType::kFloat64;
}

/// What comes after the last offset falls into a bag more, which is cut off.
TensorId add_until_last(Conversion& c, TensorId bags, TensorId rows, const Expr& bag_count) {
  const TensorId sums = add_by_bag(c, bags, rows, bag_count + 1);
  const Expr width = c.network().type(sums).shape[1];
  return c.network().add_slice(sums, {Expr(0), Expr(0)}, {bag_count, width}, {1, 1});
}

TensorId embedding_bag(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = compute_dtype(c.meta(node, "weight").dtype);
  const TensorId places = c.operand(node, "indices", DType::kInt64);
  const Expr count = n.type(places).shape[0];
  const Expr bag_count = c.output_meta(node).shape[0];
  const TensorId offsets = checked_offsets(c, c.operand(node, "offsets", DType::kInt64), count);
  // With include_last_offset the last one begins no bag.
  const TensorId begins = n.add_slice(offsets, {Expr(0)}, {bag_count}, {1});
  const TensorId bags = bag_numbers(c, begins, count);
  TensorId rows =
      n.add_gather(c.operand(node, "weight", dtype), places, 0, false, DataError::kElement);

  // A place that equals padding_idx is as if it were not there.
  TensorId counted = n.add_fill({count, Expr(1)}, dtype, scalar_of(Argument{1.0}, dtype));
  if (!node.is_none("padding_idx") && node.integer("padding_idx") >= 0) {
    const TensorId kept = elementwise(
        c, {places, whole(c, node.integer("padding_idx"), DType::kInt64)}, Op::kNotEqual);
    const TensorId column = n.add_reshape(kept, {count, Expr(1)});
    rows = choose(c, {column, rows, real(c, 0.0, dtype)});
    counted = c.cast(column, dtype);
  }
  if (has_tensor(node, "per_sample_weights")) {
    const TensorId weights = c.operand(node, "per_sample_weights", dtype);
    rows = elementwise(c, {rows, n.add_reshape(weights, {count, Expr(1)})}, Op::kMul);
  }
  const TensorId sums = ends_at_last_offset(c, node)
                            ? add_until_last(c, bag_numbers(c, offsets, count), rows, bag_count)
                            : add_by_bag(c, bags, rows, bag_count);
  if (node.integer("mode", kSum) == kSum) {
    return sums;
  }
  const TensorId sizes = add_by_bag(c, bags, counted, bag_count);
  return elementwise(c, {sums, elementwise(c, {sizes, real(c, 1.0, dtype)}, Op::kMax)}, Op::kDiv);
}

Support embedding_bag_support(const SupportContext& c, const Node& node) {
  const int64_t mode = node.integer("mode", kSum);
  if (mode != kSum && mode != kMean) {
    return Support::no("its mode is max");
  }
  if (node.target == "aten.embedding_bag.padding_idx" && node.integer("padding_idx", 0) < 0) {
    return Support::no("its padding_idx counts from the end");  // elsewhere -1 stands for none
  }
  if (c.meta(node, "indices").rank() != 1 || !has_tensor(node, "offsets")) {
    return Support::no("its places are no list with offsets");
  }
  return all_of({floating_point_argument(c, node, "weight"), only_outputs_before(c, node, 1)});
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_embedding_bag(ConverterRegistry& r) {
  using namespace aten;
  for (const char* name : {"embedding_bag.default", "embedding_bag.padding_idx",
                           "_embedding_bag.default", "_embedding_bag_forward_only.default"}) {
    r.add(std::string("aten.") + name, single(embedding_bag, embedding_bag_support));
  }
}

}  // namespace stator
