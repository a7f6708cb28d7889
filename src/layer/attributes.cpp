// SPDX-License-Identifier: Apache-2.0
//
// Attributes as text: "{axis = 1, shape = [s0, 4], value = 0.5}". Numbers print so that they read
// back as the same bits: an integer scalar has no point, a real one has.
#include <charconv>
#include <cmath>
#include <limits>

#include "layer/expr_fields.h"
#include "layer/names.h"
#include "stator/layer.h"

namespace stator {
namespace {

std::string print_real(double value) {
  if (std::isnan(value)) {
    return "nan";
  }
  if (std::isinf(value)) {
    return value > 0 ? "inf" : "-inf";
  }
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  std::string text(buffer, end);
  if (text.find_first_of(".e") == std::string::npos) {
    text += ".0";
  }
  return text;
}

std::string print(int64_t v) { return std::to_string(v); }
std::string print(bool v) { return v ? "true" : "false"; }
std::string print(double v) { return print_real(v); }
std::string print(const Expr& v) { return v.str(); }
std::string print(DType v) { return dtype_name(v); }
std::string print(const Scalar& v) {
  return v.is_integer ? std::to_string(v.integer) : print_real(v.real);
}
template <typename E>
std::enable_if_t<std::is_enum_v<E>, std::string> print(E v) {
  return name_of(v);
}
template <typename T>
std::string print(const std::vector<T>& list) {
  std::string s = "[";
  for (size_t i = 0; i < list.size(); ++i) {
    s += (i > 0 ? ", " : "") + print(list[i]);
  }
  return s + "]";
}

struct PrintVisitor {
  std::string text;
  template <typename T>
  void operator()(const char* name, const T& value) {
    text += (text.empty() ? "" : ", ") + std::string(name) + " = " + print(value);
  }
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') {
    text.remove_prefix(1);
  }
  while (!text.empty() && text.back() == ' ') {
    text.remove_suffix(1);
  }
  return text;
}

/// The parts of "a, [b, c], f(d, e)" between the commas outside brackets.
std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    depth += text[i] == '[' || text[i] == '(' ? 1 : text[i] == ']' || text[i] == ')' ? -1 : 0;
    if (text[i] == ',' && depth == 0) {
      parts.push_back(trimmed(text.substr(begin, i - begin)));
      begin = i + 1;
    }
  }
  if (const std::string_view last = trimmed(text.substr(begin)); !last.empty()) {
    parts.push_back(last);
  }
  return parts;
}

bool read(std::string_view text, int64_t* v) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *v);
  return error == std::errc() && end == text.data() + text.size();
}
bool read(std::string_view text, bool* v) {
  *v = text == "true";
  return text == "true" || text == "false";
}
bool read(std::string_view text, double* v) {
  if (text == "nan") {
    *v = std::numeric_limits<double>::quiet_NaN();
    return true;
  }
  if (text == "inf" || text == "-inf") {
    *v = text == "inf" ? INFINITY : -INFINITY;
    return true;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *v);
  return error == std::errc() && end == text.data() + text.size();
}
bool read(std::string_view text, Expr* v) {
  Result<Expr> e = parse_expr(text);
  if (!e.ok()) {
    return false;
  }
  *v = std::move(e).value();
  return true;
}
bool read(std::string_view text, DType* v) {
  const std::optional<DType> dtype = parse_dtype(text);
  *v = dtype.value_or(DType::kFloat32);
  return dtype.has_value();
}
bool read(std::string_view text, Scalar* v) {
  int64_t integer = 0;
  if (read(text, &integer)) {
    *v = Scalar::of(integer);
    return true;
  }
  double real = 0;
  if (!read(text, &real)) {
    return false;
  }
  *v = Scalar{real, 0, false};
  return true;
}
template <typename E>
std::enable_if_t<std::is_enum_v<E>, bool> read(std::string_view text, E* v) {
  return parse_name(text, v);
}
template <typename T>
bool read(std::string_view text, std::vector<T>* list) {
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') {
    return false;
  }
  for (const std::string_view part : split(text.substr(1, text.size() - 2))) {
    if (!read(part, &list->emplace_back())) {
      return false;
    }
  }
  return true;
}

struct ReadVisitor {
  std::vector<std::string_view> parts;
  size_t next = 0;
  std::string problem;

  template <typename T>
  void operator()(const char* name, T& value) {
    if (!problem.empty()) {
      return;
    }
    if (next == parts.size()) {
      problem = std::string("'") + name + "' is missing";
      return;
    }
    const std::string_view part = parts[next++];
    const size_t equals = part.find('=');
    if (equals == std::string_view::npos || trimmed(part.substr(0, equals)) != name) {
      problem = std::string("expected '") + name + " = …', got '" + std::string(part) + "'";
    } else if (value = T(); !read(trimmed(part.substr(equals + 1)), &value)) {
      problem = "cannot read '" + std::string(part) + "'";
    }
  }
};

struct CollectExprs {
  std::vector<Expr> fields;
  void operator()(const char*, const Expr& e) { fields.push_back(e); }
  void operator()(const char*, const std::vector<Expr>& list) {
    fields.insert(fields.end(), list.begin(), list.end());
  }
  template <typename T>
  void operator()(const char*, const T&) {}
};

struct ReplaceExprs {
  const int64_t* next;
  void operator()(const char*, Expr& e) { e = Expr(*next++); }
  void operator()(const char*, std::vector<Expr>& list) {
    for (Expr& e : list) {
      e = Expr(*next++);
    }
  }
  template <typename T>
  void operator()(const char*, T&) {}
};

struct SubstituteExprs {
  const std::map<std::string, Expr>& values;
  void operator()(const char*, Expr& e) { e = e.substitute(values); }
  void operator()(const char*, std::vector<Expr>& list) {
    for (Expr& e : list) {
      e = e.substitute(values);
    }
  }
  template <typename T>
  void operator()(const char*, T&) {}
};

/// visit() takes a mutable layer, because reading shares it with printing.
template <typename Visitor>
void visit_fields(const LayerAttributes& attributes, Visitor& visitor) {
  std::visit([&visitor](auto layer) { layer.visit(visitor); }, attributes);
}

}  // namespace

std::string print_attributes(const LayerAttributes& attributes) {
  PrintVisitor visitor;
  visit_fields(attributes, visitor);
  return "{" + visitor.text + "}";
}

Result<LayerAttributes> parse_attributes(std::string_view kind, std::string_view text) {
  LayerAttributes attributes;
  if (!default_attributes(kind, &attributes)) {
    return Error{ErrorCode::kInvalidFile, "there is no layer '" + std::string(kind) + "'"};
  }
  text = trimmed(text);
  if (text.size() < 2 || text.front() != '{' || text.back() != '}') {
    return Error{ErrorCode::kInvalidFile,
                 "layer '" + std::string(kind) + "': attributes stand in braces"};
  }
  ReadVisitor visitor{split(text.substr(1, text.size() - 2)), 0, ""};
  std::visit([&visitor](auto& layer) { layer.visit(visitor); }, attributes);
  if (visitor.problem.empty() && visitor.next != visitor.parts.size()) {
    visitor.problem = "'" + std::string(visitor.parts[visitor.next]) + "' is too much";
  }
  if (!visitor.problem.empty()) {
    return Error{ErrorCode::kInvalidFile, "layer '" + std::string(kind) + "': " + visitor.problem};
  }
  return attributes;
}

std::vector<Expr> expr_fields(const LayerAttributes& attributes) {
  CollectExprs visitor;
  visit_fields(attributes, visitor);
  return visitor.fields;
}

LayerAttributes with_sizes(const LayerAttributes& attributes, const int64_t* values) {
  LayerAttributes concrete = attributes;
  ReplaceExprs visitor{values};
  std::visit([&visitor](auto& layer) { layer.visit(visitor); }, concrete);
  return concrete;
}

LayerAttributes substitute(const LayerAttributes& attributes,
                           const std::map<std::string, Expr>& values) {
  LayerAttributes result = attributes;
  SubstituteExprs visitor{values};
  std::visit([&visitor](auto& layer) { layer.visit(visitor); }, result);
  return result;
}

}  // namespace stator
