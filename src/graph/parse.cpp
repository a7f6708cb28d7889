// SPDX-License-Identifier: Apache-2.0
//
// Reads what print.cpp writes. A recursive-descent parser over one line of text at a time; messages
// name the line.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>

#include "graph/schema.h"
#include "stator/graph.h"
#include "symbolic/facts.h"

namespace stator {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Graph> parse() {
    STATOR_RETURN_IF_ERROR(expect("graph"));
    graph_.name = std::string(word());
    STATOR_RETURN_IF_ERROR(expect("("));
    while (!accept(")")) {
      STATOR_RETURN_IF_ERROR(input());
      accept(",");
    }
    if (accept("where")) {
      do {
        STATOR_RETURN_IF_ERROR(range());
      } while (accept(","));
    }
    STATOR_RETURN_IF_ERROR(expect(":"));
    while (!accept_word("return")) {
      if (skip(), at_ == text_.size()) {
        return error("the graph has no return");
      }
      STATOR_TRY(const bool is_fact, fact());
      if (!is_fact) {
        STATOR_RETURN_IF_ERROR(node());
      }
    }
    STATOR_RETURN_IF_ERROR(returned());
    return std::move(graph_);
  }

 private:
  Error error(const std::string& what) const {
    const size_t end = std::min(at_, text_.size());
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<long>(end), '\n');
    return Error{ErrorCode::kInvalidFile, "line " + std::to_string(line) + ": " + what};
  }

  // ------------------------------------------------------------ tokens

  void skip() {
    while (at_ < text_.size()) {
      if (std::isspace(static_cast<unsigned char>(text_[at_])) != 0) {
        ++at_;
      } else if (text_[at_] == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else {
        break;
      }
    }
  }
  bool accept(std::string_view token) {
    skip();
    if (text_.substr(at_).starts_with(token)) {
      at_ += token.size();
      return true;
    }
    return false;
  }
  static bool is_word(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.';
  }
  bool accept_word(std::string_view token) {
    skip();
    const size_t end = at_ + token.size();
    if (text_.substr(at_).starts_with(token) && (end >= text_.size() || !is_word(text_[end]))) {
      at_ = end;
      return true;
    }
    return false;
  }
  Status expect(std::string_view token) {
    return accept(token) ? Status() : Status(error("expected '" + std::string(token) + "'"));
  }
  std::string_view word() {
    skip();
    const size_t begin = at_;
    while (at_ < text_.size() && is_word(text_[at_])) {
      ++at_;
    }
    return text_.substr(begin, at_ - begin);
  }
  Result<std::string> quoted() {
    STATOR_RETURN_IF_ERROR(expect("\""));
    std::string s;
    while (at_ < text_.size() && text_[at_] != '"') {
      const bool escaped = text_[at_] == '\\' && at_ + 1 < text_.size();
      at_ += escaped ? 1 : 0;
      s += escaped && text_[at_] == 'n' ? '\n' : text_[at_];
      ++at_;
    }
    STATOR_RETURN_IF_ERROR(expect("\""));
    return s;
  }
  /// Text up to a comma or closing bracket that belongs to no bracket inside it.
  std::string_view balanced() {
    skip();
    const size_t begin = at_;
    int depth = 0;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (depth == 0 && (c == ',' || c == ')' || c == ']' || c == '\n')) {
        break;
      }
      depth += c == '(' || c == '[' ? 1 : c == ')' || c == ']' ? -1 : 0;
    }
    return text_.substr(begin, at_ - begin);
  }

  // ------------------------------------------------------------ types

  Result<std::vector<Expr>> exprs() {
    std::vector<Expr> values;
    STATOR_RETURN_IF_ERROR(expect("["));
    while (!accept("]")) {
      const std::string_view text = balanced();
      Result<Expr> e = parse_expr(text);
      if (!e.ok()) {
        return error(e.error().message);
      }
      values.push_back(std::move(e).value());
      accept(",");
    }
    return values;
  }

  Result<Value> typed_value() {
    Value value;
    STATOR_RETURN_IF_ERROR(expect("%"));
    value.name = std::string(word());
    STATOR_RETURN_IF_ERROR(expect(":"));
    const std::string_view type = word();
    if (type == "SymInt") {
      value.kind = ValueKind::kSymInt;
      STATOR_RETURN_IF_ERROR(expect("("));
      STATOR_TRY(value.expr, parse_expr(balanced()));
      STATOR_RETURN_IF_ERROR(expect(")"));
    } else if (type == "SymFloat") {
      value.kind = ValueKind::kSymFloat;
    } else if (type == "SymBool") {
      value.kind = ValueKind::kSymBool;
    } else if (type == "None") {
      value.kind = ValueKind::kNone;
    } else if (type == "Opaque") {
      value.kind = ValueKind::kOpaque;
      if (accept("(")) {
        STATOR_TRY(value.what, quoted());
        STATOR_RETURN_IF_ERROR(expect(","));
        STATOR_TRY(value.tensor.shape, exprs());
        STATOR_RETURN_IF_ERROR(expect(")"));
      }
    } else if (const std::optional<DType> dtype = parse_dtype(type)) {
      value.tensor.dtype = *dtype;
      STATOR_TRY(value.tensor.shape, exprs());
      if (accept("@")) {
        skip();
        const size_t begin = at_;
        while (at_ < text_.size() && (is_word(text_[at_]) || text_[at_] == ':')) {
          ++at_;
        }
        value.tensor.device = std::string(text_.substr(begin, at_ - begin));
      }
      if (accept_word("strides")) {
        STATOR_TRY(value.tensor.strides, exprs());
      }
    } else {
      return error("unknown type '" + std::string(type) + "'");
    }
    return value;
  }

  Result<ValueId> define(const Value& value) {
    if (graph_.find_value(value.name).has_value()) {
      return error("%" + value.name + " is defined twice");
    }
    return graph_.add_value(value);
  }

  // ------------------------------------------------------------ parts

  Status input() {
    STATOR_TRY(const Value value, typed_value());
    GraphInput input;
    STATOR_TRY(input.value, define(value));
    if (accept("=")) {
      const std::string_view kind = word();
      if (kind != "parameter" && kind != "buffer" && kind != "constant") {
        return error("unknown kind of input '" + std::string(kind) + "'");
      }
      input.kind = kind == "parameter" ? InputKind::kParameter
                   : kind == "buffer"  ? InputKind::kBuffer
                                       : InputKind::kConstant;
      STATOR_TRY(input.target, quoted());
    }
    graph_.inputs.push_back(std::move(input));
    return {};
  }

  Result<int64_t> integer() {
    const std::string_view text = word();
    if (text == "inf") {
      return Bounds::kUnbounded;
    }
    int64_t value = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) {
      return error("expected an integer");
    }
    return value;
  }

  Status range() {
    const std::string name(word());
    STATOR_RETURN_IF_ERROR(expect("in"));
    STATOR_RETURN_IF_ERROR(expect("["));
    STATOR_TRY(const int64_t least, integer());
    STATOR_RETURN_IF_ERROR(expect(","));
    STATOR_TRY(const int64_t greatest, integer());
    STATOR_RETURN_IF_ERROR(expect("]"));
    graph_.bounds.set(name, least, greatest);
    return {};
  }

  Result<bool> fact() {
    skip();
    const std::string_view line = std::string_view(text_).substr(at_, text_.find('\n', at_) - at_);
    STATOR_TRY(const bool read, read_fact(line, &graph_.bounds, &graph_.guards));
    at_ += read ? line.size() : 0;
    return read;
  }

  Status node() {
    Node node;
    std::vector<Value> outputs;
    if (skip(), at_ < text_.size() && text_[at_] == '%') {
      do {
        STATOR_TRY(Value value, typed_value());
        outputs.push_back(std::move(value));
      } while (accept(","));
      STATOR_RETURN_IF_ERROR(expect("="));
    }
    node.target = std::string(word());
    STATOR_RETURN_IF_ERROR(expect("("));
    while (!accept(")")) {
      STATOR_TRY(NamedArgument arg, argument());
      node.args.push_back(std::move(arg));
      accept(",");
    }
    if (const Schema* schema = find_schema(node.target)) {
      Result<std::vector<NamedArgument>> args = normalize_arguments(*schema, node.args);
      if (!args.ok()) {
        return error(args.error().message);
      }
      node.args = std::move(args).value();
    }
    for (const Value& value : outputs) {
      STATOR_TRY(const ValueId id, define(value));
      node.outputs.push_back(id);
    }
    node.name = outputs.empty() ? node.target : outputs.front().name;
    source_comment(node);
    graph_.add_node(std::move(node));
    return {};
  }

  /// "  # model.py:57 in forward" behind the node.
  void source_comment(Node& node) {
    const size_t end = std::min(text_.find('\n', at_), text_.size());
    const std::string_view rest = text_.substr(at_, end - at_);
    const size_t hash = rest.find("# ");
    if (hash == std::string_view::npos) {
      return;
    }
    const std::string_view comment = rest.substr(hash + 2);
    const size_t colon = comment.find(':');
    if (colon == std::string_view::npos) {
      return;
    }
    SourceLine line;
    line.file = std::string(comment.substr(0, colon));
    const char* begin = comment.data() + colon + 1;
    const auto [after, status] = std::from_chars(begin, comment.data() + comment.size(), line.line);
    if (status != std::errc()) {
      return;
    }
    std::string_view tail = comment.substr(static_cast<size_t>(after - comment.data()));
    if (tail.starts_with(" in ")) {
      tail.remove_prefix(4);
      const size_t stop = tail.find(":  ");
      line.function = std::string(tail.substr(0, stop));
      line.text = stop == std::string_view::npos ? "" : std::string(tail.substr(stop + 3));
    } else if (tail.starts_with(":  ")) {  // outside any function
      line.text = std::string(tail.substr(3));
    }
    node.stack.push_back(std::move(line));
  }

  Result<NamedArgument> argument() {
    NamedArgument named;
    skip();
    const size_t begin = at_;
    const std::string_view name = word();
    if (!name.empty() && at_ < text_.size() && text_[at_] == '=') {
      named.name = std::string(name);
      ++at_;
    } else {
      at_ = begin;
    }
    STATOR_TRY(named.value, value());
    return named;
  }

  Result<ValueUse> use() {
    const std::string_view name = word();
    const std::optional<ValueId> id = graph_.find_value(name);
    if (!id.has_value()) {
      return error("%" + std::string(name) + " is used before it is defined");
    }
    ValueUse use{*id};
    if (accept_word("as")) {
      STATOR_TRY(use.format, memory_format());
    }
    return use;
  }

  Result<MemoryFormat> memory_format() {
    const std::string_view name = word();
    for (const MemoryFormat format :
         {MemoryFormat::kContiguous, MemoryFormat::kChannelsLast, MemoryFormat::kChannelsLast3d}) {
      if (name == memory_format_name(format)) return format;
    }
    return error("unknown memory format '" + std::string(name) + "'");
  }

  Result<Argument> value() {
    if (accept("%")) {
      STATOR_TRY(const ValueUse used, use());
      return Argument(used);
    }
    if (accept_word("None")) {
      return Argument(None{});
    }
    if (accept_word("True")) {
      return Argument(true);
    }
    if (accept_word("False")) {
      return Argument(false);
    }
    skip();
    if (at_ < text_.size() && text_[at_] == '"') {
      STATOR_TRY(std::string s, quoted());
      return Argument(std::move(s));
    }
    if (at_ < text_.size() && text_[at_] == '[') {
      STATOR_TRY(std::vector<Expr> list, exprs());
      return Argument(std::move(list));
    }
    if (accept("tensors[")) {
      return tensor_list();
    }
    return tagged_value();
  }

  Result<Argument> tensor_list() {
    std::vector<ValueUse> uses;
    while (!accept("]")) {
      if (accept_word("None")) {
        uses.push_back(ValueUse{kNoValue});
      } else {
        STATOR_RETURN_IF_ERROR(expect("%"));
        STATOR_TRY(const ValueUse used, use());
        uses.push_back(used);
      }
      accept(",");
    }
    return Argument(std::move(uses));
  }

  Result<Argument> tagged_value() {
    if (accept("floats[")) {
      std::vector<double> values;
      while (!accept("]")) {
        STATOR_TRY(const double v, number(balanced()));
        values.push_back(v);
        accept(",");
      }
      return Argument(std::move(values));
    }
    if (accept("bools[")) {
      std::vector<bool> values;
      while (!accept("]")) {
        values.push_back(balanced() == "True");
        accept(",");
      }
      return Argument(std::move(values));
    }
    if (accept("strings[")) {
      std::vector<std::string> values;
      while (!accept("]")) {
        STATOR_TRY(std::string s, quoted());
        values.push_back(std::move(s));
        accept(",");
      }
      return Argument(std::move(values));
    }
    if (accept("dtype.")) {
      const std::string_view name = word();
      const std::optional<DType> dtype = parse_dtype(name);
      if (!dtype.has_value()) {
        return error("unknown dtype '" + std::string(name) + "'");
      }
      return Argument(*dtype);
    }
    if (accept("format.")) {
      return Argument(MemoryFormatArg{std::string(word())});
    }
    if (accept("layout.")) {
      return Argument(LayoutArg{std::string(word())});
    }
    if (accept("device(")) {
      STATOR_TRY(std::string name, quoted());
      STATOR_RETURN_IF_ERROR(expect(")"));
      return Argument(DeviceArg{std::move(name)});
    }
    if (accept("opaque(")) {
      OpaqueArg opaque;
      STATOR_TRY(opaque.index, integer());
      STATOR_RETURN_IF_ERROR(expect(","));
      STATOR_TRY(opaque.text, quoted());
      if (accept(",")) {
        STATOR_TRY(Argument uses, value());
        STATOR_RETURN_IF_ERROR(expect(","));
        STATOR_TRY(opaque.sizes, exprs());
        if (auto* list = std::get_if<std::vector<ValueUse>>(&uses)) {
          opaque.uses = std::move(*list);
        }
      }
      STATOR_RETURN_IF_ERROR(expect(")"));
      return Argument(std::move(opaque));
    }
    const std::string_view text = balanced();
    const bool is_real = text == "inf" || text == "-inf" || text == "nan";  // and no symbols
    if (Result<Expr> e = parse_expr(text); e.ok() && !is_real) {
      return Argument(std::move(e).value());
    }
    STATOR_TRY(const double v, number(text));
    return Argument(v);
  }

  Result<double> number(std::string_view text) {
    if (text == "inf" || text == "-inf") {
      const double inf = std::numeric_limits<double>::infinity();
      return text == "inf" ? inf : -inf;
    }
    if (text == "nan") {
      return std::numeric_limits<double>::quiet_NaN();
    }
    double v = 0;
    const char* end = text.data() + text.size();
    if (std::from_chars(text.data(), end, v).ptr != end || text.empty()) {
      return error("cannot read '" + std::string(text) + "'");
    }
    return v;
  }

  Status returned() {
    skip();
    while (at_ < text_.size()) {
      GraphOutput output;
      if (accept_word("buffer") || accept_word("input")) {
        output.kind =
            text_[at_ - 1] == 'r' ? OutputKind::kBufferMutation : OutputKind::kUserInputMutation;
        STATOR_TRY(output.target, quoted());
        STATOR_RETURN_IF_ERROR(expect("<-"));
      }
      STATOR_TRY(output.value, value());
      graph_.outputs.push_back(std::move(output));
      if (!accept(",")) {
        break;
      }
    }
    return {};
  }

  std::string_view text_;
  size_t at_ = 0;
  Graph graph_;
};

}  // namespace

Result<Graph> parse_graph(std::string_view text) { return Parser(text).parse(); }

}  // namespace stator
