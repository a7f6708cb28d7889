// SPDX-License-Identifier: Apache-2.0
#include "symbolic/parse_calls.h"

#include <map>
#include <string>

namespace stator {
namespace {

using Args = std::vector<Expr>;
using Maker = Result<Expr> (*)(const Args&);

Error no(const std::string& why) { return Error{ErrorCode::kInvalidArgument, why}; }

bool any_float(const Args& args) {
  for (const Expr& e : args) {
    if (e.is_float()) return true;
  }
  return false;
}

/// a // b and a % b of integers.
Result<Expr> divided(const Args& args, Expr (*operation)(const Expr&, const Expr&)) {
  if (any_float(args)) {
    return no("divides numbers that are not integers by // or %, which sizes cannot hold");
  }
  if (args[1].is_constant(0)) {
    return no("divides by zero");
  }
  return operation(args[0], args[1]);
}

/// Python's a / b.
Result<Expr> quotient(const Args& args) {
  const SizeFunction function =
      any_float(args) ? SizeFunction::kFloatTrueDiv : SizeFunction::kIntTrueDiv;
  if (args[1].is_constant(0)) {
    return no("divides by zero");
  }
  return Expr::call(function, args);
}

Result<Expr> power(const Args& args) {
  const Expr& exponent = args[1];
  if (any_float(args)) {
    return Expr::call(SizeFunction::kFloatPow, args);
  }
  if (!exponent.is_constant()) {
    return Expr::call(SizeFunction::kPowByNatural, args);
  }
  if (exponent.constant() < 0) {
    return Expr::call(SizeFunction::kFloatPow, args);
  }
  if (exponent.constant() > 8) {
    return Expr::call(SizeFunction::kPowByNatural, args);
  }
  Expr result = 1;
  for (int64_t i = 0; i < exponent.constant(); ++i) {
    result = result * args[0];
  }
  return result;
}

Result<Expr> shifted(const Args& args, bool left) {
  if (any_float(args)) {
    return no("shifts a number that is not an integer");
  }
  const Expr factor = Expr::call(SizeFunction::kPowByNatural, {2, args[1]});
  return left ? args[0] * factor : floor_div(args[0], factor);
}

Result<Expr> rounded(const Args& args) {
  if (args.size() == 2) {
    if (args[1].is_float()) return no("rounds to digits that are no integer");
    return Expr::call(SizeFunction::kRoundDecimal, args);
  }
  return args[0].is_float() ? Expr::call(SizeFunction::kRoundToInt, args) : args[0];
}

/// Where(condition, a, b) of integers.
Result<Expr> chosen(const Args& args) {
  if (args[1].is_float() || args[2].is_float()) {
    return no("chooses between numbers that are not integers, which sizes cannot hold");
  }
  return args[2] + truth(args[0]) * (args[1] - args[2]);
}

template <SizeFunction function>
Result<Expr> one(const Args& args) {
  const bool integer = size_function(function).types[1] == 'i';
  return integer && !args[0].is_float() ? args[0] : Expr::call(function, args);
}

template <SizeFunction function>
Result<Expr> two_bits(const Args& args) {
  if (any_float(args)) {
    return no("takes bits of a number that is not an integer");
  }
  return Expr::call(function, args);
}

template <Comparison kind>
Result<Expr> compare(const Args& args) {
  return compared(kind, args[0], args[1]);
}

template <Expr (*operation)(const Expr&, const Expr&)>
Result<Expr> fold(const Args& args) {
  Expr result = args[0];
  for (size_t i = 1; i < args.size(); ++i) {
    result = operation(result, args[i]);
  }
  return result;
}

Result<Expr> same(const Args& args) { return args[0]; }
Expr conjunction(const Expr& a, const Expr& b) { return Expr::all(truth(a), truth(b)); }
Expr disjunction(const Expr& a, const Expr& b) { return Expr::any(truth(a), truth(b)); }
Expr sum_of(const Expr& a, const Expr& b) { return a + b; }
Expr product_of(const Expr& a, const Expr& b) { return a * b; }

struct Row {
  size_t least, most;  // arguments
  Maker make;
};

constexpr size_t kMany = SIZE_MAX;

const std::map<std::string_view, Row>& rows() {
  static const auto* table = [] {
    auto* t = new std::map<std::string_view, Row>{
        {"Integer", {1, 1, same}},
        {"Identity", {1, 1, same}},
        {"Add", {1, kMany, fold<sum_of>}},
        {"Mul", {1, kMany, fold<product_of>}},
        {"FloatAdd", {2, 2, fold<sum_of>}},
        {"FloatMul", {2, 2, fold<product_of>}},
        {"Pow", {2, 2, power}},
        {"PowByNatural", {2, 2, power}},
        {"FloatPow", {2, 2, power}},
        {"Rational", {2, 2, quotient}},
        {"TrueDiv", {2, 2, quotient}},
        {"IntTrueDiv", {2, 2, quotient}},
        {"FloatTrueDiv", {2, 2, quotient}},
        {"LShift", {2, 2, [](const Args& a) { return shifted(a, true); }}},
        {"RShift", {2, 2, [](const Args& a) { return shifted(a, false); }}},
        {"Where", {3, 3, chosen}},
        {"And", {1, kMany, fold<conjunction>}},
        {"Or", {1, kMany, fold<disjunction>}},
        {"Not", {1, 1, [](const Args& a) -> Result<Expr> { return Expr::none(truth(a[0])); }}},
        {"RoundDecimal", {2, 2, rounded}},
        {"CeilDiv", {2, 2, [](const Args& a) { return divided(a, ceil_div); }}},
    };
    for (const char* name : {"Min", "min", "sym_min", "FloatMin"}) {
      t->emplace(name, Row{1, kMany, fold<min>});
    }
    for (const char* name : {"Max", "max", "sym_max", "FloatMax"}) {
      t->emplace(name, Row{1, kMany, fold<max>});
    }
    for (const char* name : {"Abs", "abs"}) {
      t->emplace(name, Row{1, 1, [](const Args& a) -> Result<Expr> { return max(a[0], -a[0]); }});
    }
    for (const char* name : {"FloorDiv", "CleanDiv"}) {
      t->emplace(name, Row{2, 2, [](const Args& a) { return divided(a, floor_div); }});
    }
    for (const char* name : {"Mod", "PythonMod"}) {
      t->emplace(name, Row{2, 2, [](const Args& a) { return divided(a, mod); }});
    }
    for (const char* name : {"ToFloat", "sym_float", "float"}) {
      t->emplace(name, Row{1, 1, [](const Args& a) -> Result<Expr> {
                             return a[0].is_float() ? a[0] : Expr::call(SizeFunction::kToFloat, a);
                           }});
    }
    for (const char* name : {"TruncToInt", "trunc", "sym_int", "int"}) {
      t->emplace(name, Row{1, 1, one<SizeFunction::kTruncToInt>});
    }
    for (const char* name : {"FloorToInt", "floor"}) {
      t->emplace(name, Row{1, 1, one<SizeFunction::kFloorToInt>});
    }
    for (const char* name : {"CeilToInt", "ceil", "ceiling"}) {
      t->emplace(name, Row{1, 1, one<SizeFunction::kCeilToInt>});
    }
    for (const char* name : {"RoundToInt", "round"}) {
      t->emplace(name, Row{1, 2, rounded});
    }
    t->emplace("TruncToFloat", Row{1, 1, one<SizeFunction::kTruncToFloat>});
    for (const char* name : {"BitwiseFn_bitwise_and", "BitAnd"}) {
      t->emplace(name, Row{2, 2, two_bits<SizeFunction::kBitAnd>});
    }
    for (const char* name : {"BitwiseFn_bitwise_or", "BitOr"}) {
      t->emplace(name, Row{2, 2, two_bits<SizeFunction::kBitOr>});
    }
    for (const char* name : {"BitwiseFn_bitwise_xor", "BitXor"}) {
      t->emplace(name, Row{2, 2, two_bits<SizeFunction::kBitXor>});
    }
    for (const char* name : {"Eq", "Equality"}) {
      t->emplace(name, Row{2, 2, compare<Comparison::kEqual>});
    }
    for (const char* name : {"Ne", "Unequality"}) {
      t->emplace(name, Row{2, 2, compare<Comparison::kNotEqual>});
    }
    for (const char* name : {"Lt", "StrictLessThan"}) {
      t->emplace(name, Row{2, 2, compare<Comparison::kLess>});
    }
    for (const char* name : {"Le", "LessThan"}) {
      t->emplace(name, Row{2, 2, compare<Comparison::kLessEqual>});
    }
    for (const char* name : {"Gt", "StrictGreaterThan"}) {
      t->emplace(name, Row{2, 2, compare<Comparison::kGreater>});
    }
    for (const char* name : {"Ge", "GreaterThan"}) {
      t->emplace(name, Row{2, 2, compare<Comparison::kGreaterEqual>});
    }
    return t;
  }();
  return *table;
}

/// "OpaqueUnaryFn_sqrt", "sym_sqrt" and "_sym_sqrt" → "sqrt".
std::string_view plain_name(std::string_view name) {
  for (const std::string_view prefix : {"OpaqueUnaryFn_", "_sym_", "sym_"}) {
    if (name.starts_with(prefix)) return name.substr(prefix.size());
  }
  return name;
}

}  // namespace

Expr compared(Comparison kind, const Expr& a, const Expr& b) {
  switch (kind) {
    case Comparison::kEqual:
      return Expr::equal(a, b);
    case Comparison::kNotEqual:
      return Expr::none(Expr::equal(a, b));
    case Comparison::kLess:
      return Expr::less(a, b);
    case Comparison::kLessEqual:
      return Expr::less_equal(a, b);
    case Comparison::kGreater:
      return Expr::less(b, a);
    default:
      return Expr::less_equal(b, a);
  }
}

Expr truth(const Expr& e) { return e.is_condition() ? e : Expr::none(Expr::equal(e, 0)); }

Result<Expr> call_by_name(std::string_view name, const Args& args) {
  if (const auto found = rows().find(name); found != rows().end()) {
    const Row& row = found->second;
    if (args.size() < row.least || args.size() > row.most) {
      return no("calls " + std::string(name) + " with " + std::to_string(args.size()) +
                " arguments");
    }
    return row.make(args);
  }
  for (int f = static_cast<int>(SizeFunction::kSqrt); f <= static_cast<int>(SizeFunction::kAsinh);
       ++f) {
    const auto function = static_cast<SizeFunction>(f);
    if (plain_name(name) == size_function(function).name && args.size() == 1) {
      return Expr::call(function, args);
    }
  }
  return no("uses the function " + std::string(name) + ", which sizes cannot hold");
}

}  // namespace stator
