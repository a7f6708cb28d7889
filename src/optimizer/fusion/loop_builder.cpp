// SPDX-License-Identifier: Apache-2.0
#include "optimizer/fusion/loop_builder.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/check.h"
#include "optimizer/fusion/merge_dims.h"

namespace stator {
namespace {

/// The value of a constant of one element.
std::optional<Scalar> scalar_value(const NetworkTensor& tensor) {
  if (tensor.role != TensorRole::kConstant ||
      tensor.data.size_bytes != dtype_bytes(tensor.type.dtype)) {
    return std::nullopt;
  }
  switch (tensor.type.dtype) {
    case DType::kFloat32:
      return Scalar{*tensor.data.as<float>(), 0, false};
    case DType::kFloat64:
      return Scalar{*tensor.data.as<double>(), 0, false};
    case DType::kInt64:
      return Scalar::of(*tensor.data.as<int64_t>());
    case DType::kInt32:
      return Scalar::of(static_cast<int64_t>(*tensor.data.as<int32_t>()));
    case DType::kInt8:
      return Scalar::of(static_cast<int64_t>(*tensor.data.as<int8_t>()));
    case DType::kUInt8:
      return Scalar::of(static_cast<int64_t>(*tensor.data.as<uint8_t>()));
    case DType::kBool:
      return Scalar::of(static_cast<int64_t>(*tensor.data.as<uint8_t>() != 0));
    default:
      return std::nullopt;
  }
}

/// The symbol of an op that is part of an index, and back.
std::string place_name(OpId op) { return "%" + std::to_string(op); }
OpId place_op(const std::string& name) { return static_cast<OpId>(std::stoi(name.substr(1))); }

std::vector<std::string> places_of(const Expr& e) {
  std::set<std::string> symbols;
  e.collect_symbols(symbols);
  std::vector<std::string> places;
  for (const std::string& name : symbols) {
    if (name[0] == '%') places.push_back(name);
  }
  return places;
}

ElementwiseOp operation_of(ExprKind kind) {
  switch (kind) {
    case ExprKind::kAdd:
      return ElementwiseOp::kAdd;
    case ExprKind::kMul:
      return ElementwiseOp::kMul;
    case ExprKind::kFloorDiv:
      return ElementwiseOp::kFloorDiv;
    case ExprKind::kMod:
      return ElementwiseOp::kMod;
    case ExprKind::kMin:
      return ElementwiseOp::kMin;
    case ExprKind::kMax:
      return ElementwiseOp::kMax;
    default:
      STATOR_CHECK(false, "an index is no such expression");
  }
}

}  // namespace

Expr LoopBuilder::add_dim(const Expr& extent, bool reduction) {
  // Whatever the body computes, it computes where there is a point: a factor of an extent is not 0.
  // Two factors may both be negative, where they are integers that the caller gave and no sizes.
  const std::vector<Expr> factors =
      extent.kind() == ExprKind::kMul ? extent.operands() : std::vector<Expr>{extent};
  for (const Expr& factor : factors) {
    if (factor.is_symbol()) {
      const auto range = bounds_.ranges().find(factor.symbol_name());
      const bool known = range != bounds_.ranges().end();
      if (factors.size() > 1 && known && range->second.first < 0) continue;
      bounds_.set(factor.symbol_name(), known ? std::max<int64_t>(range->second.first, 1) : 1,
                  known ? range->second.second : Bounds::kUnbounded);
    }
  }
  const int k = static_cast<int>(program_.dims.size());
  program_.dims.push_back({extent, reduction});
  bounds_.set_index(index_symbol(k), extent);
  return Expr::symbol(index_symbol(k));
}

OpId LoopBuilder::add(LoopOp op) {
  LoopProgram one;
  one.ops.push_back(op);
  // kReduce is never shared: equal text means an equal value for all kinds, for it too.
  const std::string key = print_loop_program(one);
  const auto [found, fresh] = shared_.emplace(key, static_cast<OpId>(program_.ops.size()));
  if (fresh) {
    program_.ops.push_back(std::move(op));
  }
  return found->second;
}

OpId LoopBuilder::constant(Scalar value, DType dtype) {
  LoopOp op;
  op.kind = LoopOpKind::kConstant;
  op.dtype = dtype;
  op.scalar = value;
  return add(op);
}
OpId LoopBuilder::unary(UnaryOp unary, OpId a) {
  LoopOp op;
  op.kind = LoopOpKind::kUnary;
  op.dtype = gives_truth(unary) ? DType::kBool : dtype(a);
  op.unary = unary;
  op.a = a;
  return add(op);
}
OpId LoopBuilder::elementwise(ElementwiseOp elementwise, OpId a, OpId b) {
  LoopOp op;
  op.kind = LoopOpKind::kElementwise;
  const bool compares =
      elementwise >= ElementwiseOp::kEqual && elementwise <= ElementwiseOp::kGreaterEqual;
  op.dtype = compares ? DType::kBool : dtype(a);
  op.elementwise = elementwise;
  op.a = a;
  op.b = b;
  return add(op);
}
OpId LoopBuilder::select(OpId c, OpId a, OpId b) {
  LoopOp op;
  op.kind = LoopOpKind::kSelect;
  op.dtype = dtype(a);
  op.a = c;
  op.b = a;
  op.c = b;
  return add(op);
}
OpId LoopBuilder::cast(OpId a, DType to) {
  if (dtype(a) == to) {
    return a;
  }
  LoopOp op;
  op.kind = LoopOpKind::kCast;
  op.dtype = to;
  op.a = a;
  return add(op);
}
OpId LoopBuilder::reduce(ReduceOp reduce, OpId a) {
  LoopOp op;
  op.kind = LoopOpKind::kReduce;
  op.dtype = dtype(a);
  op.reduce = reduce;
  op.a = a;
  return add(op);
}
OpId LoopBuilder::index(const Expr& e) {
  LoopOp op;
  op.kind = LoopOpKind::kIndex;
  op.dtype = DType::kInt64;
  op.index = simplify(e, bounds_);
  if (op.index.is_constant()) {
    return constant(Scalar::of(op.index.constant()), DType::kInt64);
  }
  return places_of(op.index).empty() ? add(op) : evaluate(op.index);
}

Expr LoopBuilder::place(OpId op, const Expr& limit) {
  const std::string name = place_name(op);
  bounds_.set_index(name, limit);
  return Expr::symbol(name);
}

/// An expression that holds places, by ops.
OpId LoopBuilder::evaluate(const Expr& e) {
  if (e.is_symbol()) {
    return place_op(e.symbol_name());
  }
  OpId result = kNoOp;
  for (const Expr& part : e.operands()) {
    OpId value = index(part);
    if (result != kNoOp && (e.kind() == ExprKind::kFloorDiv || e.kind() == ExprKind::kMod) &&
        !bounds_.proves_less(0, part)) {
      // Computed where a guard is false too.
      value = elementwise(ElementwiseOp::kMax, value, index(1));
    }
    result = result == kNoOp ? value : elementwise(operation_of(e.kind()), result, value);
  }
  return result;
}

OpId LoopBuilder::both(OpId a, OpId b) {
  if (a == kNoOp || b == kNoOp) {
    return a == kNoOp ? b : a;
  }
  return elementwise(ElementwiseOp::kAnd, a, b);
}

OpId LoopBuilder::within(const Expr& e, const Expr& least, const Expr& limit) {
  OpId result = kNoOp;
  if (!bounds_.proves_less_equal(least, e)) {
    result = elementwise(ElementwiseOp::kGreaterEqual, index(e), index(least));
  }
  if (!bounds_.proves_less(e, limit)) {
    result = both(result, elementwise(ElementwiseOp::kLess, index(e), index(limit)));
  }
  return result;
}

int32_t LoopBuilder::input(TensorId id) {
  const auto found = std::find(inputs_.begin(), inputs_.end(), id);
  if (found != inputs_.end()) {
    return static_cast<int32_t>(found - inputs_.begin());
  }
  inputs_.push_back(id);
  return static_cast<int32_t>(inputs_.size() - 1);
}

Index LoopBuilder::broadcast(TensorId id, const Index& index) const {
  const std::vector<Expr>& shape = network_.type(id).shape;
  const size_t lead = index.size() - shape.size();
  Index result;
  for (size_t k = 0; k < shape.size(); ++k) {
    result.push_back(shape[k].is_constant(1) ? Expr(0) : index[lead + k]);
  }
  return result;
}

void LoopBuilder::define(TensorId id, Index index, OpId value) {
  defined_[id] = {std::move(index), value};
  computed_.clear();
}

OpId LoopBuilder::get(TensorId id, const Index& index, OpId guard) {
  if (const auto found = defined_.find(id); found != defined_.end()) {
    const std::vector<Expr>& shape = network_.type(id).shape;
    const Expr wanted = flat_index(shape, index, bounds_);
    const Expr given = flat_index(shape, found->second.first, bounds_);
    const bool same = wanted == given || bounds_.proves_equal(wanted, given);
    if (!same) {
      problem_ = "wanted " + wanted.str() + ", given " + given.str();
    }
    return found->second.second;
  }
  if (const auto scalar = scalar_value(network_.tensor(id))) {
    return constant(*scalar, network_.type(id).dtype);
  }
  return plan_.in_memory(id) ? read(id, index, guard) : compute(id, index, guard);
}

OpId LoopBuilder::read(TensorId id, const Index& index, OpId guard) {
  LoopOp op;
  op.kind = LoopOpKind::kLoad;
  op.dtype = network_.type(id).dtype;
  op.buffer = input(id);
  op.index = flat_index(network_.type(id).shape, index, bounds_);
  op.guard = guard;
  if (const std::vector<std::string> places = places_of(op.index); !places.empty()) {
    if (const std::optional<LinearForm> form = linear_form(op.index, places)) {
      op.index = form->constant_term;
      for (const std::string& name : places) {
        op.indirect.push_back({place_op(name), form->coefficients.at(name)});
      }
    } else {
      op.indirect.push_back({evaluate(op.index), 1});
      op.index = 0;
    }
  }
  return add(op);
}

OpId LoopBuilder::compute(TensorId id, const Index& index, OpId guard) {
  const int32_t producer = network_.tensor(id).producer;
  STATOR_CHECK(producer >= 0, "tensor " + network_.tensor(id).name + " has no producer");
  for (const Computed& known : computed_[id]) {
    if (known.guard == guard && known.index == index) {
      return known.value;
    }
  }
  const OpId value = compute_layer(network_.layers[static_cast<size_t>(producer)], index, guard);
  computed_[id].push_back({index, guard, value});
  return value;
}

OpId LoopBuilder::power(OpId x, float exponent) {
  if (exponent == 2 || exponent == 3) {
    const OpId square = elementwise(ElementwiseOp::kMul, x, x);
    return exponent == 2 ? square : elementwise(ElementwiseOp::kMul, square, x);
  }
  if (exponent == 0.5f) {
    return unary(UnaryOp::kSqrt, x);
  }
  if (exponent == -0.5f) {
    return unary(UnaryOp::kRsqrt, x);
  }
  return exponent == -1 ? unary(UnaryOp::kReciprocal, x) : x;
}

OpId LoopBuilder::compute_layer(const NetworkLayer& layer, const Index& index, OpId guard) {
  const auto operand = [&](size_t i) {
    return get(layer.inputs[i], broadcast(layer.inputs[i], index), guard);
  };
  const LayerAttributes& a = layer.attributes;
  if (is_view(a)) {
    return get(layer.inputs[0], view_index(network_, layer, index, bounds_), guard);
  }
  if (const auto* u = std::get_if<Unary>(&a)) {
    return unary(u->op, operand(0));
  }
  if (const auto* e = std::get_if<Elementwise>(&a)) {
    if (const std::optional<float> exponent = simple_exponent(network_, layer)) {
      return power(operand(0), *exponent);
    }
    const OpId x = operand(0);
    return elementwise(e->op, x, divisor(e->op, operand(1), guard));
  }
  if (const auto* c = std::get_if<Cast>(&a)) {
    return cast(operand(0), c->to);
  }
  if (std::holds_alternative<Select>(a)) {
    const OpId c = operand(0);
    const OpId x = operand(1);
    return select(c, x, operand(2));
  }
  if (const auto* f = std::get_if<Fill>(&a)) {
    return constant(f->value, f->dtype);
  }
  if (const auto* i = std::get_if<Iota>(&a)) {
    // The expression may be negative, which index arithmetic is not: start + step * position.
    const OpId position = this->index(index[0]);
    const OpId scaled = elementwise(ElementwiseOp::kMul, position, this->index(i->step));
    return cast(elementwise(ElementwiseOp::kAdd, scaled, this->index(i->start)), i->dtype);
  }
  if (const auto* s = std::get_if<SizeValue>(&a)) {
    return this->index(s->value);
  }
  if (const auto* c = std::get_if<Check>(&a)) {
    const OpId x = operand(0);
    const FaultSite site{c->error, c->dim, c->wrap};
    return layer.inputs.size() == 1 ? check(x, kNoOp, c->limit, site, guard)
                                    : check(operand(1), x, c->limit, site, guard);
  }
  if (std::holds_alternative<Gather>(a) || std::holds_alternative<GatherElements>(a) ||
      std::holds_alternative<IndexTensors>(a)) {
    return gather(layer, index, guard);
  }
  if (std::holds_alternative<Concat>(a)) {
    return concat(layer, index, guard);
  }
  if (std::holds_alternative<Pad>(a)) {
    return pad(layer, index, guard);
  }
  if (std::holds_alternative<SliceScatter>(a)) {
    return slice_scatter(layer, index, guard);
  }
  STATOR_CHECK(false, std::string(layer_kind_name(a)) + " is not computed in place");
}

/// Where a guard is false nothing is read, and what stands for it must not fail as a divisor.
OpId LoopBuilder::divisor(ElementwiseOp op, OpId x, OpId guard) {
  const bool divides = op == ElementwiseOp::kDiv || op == ElementwiseOp::kFloorDiv ||
                       op == ElementwiseOp::kTruncDiv || op == ElementwiseOp::kMod ||
                       op == ElementwiseOp::kFmod;
  if (guard == kNoOp || !divides || is_floating_point(dtype(x))) {
    return x;
  }
  return select(guard, x, constant(Scalar::of(int64_t{1}), dtype(x)));
}

/// `value`, or `result` where there is one, where 0 <= value < limit; negative ones wrap first.
OpId LoopBuilder::check(OpId value, OpId result, const Expr& limit, const FaultSite& site,
                        OpId guard) {
  if (site.wrap) {
    const OpId negative =
        elementwise(ElementwiseOp::kLess, value, constant(Scalar::of(int64_t{0}), DType::kInt64));
    value = select(negative, elementwise(ElementwiseOp::kAdd, value, index(limit)), value);
  }
  LoopOp op;
  op.kind = LoopOpKind::kCheckIndex;
  op.a = value;
  op.b = result;
  op.dtype = result == kNoOp ? DType::kInt64 : dtype(result);
  op.index = limit;
  op.site = site;
  op.guard = guard;
  return add(op);
}

/// Whether all elements are constants of which 0 <= element < limit is known. Those of the model
/// may be exchanged in a finished engine, and are checked in every run.
bool LoopBuilder::is_within(TensorId indices, const Expr& limit) const {
  const NetworkTensor& tensor = network_.tensor(indices);
  if (tensor.role != TensorRole::kConstant || !tensor.origin.name.empty() || !limit.is_constant()) {
    return false;
  }
  const auto all = [&](const auto* values) {
    const int64_t count = tensor.data.size_bytes / static_cast<int64_t>(sizeof(*values));
    return std::all_of(values, values + count,
                       [&](int64_t v) { return v >= 0 && v < limit.constant(); });
  };
  switch (tensor.type.dtype) {
    case DType::kInt64:
      return all(tensor.data.as<int64_t>());
    case DType::kInt32:
      return all(tensor.data.as<int32_t>());
    default:
      return false;
  }
}

/// Where along an axis of `limit` elements an index tensor points to.
Expr LoopBuilder::checked_place(TensorId indices, const Index& at, const Expr& limit,
                                const FaultSite& site, OpId guard) {
  OpId value = cast(get(indices, broadcast(indices, at), guard), DType::kInt64);
  if (!is_within(indices, limit)) {
    value = check(value, kNoOp, limit, site, guard);
    checked_.push_back({value, limit, site});
  }
  return place(value, limit);
}

/// The table's index for an index of the result.
Index LoopBuilder::gathered_index(const NetworkLayer& layer, const Index& index, OpId guard) {
  const std::vector<Expr>& shape = network_.type(layer.inputs[0]).shape;
  if (const auto* a = std::get_if<GatherElements>(&layer.attributes)) {
    const auto axis = static_cast<size_t>(a->axis);
    Index at = index;
    at[axis] =
        checked_place(layer.inputs[1], index, shape[axis], {a->error, a->axis, false}, guard);
    return at;
  }
  const auto* gather = std::get_if<Gather>(&layer.attributes);
  const auto* several = std::get_if<IndexTensors>(&layer.attributes);
  const auto first = static_cast<size_t>(gather != nullptr ? gather->axis : several->first_axis);
  const size_t count = layer.inputs.size() - 1;
  const size_t rank = index.size() - (shape.size() - count);
  const Index position(index.begin() + static_cast<int64_t>(first),
                       index.begin() + static_cast<int64_t>(first + rank));
  Index at;
  for (size_t k = 0; k < shape.size(); ++k) {
    if (k < first || k >= first + count) {
      at.push_back(index[k < first ? k : k - count + rank]);
      continue;
    }
    const FaultSite site =
        gather != nullptr ? FaultSite{gather->error, 0, gather->wrap}
                          : FaultSite{DataError::kIndex, static_cast<int64_t>(k - first), true};
    at.push_back(checked_place(layer.inputs[1 + k - first], position, shape[k], site, guard));
  }
  return at;
}

OpId LoopBuilder::gather(const NetworkLayer& layer, const Index& index, OpId guard) {
  const size_t before = checked_.size();
  const Index at = gathered_index(layer, index, guard);
  OpId value = get(layer.inputs[0], at, guard);
  // What was checked counts even where there is only one element to read.
  for (size_t k = before; k < checked_.size(); ++k) {
    const Checked& c = checked_[k];
    if (!depends_on(value, c.place)) {
      value = check(c.place, value, c.limit, {c.site.error, c.site.dim, false}, guard);
    }
  }
  checked_.resize(before);
  return value;
}

/// Whether `value` is computed from `place`. An op stands behind its operands.
bool LoopBuilder::depends_on(OpId value, OpId place) const {
  std::vector<bool> needed(static_cast<size_t>(value) + 1, false);
  needed.back() = true;
  for (OpId id = value; id > place; --id) {
    if (!needed[static_cast<size_t>(id)]) continue;
    const LoopOp& op = program_.ops[static_cast<size_t>(id)];
    for (const OpId operand : {op.a, op.b, op.c, op.guard}) {
      if (operand != kNoOp) needed[static_cast<size_t>(operand)] = true;
    }
    for (const Indirect& indirect : op.indirect) {
      needed[static_cast<size_t>(indirect.op)] = true;
    }
  }
  return place <= value && needed[static_cast<size_t>(place)];
}

OpId LoopBuilder::concat(const NetworkLayer& layer, const Index& index, OpId guard) {
  const auto axis = static_cast<size_t>(std::get<Concat>(layer.attributes).axis);
  std::vector<Expr> begins;
  Expr begin = 0;
  for (const TensorId id : layer.inputs) {
    begins.push_back(begin);
    begin = begin + network_.type(id).shape[axis];
  }
  OpId result = kNoOp;
  for (size_t i = layer.inputs.size(); i-- > 0;) {
    const TensorId id = layer.inputs[i];
    const Expr size = network_.type(id).shape[axis];
    Index part = index;
    part[axis] = simplify(index[axis] - begins[i], bounds_);
    const OpId here = within(index[axis], begins[i], begins[i] + size);
    const OpId value = get(id, part, both(guard, here));
    result = result == kNoOp || here == kNoOp ? value : select(here, value, result);
  }
  return result;
}

OpId LoopBuilder::pad(const NetworkLayer& layer, const Index& index, OpId guard) {
  const auto& attributes = std::get<Pad>(layer.attributes);
  const TensorId id = layer.inputs[0];
  const std::vector<Expr>& shape = network_.type(id).shape;
  Index inner;
  OpId here = kNoOp;
  for (size_t k = 0; k < shape.size(); ++k) {
    inner.push_back(simplify(index[k] - attributes.before[k], bounds_));
    here = both(here, within(index[k], attributes.before[k], attributes.before[k] + shape[k]));
  }
  const OpId value = get(id, inner, both(guard, here));
  return here == kNoOp ? value : select(here, value, constant(attributes.value, dtype(value)));
}

OpId LoopBuilder::slice_scatter(const NetworkLayer& layer, const Index& index, OpId guard) {
  const auto& attributes = std::get<SliceScatter>(layer.attributes);
  const auto axis = static_cast<size_t>(attributes.axis);
  const Expr step = attributes.step;
  const Expr& size = network_.type(layer.inputs[1]).shape[axis];
  const Expr offset = simplify(index[axis] - attributes.start, bounds_);
  OpId here = within(index[axis], attributes.start, attributes.start + step * size);
  if (!step.is_constant(1)) {
    const OpId on_step =
        elementwise(ElementwiseOp::kEqual, this->index(mod(offset, step)), this->index(0));
    here = both(here, on_step);
  }
  Index part = index;
  part[axis] = simplify(floor_div(offset, step), bounds_);
  const OpId value = get(layer.inputs[1], part, both(guard, here));
  if (here == kNoOp) {
    return value;
  }
  return select(here, value, get(layer.inputs[0], index, guard));
}

void LoopBuilder::store(int32_t output, Expr index, OpId value) {
  program_.stores.push_back({output, simplify(index, bounds_), value});
}

void LoopBuilder::finish(bool may_merge_dims) {
  for (LoopStore& store : program_.stores) {
    store.buffer += static_cast<int32_t>(inputs_.size());
  }
  if (may_merge_dims) {
    merge_dims(program_);
  }
}

}  // namespace stator
