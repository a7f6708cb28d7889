// SPDX-License-Identifier: Apache-2.0
#include "stator/expr.h"

#include <gtest/gtest.h>

#include <random>

#include "symbolic/program.h"

namespace stator {
namespace {

const Expr s = Expr::symbol("s0");
const Expr t = Expr::symbol("s1");
const Expr i = Expr::symbol("$0");
const Expr j = Expr::symbol("$1");
const Expr k = Expr::symbol("$2");

TEST(Expr, PolynomialsAreCanonical) {
  EXPECT_EQ((s + 1) * (s - 1), s * s - 1);
  EXPECT_EQ(s + t - s, t);
  EXPECT_EQ(s - s, Expr(0));
  EXPECT_EQ((2 * s * t + 3).str(), "2*s0*s1 + 3");
  EXPECT_EQ((-s + t).str(), "-s0 + s1");
  EXPECT_EQ((t - 5).str(), "s1 - 5");
}

TEST(Expr, QuotientsTakeOutWhatDivides) {
  EXPECT_EQ(floor_div(4 * s, 2), 2 * s);
  EXPECT_EQ(floor_div(s * t, t), s);
  EXPECT_EQ(floor_div(s + 1, 2).str(), "(s0 + 1)//2");
  EXPECT_EQ(floor_div(4 * s + 3, 2), 2 * s + 1);
  EXPECT_EQ(floor_div((s + 1) * (t + 2), t + 2), s + 1);
  EXPECT_EQ(floor_div(Expr(-7), Expr(2)), Expr(-4));
  EXPECT_EQ(mod(Expr(-7), Expr(2)), Expr(1));
  EXPECT_EQ(mod(s * t, t), Expr(0));
  EXPECT_EQ(floor_div(floor_div(s, 2), 3), floor_div(s, 6));
}

TEST(Expr, ParsesBothForms) {
  EXPECT_EQ(parse_expr("2*s0*s1 + 3").value(), 2 * s * t + 3);
  EXPECT_EQ(parse_expr("((s0 + 1)//2)").value(), floor_div(s + 1, 2));
  EXPECT_EQ(
      parse_expr("Add(Mul(Integer(2), Symbol('s0', positive=True, integer=True)), Integer(-1))")
          .value(),
      2 * s - 1);
  EXPECT_EQ(parse_expr("torch.utils._sympy.functions.FloorDiv(Symbol('s0'), Integer(4))").value(),
            floor_div(s, 4));
  EXPECT_EQ(parse_expr("s0**2").value(), s * s);
  EXPECT_EQ(parse_expr("Max(1, s0)").value(), max(Expr(1), s));
  EXPECT_EQ(parse_expr("$0*4 + s0 % 3").value(), 4 * i + mod(s, 3));
  for (const char* bad :
       {"", "s0 +", "(s0", "1.5", "s0 // 0", "Foo(s0)", "s0 s1", "99999999999999999999",
        "9223372036854775807 * 2", "Symbol(", "FloorDiv(1, 0)"}) {
    EXPECT_FALSE(parse_expr(bad).ok()) << bad;
  }
  EXPECT_FALSE(parse_expr(std::string(5000, '(')).ok());
}

TEST(Bounds, ProvesWithCorrelatedTerms) {
  Bounds b;
  b.set("s0", 1, 64);
  b.set("s1", 2);
  EXPECT_TRUE(b.proves_less(Expr(0), s));
  EXPECT_TRUE(b.proves_less_equal(t, s * t));
  EXPECT_FALSE(b.proves_less(t, s * t));
  EXPECT_EQ(b.greatest(s), 64);
  EXPECT_EQ(b.greatest(t), std::nullopt);
  EXPECT_TRUE(b.proves_not_equal(t, Expr(1)));
}

TEST(Simplify, FoldsIndexMapsOfReshapes) {
  Bounds b;
  b.set("s0", 1, 64);
  b.set_index("$0", s);
  b.set_index("$1", Expr(12));
  b.set_index("$2", Expr(64));
  const Expr flat = i * 768 + j * 64 + k;
  EXPECT_EQ(simplify(floor_div(flat, 768), b), i);
  EXPECT_EQ(simplify(mod(flat, 768), b), j * 64 + k);
  EXPECT_EQ(simplify(floor_div(mod(flat, 768), 64), b), j);
  EXPECT_EQ(simplify(mod(flat, 64), b), k);
  EXPECT_EQ(simplify(floor_div(flat, 64), b), i * 12 + j);
  // Split by a divisor whose factor is the whole remainder's range.
  EXPECT_EQ(simplify(floor_div(j * 64 + k, 128), b), floor_div(j, 2));
  // Symbolic extents: [$0 < s0, $3 < s1].
  b.set("s1", 1);
  b.set_index("$3", t);
  const Expr l = Expr::symbol("$3");
  EXPECT_EQ(simplify(floor_div(i * t + l, t), b), i);
  EXPECT_EQ(simplify(mod(i * t + l, t), b), l);
  EXPECT_EQ(simplify(min(i, s), b), i);
}

TEST(Simplify, LeavesWhatNegativeNumbersForbid) {
  Bounds bounds;
  bounds.set("s0", INT64_MIN);  // a number that the caller gives, no size
  bounds.set("s1", 0);
  EXPECT_FALSE(bounds.least(s));
  EXPECT_FALSE(bounds.least(s * t));
  EXPECT_FALSE(bounds.greatest(s));
  EXPECT_EQ(bounds.least(mod(s, 3)), 0);
  const Expr quotient = floor_div(4 * t + 1, 2 * s);
  const Expr remainder = mod(4 * t + 1, 2 * s);
  for (const int64_t n : {-3, -1, 1, 2}) {
    for (const int64_t m : {0, 1, 5}) {
      const std::map<std::string, int64_t> values{{"s0", n}, {"s1", m}};
      EXPECT_EQ(simplify(quotient, bounds).evaluate(values), quotient.evaluate(values));
      EXPECT_EQ(simplify(remainder, bounds).evaluate(values), remainder.evaluate(values));
    }
  }
  EXPECT_EQ(simplify(max(s, 0), bounds), max(s, 0));
}

TEST(Simplify, JoinsQuotientAndRemainder) {
  Bounds bounds;
  bounds.set("s", 1, 64);
  const Expr x = Expr::symbol("x"), s = Expr::symbol("s");
  const Expr e = Expr(48) * s * floor_div(x, s) + Expr(48) * mod(x, s) + Expr::symbol("k");
  EXPECT_EQ(simplify(e, bounds).str(), (Expr(48) * x + Expr::symbol("k")).str());
  const Expr other = Expr(47) * s * floor_div(x, s) + Expr(48) * mod(x, s);
  EXPECT_EQ(simplify(other, bounds), other);
  // Three axes merged into one and taken apart again.
  const Expr four_s = Expr(4) * s;
  const Expr merged =
      Expr(8) * s * floor_div(x, four_s) + Expr(2) * mod(x, 4) + Expr(8) * mod(floor_div(x, 4), s);
  EXPECT_EQ(simplify(merged, bounds), Expr(2) * x);
}

TEST(LinearForm, SeparatesIndices) {
  const auto form = linear_form(i * t * 3 + j + s + 7, {"$0", "$1"});
  ASSERT_TRUE(form.has_value());
  EXPECT_EQ(form->coefficients.at("$0"), 3 * t);
  EXPECT_EQ(form->coefficients.at("$1"), Expr(1));
  EXPECT_EQ(form->constant_term, s + 7);
  EXPECT_FALSE(linear_form(floor_div(i, 2), {"$0"}).has_value());
  EXPECT_FALSE(linear_form(i * j, {"$0", "$1"}).has_value());
}

/// A random expression over $0 < s0, $1 < 5, s0, s1.
Expr random_expr(std::mt19937& random, int depth) {
  const auto pick = [&random](int n) {
    return static_cast<int>(random() % static_cast<unsigned>(n));
  };
  if (depth == 0) {
    const Expr leaves[] = {s, t, i, j, Expr(pick(7)), Expr(1 + pick(3))};
    return leaves[pick(6)];
  }
  const Expr a = random_expr(random, depth - 1);
  const Expr b = random_expr(random, depth - 1);
  const Expr divisors[] = {Expr(1 + pick(6)), s, t, s * 2, t * 5};
  switch (pick(13)) {
    case 7:
      return Expr::call(SizeFunction::kTruncToInt,
                        {Expr::real(1.7) * Expr::call(SizeFunction::kToFloat, {a})});
    case 8:
      return Expr::call(SizeFunction::kRoundToInt, {Expr::call(SizeFunction::kIntTrueDiv, {a, 4})});
    case 9:
      return Expr::call(
          SizeFunction::kCeilToInt,
          {Expr::call(SizeFunction::kFloatTrueDiv, {a, Expr::real(0.5)}) + Expr::real(0.25)});
    case 10:
      return Expr::call(SizeFunction::kBitAnd, {a, b});
    case 11:
      return Expr::less(a, b) * b;
    case 12:
      return Expr::any(Expr::equal(a, b), Expr::none(Expr::less_equal(a, 3))) + a;
    case 0:
      return a + b;
    case 1:
      return a * b;
    case 2:
      return floor_div(a, divisors[pick(5)]);
    case 3:
      return mod(a, divisors[pick(5)]);
    case 4:
      return min(a, b);
    case 5:
      return max(a, b);
    default:
      return a - b;
  }
}

TEST(Simplify, KeepsTheValueOfRandomExpressions) {
  std::mt19937 random(20240611);
  Bounds b;
  b.set("s0", 1, 9);
  b.set("s1", 1, 11);
  b.set_index("$0", s);
  b.set_index("$1", Expr(5));
  for (int round = 0; round < 3000; ++round) {
    const Expr e = random_expr(random, 3);
    const Expr simple = simplify(e, b);
    const auto least = b.least(e);
    const auto greatest = b.greatest(e);
    SizeProgram program;
    program.symbols = {"s0", "s1", "$0", "$1"};
    const SizeSlot slot = program.add(e);
    std::vector<int64_t> table(program.instructions.size());
    const auto parsed = parse_expr(e.str());
    ASSERT_TRUE(parsed.ok()) << e.str();
    EXPECT_EQ(parsed.value(), e) << e.str();
    for (int sample = 0; sample < 20; ++sample) {
      const int64_t vs = 1 + static_cast<int64_t>(random() % 9);
      const int64_t vt = 1 + static_cast<int64_t>(random() % 11);
      const int64_t values[] = {vs, vt, static_cast<int64_t>(random() % static_cast<unsigned>(vs)),
                                static_cast<int64_t>(random() % 5)};
      const std::map<std::string, int64_t> map{
          {"s0", vs}, {"s1", vt}, {"$0", values[2]}, {"$1", values[3]}};
      const auto expected = e.evaluate(map);
      ASSERT_TRUE(expected.has_value()) << e.str();
      EXPECT_EQ(simple.evaluate(map), expected) << e.str() << " -> " << simple.str();
      ASSERT_TRUE(program.run(values, table.data()));
      EXPECT_EQ(table[static_cast<size_t>(slot)], *expected) << e.str();
      EXPECT_TRUE(!least || *least <= *expected) << e.str();
      EXPECT_TRUE(!greatest || *greatest >= *expected) << e.str();
    }
  }
}

// What torch.export writes of sizes and of the conditions on them, at one size each.
TEST(Parse, ReadsWhatPyTorchWrites) {
  const std::map<std::string, int64_t> values{{"s0", 8}, {"s1", 3}};
  const auto value = [&](const std::string& text) -> int64_t {
    const Result<Expr> e = parse_expr(text);
    if (!e.ok()) {
      ADD_FAILURE() << e.error().message;
      return -1;
    }
    EXPECT_EQ(parse_expr(e.value().str()).value(), e.value()) << text;
    return e.value().evaluate(values).value_or(-2);
  };
  EXPECT_EQ(value("TruncToInt(1.7*ToFloat(s0))"), 13);
  EXPECT_EQ(value("CeilToInt(FloatTrueDiv(ToFloat(s0), 0.5))"), 16);
  EXPECT_EQ(value("CeilToInt(IntTrueDiv(s0, 3))"), 3);
  EXPECT_EQ(value("RoundToInt(IntTrueDiv(s0 + 2, 4))"), 2);  // 2.5, to even
  EXPECT_EQ(value("RoundToInt(IntTrueDiv(s0 + 6, 4))"), 4);  // 3.5
  EXPECT_EQ(value("PowByNatural(2, s0)"), 256);
  EXPECT_EQ(value("Pow(Symbol('s0', positive=True, integer=True), Integer(2))"), 64);
  EXPECT_EQ(value("Abs(s0 - 9) + (PythonMod(s0 - 12, 5))"), 2);
  EXPECT_EQ(value("s0 + (((-s0)//3))"), 5);
  EXPECT_EQ(value("BitwiseFn_bitwise_and(s0 + 1, 3)*BitwiseFn_bitwise_or(s0, 1)"), 9);
  EXPECT_EQ(value("TruncToInt(OpaqueUnaryFn_sqrt(ToFloat(s0 + 1)))"), 3);
  EXPECT_EQ(value("TruncToInt(FloatPow(ToFloat(s0 + 1), 0.5))"), 3);
  EXPECT_EQ(value("TruncToInt(Float('1.5', precision=53)*ToFloat(s0))"), 12);
  EXPECT_EQ(value("Where(s0 > 5, s0, s1)"), 8);
  EXPECT_EQ(value("math.trunc(1.5*torch.sym_float(s0)) == 12"), 1);
  EXPECT_EQ(value("math.ceil(s0 / 3) >= 2"), 1);
  EXPECT_EQ(value("round(s0 / 3) != 3"), 0);
  EXPECT_EQ(value("1.5*torch.sym_float(s0) > 12.5"), 0);
  EXPECT_EQ(value("2 <= s1 < s0 <= 8"), 1);
  EXPECT_EQ(value("2 <= s1 < s0 <= 7"), 0);
  EXPECT_EQ(value("not (s0 == 5 or s0 == 7) and s1 != 2"), 1);
  EXPECT_EQ(value("(s0 < 5) | (s1 > 3)"), 0);
  EXPECT_EQ(value("(s0 > 5) & ~(s1 > 3)"), 1);
  EXPECT_EQ(value("Eq(Mod(s0, 2), 0)"), 1);
  EXPECT_EQ(value("StrictGreaterThan(Symbol('s0', integer=True), Integer(8))"), 0);
  EXPECT_EQ(value("1 << s1 >> 1"), 4);
  EXPECT_FALSE(parse_expr("gamma(s0)").ok());
  EXPECT_FALSE(parse_expr("L['x'].size()[0]").ok());  // no inputs here
  EXPECT_FALSE(parse_expr("s0 // 0").ok());
}

TEST(Parse, AsksForInputs) {
  const auto value = [](const InputProperty& p) -> Result<Expr> {
    EXPECT_EQ(p.kind, InputProperty::kSize);
    EXPECT_EQ(p.keys.size(), 3U);
    EXPECT_EQ(p.keys[1], "A b");
    return Expr(p.dim);
  };
  EXPECT_EQ(parse_expr("L['x']['A b'][0].size()[4] + 1", value).value(), Expr(5));
}

TEST(Bounds, NamesFunctions) {
  Bounds bounds;
  bounds.set("s0", 8, 64);
  const Expr e = parse_expr("3*TruncToInt(1.7*ToFloat(s0)) + s0").value();
  const Expr named = bounds.name_functions(e);
  EXPECT_EQ(named.str(), "s0 + 3*size0");
  EXPECT_EQ(bounds.name_functions(e), named);
  EXPECT_EQ(bounds.expand(named), e);
  EXPECT_EQ(bounds.least(named), 8 + 3 * 13);
  EXPECT_EQ(bounds.greatest(named), 64 + 3 * 108);
  std::set<std::string> symbols{"size0"};
  bounds.expand(&symbols);
  EXPECT_EQ(symbols, std::set<std::string>{"s0"});
}

}  // namespace
}  // namespace stator
