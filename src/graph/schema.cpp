// SPDX-License-Identifier: Apache-2.0
//
// The table holds PyTorch's own schema text; a row is parsed at its first lookup and kept.
#include "graph/schema.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <mutex>

#include "base/check.h"

namespace stator {
namespace {

struct Row {
  std::string_view target, text, traits;
};

constexpr Row kRows[] = {
#include "graph/aten_schemas.inc"
};

/// Splits "a, b[2]=[1, 1], c" at the commas outside brackets and quotes.
std::vector<std::string_view> split_arguments(std::string_view text) {
  std::vector<std::string_view> parts;
  int depth = 0;
  bool quoted = false;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    const char c = i < text.size() ? text[i] : ',';
    if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == '[' || c == '(')) {
      ++depth;
    } else if (!quoted && (c == ']' || c == ')')) {
      --depth;
    }
    if ((c == ',' && depth == 0 && !quoted) || i == text.size()) {
      std::string_view part = text.substr(begin, i - begin);
      while (!part.empty() && part.front() == ' ') {
        part.remove_prefix(1);
      }
      if (!part.empty()) {
        parts.push_back(part);
      }
      begin = i + 1;
    }
  }
  return parts;
}

std::optional<double> parse_double(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::optional<int64_t> parse_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

/// A default as a schema writes it: 1, 1e-05, True, None, [0, 1], "mean", Mean, contiguous_format.
Argument parse_default(std::string_view type, std::string_view text) {
  const bool is_list = type.find('[') != std::string_view::npos;
  if (text == "None") {
    return None{};
  }
  if (is_list) {
    std::string_view inner = text;
    if (inner.front() == '[') {
      inner = inner.substr(1, inner.size() - 2);
    }
    if (type.starts_with("bool")) {
      std::vector<bool> values;
      for (const std::string_view item : split_arguments(inner)) {
        values.push_back(item == "True");
      }
      return values;
    }
    if (type.starts_with("float")) {
      std::vector<double> values;
      for (const std::string_view item : split_arguments(inner)) {
        values.push_back(parse_double(item).value_or(0));
      }
      return values;
    }
    std::vector<Expr> values;
    for (const std::string_view item : split_arguments(inner)) {
      values.emplace_back(parse_integer(item).value_or(0));
    }
    return values;
  }
  if (text == "True" || text == "False") {
    return text == "True";
  }
  if (text.front() == '"') {
    return std::string(text.substr(1, text.size() - 2));
  }
  if (const auto integer = parse_integer(text)) {
    if (type.starts_with("float")) {
      return static_cast<double>(*integer);
    }
    return Expr(*integer);
  }
  if (const auto real = parse_double(text)) {
    return *real;
  }
  if (text == "contiguous_format") {
    return MemoryFormatArg{"contiguous_format"};
  }
  if (text == "Mean") {
    return Expr(1);  // the reduction enumeration of losses
  }
  if (text == "long") {
    return DType::kInt64;
  }
  return std::string(text);
}

/// "Tensor(a!)[] name=default" → one argument.
SchemaArgument parse_argument(std::string_view text) {
  SchemaArgument argument;
  int depth = 0;
  size_t space = 0;
  for (; space < text.size(); ++space) {
    const char c = text[space];
    depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    if (c == ' ' && depth == 0) {
      break;
    }
  }
  std::string_view type = text.substr(0, space);
  if (const size_t alias = type.find('('); alias != std::string_view::npos) {
    const size_t close = type.find(')');
    argument.type = std::string(type.substr(0, alias)) + std::string(type.substr(close + 1));
  } else {
    argument.type = std::string(type);
  }
  std::string_view rest = text.substr(std::min(space + 1, text.size()));
  const size_t equals = rest.find('=');
  argument.name = std::string(rest.substr(0, equals));
  if (equals != std::string_view::npos) {
    argument.has_default = true;
    argument.default_value = parse_default(argument.type, rest.substr(equals + 1));
  }
  return argument;
}

/// How many values "Tensor", "(Tensor, Tensor)", "Tensor[]" or "()" are; -1: a list.
int count_outputs(std::string_view text) {
  if (text == "()") {
    return 0;
  }
  if (text.ends_with("[]")) {
    return -1;
  }
  if (text.front() == '(') {
    return static_cast<int>(split_arguments(text.substr(1, text.size() - 2)).size());
  }
  return 1;
}

Schema parse_row(const Row& row) {
  Schema schema;
  schema.target = std::string(row.target);
  const size_t arrow = row.text.rfind(" -> ");
  STATOR_CHECK(arrow != std::string_view::npos, "schema of " + schema.target + " has no arrow");
  bool keyword_only = false;
  for (const std::string_view part : split_arguments(row.text.substr(1, arrow - 2))) {
    if (part == "*") {
      keyword_only = true;
      continue;
    }
    schema.arguments.push_back(parse_argument(part));
    schema.arguments.back().keyword_only = keyword_only;
  }
  schema.output_count = count_outputs(row.text.substr(arrow + 4));
  schema.is_mutating = row.traits.find('m') != std::string_view::npos;
  schema.is_view = row.traits.find('v') != std::string_view::npos;
  schema.is_random = row.traits.find('r') != std::string_view::npos;
  schema.is_pointwise = row.traits.find('p') != std::string_view::npos;
  return schema;
}

/// Python takes an int where a float is wanted, and one int where a list is.
void fit_to_type(const SchemaArgument& expected, Argument& value) {
  const auto* integer = std::get_if<Expr>(&value);
  if (integer != nullptr && expected.type.starts_with("float") && integer->is_constant() &&
      expected.type.find('[') == std::string::npos) {
    value = static_cast<double>(integer->constant());
  } else if (const auto* sizes = std::get_if<std::vector<Expr>>(&value);
             sizes != nullptr && expected.type.starts_with("float[") &&
             std::all_of(sizes->begin(), sizes->end(),
                         [](const Expr& e) { return e.is_constant(); })) {
    std::vector<double> numbers;
    for (const Expr& e : *sizes) {
      numbers.push_back(static_cast<double>(e.constant()));
    }
    value = std::move(numbers);
  } else if (integer != nullptr && (expected.type.find('[') != std::string::npos)) {
    value = std::vector<Expr>{*integer};
  } else if (const auto* list = std::get_if<std::vector<Expr>>(&value);
             list != nullptr && list->empty() && expected.type.starts_with("Tensor")) {
    value = std::vector<ValueUse>{};
  }
}

}  // namespace

const Schema* find_schema(std::string_view target) {
  const Row* row =
      std::lower_bound(std::begin(kRows), std::end(kRows), target,
                       [](const Row& r, std::string_view wanted) { return r.target < wanted; });
  if (row == std::end(kRows) || row->target != target) {
    return nullptr;
  }
  static std::mutex mutex;
  static auto& parsed = *new std::map<std::string_view, Schema>();
  const std::lock_guard lock(mutex);
  auto found = parsed.find(row->target);
  if (found == parsed.end()) {
    found = parsed.emplace(row->target, parse_row(*row)).first;
  }
  return &found->second;
}

Result<std::vector<NamedArgument>> normalize_arguments(const Schema& schema,
                                                       std::vector<NamedArgument> args) {
  std::vector<NamedArgument> out;
  std::vector<bool> given(schema.arguments.size(), false);
  for (const SchemaArgument& argument : schema.arguments) {
    out.push_back({argument.name, argument.default_value});
  }
  size_t position = 0;
  for (NamedArgument& arg : args) {
    size_t at = position;
    if (!arg.name.empty()) {
      const auto found =
          std::find_if(schema.arguments.begin(), schema.arguments.end(),
                       [&arg](const SchemaArgument& a) { return a.name == arg.name; });
      at = static_cast<size_t>(found - schema.arguments.begin());
    }
    if (at >= out.size()) {
      return Error{
          ErrorCode::kInvalidFile,
          schema.target + (arg.name.empty() ? ": too many arguments"
                                            : ": there is no argument '" + arg.name + "'")};
    }
    if (given[at]) {
      return Error{ErrorCode::kInvalidFile,
                   schema.target + ": argument '" + out[at].name + "' is given twice"};
    }
    fit_to_type(schema.arguments[at], arg.value);
    out[at].value = std::move(arg.value);
    given[at] = true;
    position = at + 1;
  }
  for (size_t i = 0; i < out.size(); ++i) {
    if (!given[i] && !schema.arguments[i].has_default) {
      if (schema.arguments[i].type.ends_with("?")) {
        out[i].value = None{};
        continue;
      }
      return Error{ErrorCode::kInvalidFile,
                   schema.target + ": argument '" + out[i].name + "' is missing"};
    }
  }
  return out;
}

bool draws_random_numbers(const Node& node) {
  const Schema* schema = find_schema(node.target);
  if (schema == nullptr || !schema->is_random) {
    return false;
  }
  // Attention and dropout carry the tag whatever their arguments are.
  for (const char* arg : {"dropout_p", "p", "dropout"}) {
    if (const Argument* p = node.find(arg); p != nullptr && !node.is_none(arg)) {
      const bool training = node.boolean("train", true);
      return training && node.number(arg) != 0;
    }
  }
  return true;
}

bool is_pure(const Node& node) {
  const Schema* schema = find_schema(node.target);
  return schema != nullptr && !schema->is_mutating && !draws_random_numbers(node) &&
         schema->output_count != 0;
}

}  // namespace stator
