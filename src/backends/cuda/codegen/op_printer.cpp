// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/op_printer.h"

#include <cmath>
#include <cstdio>
#include <cstring>

#include "base/check.h"
#include "base/float_element.h"

namespace stator::cuda {
namespace {

bool divides(const Expr& e, int64_t n) {
  switch (e.kind()) {
    case ExprKind::kConstant:
      return e.constant() % n == 0;
    case ExprKind::kAdd: {
      for (const Expr& part : e.operands()) {
        if (!divides(part, n)) return false;
      }
      return true;
    }
    case ExprKind::kMul: {
      int64_t rest = n;
      for (const Expr& part : e.operands()) {
        for (int64_t f = rest; f > 1; f /= 2) {
          if (divides(part, f)) {
            rest /= f;
            break;
          }
        }
      }
      return rest <= 1;
    }
    case ExprKind::kMin:
    case ExprKind::kMax:
      return divides(e.operands()[0], n) && divides(e.operands()[1], n);
    case ExprKind::kMod:
      return divides(e.operands()[0], n) && divides(e.operands()[1], n);
    default:
      return n == 1;
  }
}

}  // namespace

bool is_multiple(const Expr& e, int64_t n) { return n <= 1 || divides(e, n); }

const char* fold_name(ReduceOp op) {
  switch (op) {
    case ReduceOp::kProd:
      return "Prod";
    case ReduceOp::kMax:
      return "Max";
    case ReduceOp::kMin:
      return "Min";
    case ReduceOp::kAny:
      return "Any";
    case ReduceOp::kAll:
      return "All";
    default:
      return "Sum";
  }
}

std::string neutral_literal(ReduceOp op, DType dtype) {
  const bool real = is_floating_point(dtype);
  const std::string type = register_type(dtype);
  switch (op) {
    case ReduceOp::kProd:
      return type + "(1)";
    case ReduceOp::kAll:
      return dtype == DType::kBool ? "true" : type + "(-1)";
    case ReduceOp::kMax:
    case ReduceOp::kMin: {
      const bool max = op == ReduceOp::kMax;
      if (real) return std::string(max ? "-" : "") + type + "(INFINITY)";
      if (dtype == DType::kBool) return max ? "false" : "true";
      if (dtype == DType::kUInt8) return max ? type + "(0)" : type + "(255)";
      const auto bits = static_cast<int>(8 * dtype_bytes(dtype));
      const std::string least = "(i64(-1) << " + std::to_string(bits - 1) + ")";
      return type + (max ? least : "(~" + least + ")");
    }
    default:
      return type + "(0)";
  }
}

std::vector<bool> ops_rounded_to_halves(const LoopProgram& program) {
  std::vector<bool> rounded(program.ops.size(), true);
  const auto read = [&rounded](OpId id) {
    if (id != kNoOp) rounded[static_cast<size_t>(id)] = false;
  };
  for (const LoopOp& op : program.ops) {
    if (op.kind != LoopOpKind::kCast || !is_half(op.dtype)) read(op.a);
    read(op.b);
    read(op.c);
    read(op.guard);
    for (const Indirect& indirect : op.indirect) read(indirect.op);
  }
  for (const LoopStore& store : program.stores) read(store.value);
  for (size_t i = 0; i < rounded.size(); ++i) {
    rounded[i] = rounded[i] && program.ops[i].dtype == DType::kFloat32;
  }
  return rounded;
}

bool has_unary(UnaryOp op, DType dtype) {
  if (is_floating_point(dtype)) {
    return true;
  }
  switch (op) {
    case UnaryOp::kNeg:
    case UnaryOp::kAbs:
    case UnaryOp::kRelu:
    case UnaryOp::kSign:
      return is_integral(dtype);
    case UnaryOp::kNot:
      return true;
    default:
      return false;
  }
}

bool has_elementwise(ElementwiseOp op, DType dtype) {
  const bool real = is_floating_point(dtype);
  switch (op) {
    case ElementwiseOp::kAdd:
    case ElementwiseOp::kSub:
    case ElementwiseOp::kMul:
    case ElementwiseOp::kFloorDiv:
    case ElementwiseOp::kTruncDiv:
    case ElementwiseOp::kMod:
    case ElementwiseOp::kFmod:
    case ElementwiseOp::kPow:
      return dtype != DType::kBool;
    case ElementwiseOp::kDiv:
    case ElementwiseOp::kAtan2:
      return real;
    case ElementwiseOp::kAnd:
    case ElementwiseOp::kOr:
    case ElementwiseOp::kXor:
      return !real;
    case ElementwiseOp::kShiftLeft:
    case ElementwiseOp::kShiftRight:
      return is_integral(dtype);
    default:
      return true;
  }
}

bool OpPrinter::depends_on_lane(const Expr& e, const PrintPoint& point) const {
  return point.lanes > 1 && e.uses_symbol(index_symbol(point.lane_dim));
}

std::string OpPrinter::index(const Expr& e, const PrintPoint& point,
                             const std::string& lane) const {
  const auto join = [&](const char* op) {
    std::string text = "(";
    for (size_t i = 0; i < e.operands().size(); ++i) {
      text += (i > 0 ? op : "") + index(e.operands()[i], point, lane);
    }
    return text + ")";
  };
  // A guarded load's index is computed where the guard is false too.
  const auto divisor = [&] {
    const Expr& d = e.operands()[1];
    const std::string text = index(d, point, lane);
    return d.is_constant() ? text : "max(" + text + ", " + scope_.index_type + "(1))";
  };
  switch (e.kind()) {
    case ExprKind::kConstant:
      return scope_.index_type + "(" + std::to_string(e.constant()) + ")";
    case ExprKind::kSymbol: {
      if (e.symbol_name()[0] != '$') {
        const auto found = scope_.sizes.find(e.symbol_name());
        STATOR_CHECK(found != scope_.sizes.end(), "size " + e.symbol_name() + " is not known");
        return found->second;
      }
      const int dim = std::stoi(e.symbol_name().substr(1));
      const std::string& first = point.index[static_cast<size_t>(dim)];
      STATOR_CHECK(!first.empty(), "index " + e.symbol_name() + " is not known here");
      return dim == point.lane_dim && !lane.empty() ? "(" + first + " + " + lane + ")" : first;
    }
    case ExprKind::kAdd:
      return join(" + ");
    case ExprKind::kMul:
      return join(" * ");
    case ExprKind::kFloorDiv:
      return "(" + index(e.operands()[0], point, lane) + " / " + divisor() + ")";
    case ExprKind::kMod:
      return "(" + index(e.operands()[0], point, lane) + " % " + divisor() + ")";
    case ExprKind::kMin:
    case ExprKind::kMax:
      return std::string(e.kind() == ExprKind::kMin ? "min" : "max") + "(" +
             index(e.operands()[0], point, lane) + ", " + index(e.operands()[1], point, lane) + ")";
    case ExprKind::kReal:
    case ExprKind::kCall:  // named before there were regions
      break;
  }
  STATOR_CHECK(false, "an expression of no kind");
}

bool OpPrinter::is_vector_access(const Expr& index, DType dtype, const PrintPoint& point) const {
  if (point.lanes < 2 || point.lanes * dtype_bytes(dtype) > 32) {
    return false;
  }
  const std::string lane = index_symbol(point.lane_dim);
  const std::optional<LinearForm> form = linear_form(index, {lane});
  // The lane dim's index is a multiple of the lanes; the rest must be one too.
  return form.has_value() && form->coefficients.at(lane).is_constant(1) &&
         is_multiple(form->constant_term, point.lanes);
}

std::string OpPrinter::operand(OpId op, const std::string& lane) { return values_.at(op).at(lane); }

void OpPrinter::set_accumulators(const Value& value) {
  for (size_t id = 0; id < scope_.program->ops.size(); ++id) {
    if (scope_.program->ops[id].kind == LoopOpKind::kAccumulator) {
      set(static_cast<OpId>(id), value);
    }
  }
}

OpPrinter::Value OpPrinter::get(OpId id, const PrintPoint& point) {
  const auto found = values_.find(id);
  if (found != values_.end()) {
    return found->second;
  }
  const LoopOp& op = scope_.program->ops[static_cast<size_t>(id)];
  bool by_lane = false;
  for (const OpId input : {op.a, op.b, op.c, op.guard}) {
    if (input != kNoOp) by_lane = get(input, point).by_lane || by_lane;
  }
  for (const Indirect& indirect : op.indirect) {
    by_lane = get(indirect.op, point).by_lane || by_lane;
  }
  if (op.kind == LoopOpKind::kLoad || op.kind == LoopOpKind::kIndex) {
    by_lane = by_lane || depends_on_lane(op.index, point);
  }
  Value value = declare(op, id, by_lane, point);
  values_[id] = value;
  return value;
}

OpPrinter::Value OpPrinter::declare(const LoopOp& op, OpId id, bool by_lane,
                                    const PrintPoint& point) {
  Value value{prefix_ + std::to_string(id), by_lane};
  const std::string type = register_type(op.dtype);
  if (!by_lane) {
    out_.line(type + " " + value.name + " = " + expression(op, point, "") + ";");
    return value;
  }
  out_.line(type + " " + value.name + "[" + std::to_string(point.lanes) + "];");
  if (op.kind == LoopOpKind::kLoad) {
    load_into(value.name, op, point);
    return value;
  }
  out_.line("#pragma unroll");
  out_.line("for (int l = 0; l < " + std::to_string(point.lanes) + "; ++l) " + value.name +
            "[l] = " + expression(op, point, "l") + ";");
  return value;
}

void OpPrinter::load_into(const std::string& array, const LoopOp& op, const PrintPoint& point) {
  const std::string lanes = std::to_string(point.lanes);
  const DType stored = scope_.buffer_types[static_cast<size_t>(op.buffer)];
  const bool lane_guard = op.guard != kNoOp && values_.at(op.guard).by_lane;
  const bool whole =
      op.indirect.empty() && !lane_guard && is_vector_access(op.index, stored, point);
  if (!whole) {
    out_.line("#pragma unroll");
    out_.line("for (int l = 0; l < " + lanes + "; ++l) " + array +
              "[l] = " + expression(op, point, "l") + ";");
    return;
  }
  const std::string type = std::string("Vec<") + memory_type(stored) + ", " + lanes + ">";
  const std::string base = "b" + std::to_string(op.buffer) + " + " + index(op.index, point, "");
  out_.line("{");
  out_.line(type + " t = {};");
  const std::string load = "t = *reinterpret_cast<const " + type + "*>(" + base + ");";
  out_.line(op.guard == kNoOp ? load : "if (" + values_.at(op.guard).name + ") " + load);
  out_.line("#pragma unroll");
  out_.line("for (int l = 0; l < " + lanes + "; ++l) " + array +
            "[l] = " + from_memory(stored, "t.e[l]") + ";");
  out_.line("}");
}

std::string OpPrinter::address(const LoopOp& op, const PrintPoint& point, const std::string& lane) {
  std::string text = index(op.index, point, lane);
  for (const Indirect& indirect : op.indirect) {
    text += " + " + scope_.index_type + "(" + operand(indirect.op, lane) + ") * " +
            index(indirect.stride, point, "");
  }
  return "b" + std::to_string(op.buffer) + "[" + text + "]";
}

void OpPrinter::store(const LoopStore& store, const PrintPoint& point) {
  const Value value = get(store.value, point);
  const DType dtype = scope_.buffer_types[static_cast<size_t>(store.buffer)];
  const std::string lanes = std::to_string(point.lanes);
  const std::string buffer = "b" + std::to_string(store.buffer);
  if (!depends_on_lane(store.index, point)) {
    out_.line(buffer + "[" + index(store.index, point, "") +
              "] = " + to_memory(dtype, value.at("0")) + ";");
    return;
  }
  if (!is_vector_access(store.index, dtype, point)) {
    out_.line("#pragma unroll");
    out_.line("for (int l = 0; l < " + lanes + "; ++l) " + buffer + "[" +
              index(store.index, point, "l") + "] = " + to_memory(dtype, value.at("l")) + ";");
    return;
  }
  const std::string type = std::string("Vec<") + memory_type(dtype) + ", " + lanes + ">";
  out_.line("{");
  out_.line(type + " t;");
  out_.line("#pragma unroll");
  out_.line("for (int l = 0; l < " + lanes + "; ++l) t.e[l] = " + to_memory(dtype, value.at("l")) +
            ";");
  out_.line("*reinterpret_cast<" + type + "*>(" + buffer + " + " + index(store.index, point, "") +
            ") = t;");
  out_.line("}");
}

std::string OpPrinter::constant(const Scalar& scalar, DType dtype) const {
  const std::string type = register_type(dtype);
  if (is_floating_point(dtype)) {
    if (std::isnan(scalar.real)) return type + "(NAN)";
    if (std::isinf(scalar.real))
      return std::string(scalar.real < 0 ? "-" : "") + type + "(INFINITY)";
    char text[64];
    std::snprintf(text, sizeof text, "%.17g", scalar.real);
    // A whole number would be an int, which has no negative zero.
    const bool real = std::strpbrk(text, ".e") != nullptr;
    return type + "(" + text + (real ? ")" : ".0)");
  }
  const int64_t value = scalar.is_integer ? scalar.integer : static_cast<int64_t>(scalar.real);
  if (value == INT64_MIN) return type + "(i64(1) << 63)";
  return type + "(" + std::to_string(value) + "ll)";
}

std::string OpPrinter::expression(const LoopOp& op, const PrintPoint& point,
                                  const std::string& lane) {
  const auto type_of = [&](OpId id) { return scope_.program->ops[static_cast<size_t>(id)].dtype; };
  switch (op.kind) {
    case LoopOpKind::kLoad: {
      const DType stored = scope_.buffer_types[static_cast<size_t>(op.buffer)];
      const std::string value = from_memory(stored, address(op, point, lane));
      return op.guard == kNoOp ? value
                               : "(" + operand(op.guard, lane) + " ? " + value + " : " +
                                     register_type(op.dtype) + "(0))";
    }
    case LoopOpKind::kConstant:
      return constant(op.scalar, op.dtype);
    case LoopOpKind::kIndex:
      return "i64(" + index(op.index, point, lane) + ")";
    case LoopOpKind::kUnary:
      return unary(op.unary, type_of(op.a),
                   scope_.rounded[static_cast<size_t>(&op - scope_.program->ops.data())],
                   operand(op.a, lane));
    case LoopOpKind::kElementwise:
      return elementwise(op.elementwise, type_of(op.a), operand(op.a, lane), operand(op.b, lane));
    case LoopOpKind::kSelect:
      return "(" + operand(op.a, lane) + " ? " + operand(op.b, lane) + " : " + operand(op.c, lane) +
             ")";
    case LoopOpKind::kCast:
      // What lies within 32 bits needs no 64; NaN gives 0 either way.
      if (dtype_bytes(op.dtype) < 4 && is_integral(op.dtype) && is_clamped(op.a)) {
        return std::string(register_type(op.dtype)) + "(int(" + operand(op.a, lane) + "))";
      }
      return cast(type_of(op.a), op.dtype, operand(op.a, lane));
    case LoopOpKind::kCheckIndex: {
      const std::string limit = op.index.is_constant()  // may be more than an index takes
                                    ? std::to_string(op.index.constant()) + "ll"
                                    : "i64(" + index(op.index, point, "") + ")";
      const std::string x = operand(op.a, lane);
      return std::string("checked<") + register_type(op.dtype) + ">(" + x + ", " + limit + ", " +
             (op.b == kNoOp ? x : operand(op.b, lane)) + ", " +
             (op.guard == kNoOp ? "true" : operand(op.guard, lane)) + ", " +
             std::to_string(op.site.code()) + ", fault)";
    }
    case LoopOpKind::kReduce:
    case LoopOpKind::kAccumulator:
      break;
  }
  STATOR_CHECK(false, "an op is needed before it is known");
}

/// min(max(x, low), high) of float32 with numbers of 32 bits.
bool OpPrinter::is_clamped(OpId id) const {
  const auto bounded = [this](OpId at, ElementwiseOp wanted) -> OpId {
    const LoopOp& op = scope_.program->ops[static_cast<size_t>(at)];
    if (op.kind != LoopOpKind::kElementwise || op.elementwise != wanted ||
        op.dtype != DType::kFloat32) {
      return kNoOp;
    }
    const LoopOp& bound = scope_.program->ops[static_cast<size_t>(op.b)];
    const bool small =
        bound.kind == LoopOpKind::kConstant && std::abs(bound.scalar.real) <= 1 << 30;
    return small ? op.a : kNoOp;
  };
  const OpId lower = bounded(id, ElementwiseOp::kMin);
  return lower != kNoOp && bounded(lower, ElementwiseOp::kMax) != kNoOp;
}

std::string OpPrinter::cast(DType from, DType to, const std::string& x) const {
  if (from == to) return x;
  const std::string type = register_type(to);
  if (to == DType::kBool) return "(" + x + " != " + register_type(from) + "(0))";
  if (is_half(to)) {  // an explicit cast rounds
    return from_memory(to, to_memory(to, "float(" + x + ")"));
  }
  if (is_floating_point(from) && !is_floating_point(to)) {
    return std::string("real_to_whole<") + type + ">(" + x + ")";
  }
  return type + std::string("(") + x + ")";
}

std::string OpPrinter::unary(UnaryOp op, DType dtype, bool half, const std::string& x) const {
  const bool real = is_floating_point(dtype);
  half = half || is_half(dtype);  // fast functions are exact enough for 8 or 11 bits
  const std::string type = register_type(dtype);
  const auto call = [&](const char* name) { return std::string(name) + "(" + x + ")"; };
  const std::string sigmoid = half ? call("fast_sigmoid") : call("sigmoid_of");
  const auto lit = [&](const char* v) { return type + "(" + v + ")"; };
  switch (op) {
    case UnaryOp::kNeg:
      return type + "(-" + x + ")";
    case UnaryOp::kAbs:
      return real ? call("fabs")
                  : "(" + x + " < " + lit("0") + " ? " + type + "(-" + x + ") : " + x + ")";
    case UnaryOp::kSign:
      return type + "((" + x + " > " + lit("0") + ") - (" + x + " < " + lit("0") + "))";
    case UnaryOp::kExp:
      return half ? call("__expf") : call("exp");
    case UnaryOp::kExp2:
      return call("exp2");
    case UnaryOp::kExpm1:
      return call("expm1");
    case UnaryOp::kLog:
      return call("log");
    case UnaryOp::kLog2:
      return call("log2");
    case UnaryOp::kLog10:
      return call("log10");
    case UnaryOp::kLog1p:
      return call("log1p");
    case UnaryOp::kSqrt:
      return call("sqrt");
    case UnaryOp::kRsqrt:
      return half ? call("rsqrt") : "(" + lit("1") + " / sqrt(" + x + "))";
    case UnaryOp::kReciprocal:
      return "(" + lit("1") + " / " + x + ")";
    case UnaryOp::kSin:
      return call("sin");
    case UnaryOp::kCos:
      return call("cos");
    case UnaryOp::kTan:
      return call("tan");
    case UnaryOp::kAsin:
      return call("asin");
    case UnaryOp::kAcos:
      return call("acos");
    case UnaryOp::kAtan:
      return call("atan");
    case UnaryOp::kSinh:
      return call("sinh");
    case UnaryOp::kCosh:
      return call("cosh");
    case UnaryOp::kTanh:
      return half ? call("fast_tanh") : call("tanh");
    case UnaryOp::kAsinh:
      return call("asinh");
    case UnaryOp::kAcosh:
      return call("acosh");
    case UnaryOp::kAtanh:
      return call("atanh");
    case UnaryOp::kErf:
      return call("erf");
    case UnaryOp::kFloor:
      return call("floor");
    case UnaryOp::kCeil:
      return call("ceil");
    case UnaryOp::kRound:
      return call("rint");
    case UnaryOp::kTrunc:
      return call("trunc");
    case UnaryOp::kNot:
      return dtype == DType::kBool ? "(!" + x + ")"
             : real                ? "(" + x + " == " + lit("0") + ")"
                                   : type + "(~" + x + ")";
    case UnaryOp::kIsNan:
      return call("is_nan");
    case UnaryOp::kSignBit:
      return real ? "(signbit(" + x + ") != 0)" : "(" + x + " < " + lit("0") + ")";
    case UnaryOp::kIsInf:
      return "(fabs(" + x + ") == " + lit("INFINITY") + ")";
    case UnaryOp::kRelu:
      return "(" + x + " <= " + lit("0") + " ? " + lit("0") + " : " + x + ")";
    case UnaryOp::kSigmoid:
      return sigmoid;
    case UnaryOp::kGelu:
      if (half) return call("fast_gelu");
      return "(" + lit("0.5") + " * " + x + " * (" + lit("1") + " + erf(" + x + " * " +
             lit("0.70710678118654752") + ")))";
    case UnaryOp::kGeluTanh: {
      const std::string inner = lit("0.79788456080286536") + " * (" + x + " + " + lit("0.044715") +
                                " * " + x + " * " + x + " * " + x + ")";
      return "(" + lit("0.5") + " * " + x + " * (" + lit("1") + " + " +
             (half ? "fast_tanh(" : "tanh(") + inner + ")))";
    }
    case UnaryOp::kSilu:
      return "(" + x + " * " + sigmoid + ")";
    case UnaryOp::kMish:
      return "(" + x + " * tanh(softplus_of(" + x + ")))";
    case UnaryOp::kSoftplus:
      return call("softplus_of");
    case UnaryOp::kHardSigmoid:
      return "(nan_min(nan_max(" + x + " + " + lit("3") + ", " + lit("0") + "), " + lit("6") +
             ") / " + lit("6") + ")";
    case UnaryOp::kHardSwish:
      return "(" + x + " * nan_min(nan_max(" + x + " + " + lit("3") + ", " + lit("0") + "), " +
             lit("6") + ") / " + lit("6") + ")";
    case UnaryOp::kLogSigmoid:
      return "(-softplus_of(-" + x + "))";
  }
  STATOR_CHECK(false, "a unary operation of no kind");
}

std::string OpPrinter::elementwise(ElementwiseOp op, DType dtype, const std::string& a,
                                   const std::string& b) const {
  const bool real = is_floating_point(dtype);
  const std::string type = register_type(dtype);
  const auto infix = [&](const char* sign) { return type + "(" + a + " " + sign + " " + b + ")"; };
  const auto compare = [&](const char* sign) { return "(" + a + " " + sign + " " + b + ")"; };
  const auto call = [&](const char* name) { return std::string(name) + "(" + a + ", " + b + ")"; };
  const auto whole = [&](const char* name) {
    return std::string(name) + "<" + type + ">(" + a + ", " + b + ", fault)";
  };
  switch (op) {
    case ElementwiseOp::kAdd:
      return infix("+");
    case ElementwiseOp::kSub:
      return infix("-");
    case ElementwiseOp::kMul:
      return infix("*");
    case ElementwiseOp::kDiv:
      return is_half(dtype) ? call("__fdividef") : infix("/");
    case ElementwiseOp::kFloorDiv:
      return real ? call("real_floor_div") : whole("whole_floor_div");
    case ElementwiseOp::kTruncDiv:
      return real ? "trunc(" + a + " / " + b + ")" : whole("whole_div");
    case ElementwiseOp::kMod:
      return real ? call("real_mod") : whole("whole_mod");
    case ElementwiseOp::kFmod:
      return real ? call("fmod") : whole("whole_fmod");
    case ElementwiseOp::kPow:
      return real ? call("pow") : "whole_pow<" + type + ">(" + a + ", " + b + ")";
    case ElementwiseOp::kMin:
      return call("nan_min");
    case ElementwiseOp::kMax:
      return call("nan_max");
    case ElementwiseOp::kEqual:
      return compare("==");
    case ElementwiseOp::kNotEqual:
      return compare("!=");
    case ElementwiseOp::kLess:
      return compare("<");
    case ElementwiseOp::kLessEqual:
      return compare("<=");
    case ElementwiseOp::kGreater:
      return compare(">");
    case ElementwiseOp::kGreaterEqual:
      return compare(">=");
    case ElementwiseOp::kAnd:
      return infix("&");
    case ElementwiseOp::kOr:
      return infix("|");
    case ElementwiseOp::kXor:
      return infix("^");
    case ElementwiseOp::kShiftLeft:
      return "shifted_left<" + type + ">(" + a + ", " + b + ")";
    case ElementwiseOp::kShiftRight:
      return "shifted_right<" + type + ">(" + a + ", " + b + ")";
    case ElementwiseOp::kAtan2:
      return call("atan2");
  }
  STATOR_CHECK(false, "an elementwise operation of no kind");
}

}  // namespace stator::cuda
