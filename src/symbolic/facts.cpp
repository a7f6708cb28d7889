// SPDX-License-Identifier: Apache-2.0
#include "symbolic/facts.h"

#include <algorithm>

namespace stator {
namespace {

std::string quoted(std::string text) {
  std::replace(text.begin(), text.end(), '"', '\'');
  std::replace(text.begin(), text.end(), '\n', ' ');
  return "\"" + text + "\"";
}

/// What stands between the last two quotation marks of `line`, which is cut off there.
Result<std::string> take_quoted(std::string_view* line) {
  const size_t end = line->rfind('"');
  const size_t begin = end == std::string_view::npos || end == 0 ? end : line->rfind('"', end - 1);
  if (begin == std::string_view::npos || begin == end) {
    return Error{ErrorCode::kInvalidFile, "expected 'guard <condition> \"text\" \"source\"'"};
  }
  std::string inside(line->substr(begin + 1, end - begin - 1));
  *line = line->substr(0, begin);
  return inside;
}

}  // namespace

std::string print_facts(const Bounds& bounds, const std::vector<Guard>& guards) {
  std::string s;
  for (const auto& [name, call] : bounds.calls()) {
    s += "  size " + name + " = " + call.str() + "\n";
  }
  for (const Guard& guard : guards) {
    s += "  guard " + guard.condition.str() + " " + quoted(guard.text) + " " +
         quoted(guard.source) + "\n";
  }
  return s;
}

Result<bool> read_fact(std::string_view line, Bounds* bounds, std::vector<Guard>* guards) {
  while (line.starts_with(' ')) line.remove_prefix(1);
  if (line.starts_with("size ")) {
    const size_t equals = line.find(" = ");
    if (equals == std::string_view::npos) {
      return Error{ErrorCode::kInvalidFile, "expected 'size <name> = <expression>'"};
    }
    STATOR_TRY(Expr call, parse_expr(line.substr(equals + 3)));
    bounds->set_call(line.substr(5, equals - 5), std::move(call));
    return true;
  }
  if (line.starts_with("guard ")) {
    Guard guard;
    STATOR_TRY(guard.source, take_quoted(&line));
    STATOR_TRY(guard.text, take_quoted(&line));
    STATOR_TRY(guard.condition, parse_expr(line.substr(6)));
    guards->push_back(std::move(guard));
    return true;
  }
  return false;
}

}  // namespace stator
