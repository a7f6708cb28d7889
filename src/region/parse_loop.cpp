// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <cmath>

#include "layer/names.h"
#include "region/loop_program.h"

namespace stator {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') {
    text.remove_prefix(1);
  }
  while (!text.empty() && text.back() == ' ') {
    text.remove_suffix(1);
  }
  return text;
}

class LoopParser {
 public:
  Result<LoopProgram> parse(std::string_view text) {
    int number = 0;
    while (!text.empty()) {
      ++number;
      const size_t end = text.find('\n');
      std::string_view line = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      line = trimmed(line.substr(0, line.find('#')));
      if (line.empty()) {
        continue;
      }
      if (const Status status = read(line); !status.ok()) {
        return status.error().in("line " + std::to_string(number));
      }
    }
    return std::move(program_);
  }

 private:
  static Error error(std::string_view what, std::string_view text) {
    return Error{ErrorCode::kInvalidFile, std::string(what) + " in '" + std::string(text) + "'"};
  }

  Status read(std::string_view line) {
    if (line == "dims" || line.starts_with("dims ")) {
      return read_dims(line.substr(4));
    }
    if (line.starts_with("store ")) {
      return read_store(line.substr(6));
    }
    const size_t equals = line.find(" = ");
    if (!line.starts_with("%") || equals == std::string_view::npos) {
      return error("expected '%n = …', 'dims' or 'store'", line);
    }
    LoopOp op;
    STATOR_RETURN_IF_ERROR(read_op(trimmed(line.substr(equals + 3)), op));
    program_.ops.push_back(std::move(op));
    return {};
  }

  Status read_dims(std::string_view text) {
    // Extents hold commas in Max(a, b) alone.
    int depth = 0;
    size_t begin = 0;
    for (size_t i = 0; i <= text.size(); ++i) {
      if (i < text.size() && (text[i] != ',' || depth > 0)) {
        depth += text[i] == '(' ? 1 : text[i] == ')' ? -1 : 0;
        continue;
      }
      std::string_view part = trimmed(text.substr(begin, i - begin));
      begin = i + 1;
      if (part.empty()) {
        continue;
      }
      const size_t less = part.find(" < ");
      if (less == std::string_view::npos) {
        return error("expected '$k < extent'", part);
      }
      part = trimmed(part.substr(less + 3));
      LoopDim dim;
      dim.reduction = part.ends_with(" reduction");
      STATOR_TRY(dim.extent, parse_expr(dim.reduction ? part.substr(0, part.size() - 10) : part));
      program_.dims.push_back(std::move(dim));
    }
    return {};
  }

  Status read_value(std::string_view text, OpId& id) const {
    text = trimmed(text);
    int64_t n = -1;
    if (!text.starts_with("%") ||
        std::from_chars(text.data() + 1, text.data() + text.size(), n).ec != std::errc() || n < 0 ||
        n >= static_cast<int64_t>(program_.ops.size())) {
      return error("expected an op before this one", text);
    }
    id = static_cast<OpId>(n);
    return {};
  }

  /// "b0[index @ %3 * 768]".
  Status read_place(std::string_view text, int32_t& buffer, Expr& index,
                    std::vector<Indirect>* indirect) const {
    const size_t open = text.find('[');
    const size_t close = text.rfind(']');
    if (!text.starts_with("b") || open == std::string_view::npos || close < open ||
        std::from_chars(text.data() + 1, text.data() + open, buffer).ec != std::errc()) {
      return error("expected 'b0[index]'", text);
    }
    std::string_view inner = text.substr(open + 1, close - open - 1);
    size_t at = inner.find(" @ ");
    STATOR_TRY(index, parse_expr(inner.substr(0, at)));
    while (at != std::string_view::npos && indirect != nullptr) {
      inner = inner.substr(at + 3);
      at = inner.find(" @ ");
      const std::string_view part = inner.substr(0, at);
      const size_t star = part.find(" * ");
      if (star == std::string_view::npos) {
        return error("expected '%n * stride'", part);
      }
      Indirect i;
      STATOR_RETURN_IF_ERROR(read_value(part.substr(0, star), i.op));
      STATOR_TRY(i.stride, parse_expr(part.substr(star + 3)));
      indirect->push_back(std::move(i));
    }
    return {};
  }

  Status read_store(std::string_view text) {
    const size_t equals = text.rfind(" = ");
    if (equals == std::string_view::npos) {
      return error("expected 'store b0[…] = %n'", text);
    }
    LoopStore store;
    STATOR_RETURN_IF_ERROR(
        read_place(trimmed(text.substr(0, equals)), store.buffer, store.index, nullptr));
    STATOR_RETURN_IF_ERROR(read_value(text.substr(equals + 3), store.value));
    program_.stores.push_back(std::move(store));
    return {};
  }

  static Status read_scalar(std::string_view text, Scalar& scalar) {
    int64_t integer = 0;
    const char* end = text.data() + text.size();
    if (std::from_chars(text.data(), end, integer).ptr == end) {
      scalar = Scalar::of(integer);
      return {};
    }
    double real = 0;
    if (text == "inf" || text == "-inf") {
      real = text == "inf" ? INFINITY : -INFINITY;
    } else if (text == "nan") {
      real = NAN;
    } else if (std::from_chars(text.data(), end, real).ptr != end) {
      return error("expected a number", text);
    }
    scalar = Scalar{real, 0, false};
    return {};
  }

  /// "name dtype rest": takes the dtype off.
  Status read_type(std::string_view& rest, LoopOp& op) const {
    const size_t space = std::min(rest.find(' '), rest.size());
    const std::optional<DType> dtype = parse_dtype(rest.substr(0, space));
    if (!dtype.has_value()) {
      return error("expected an element type", rest);
    }
    op.dtype = *dtype;
    rest = trimmed(rest.substr(space));
    return {};
  }

  Status read_operands(std::string_view rest, std::initializer_list<OpId*> operands) const {
    for (OpId* operand : operands) {
      const size_t comma = rest.find(',');
      STATOR_RETURN_IF_ERROR(read_value(rest.substr(0, comma), *operand));
      rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
    }
    return {};
  }

  /// "%n < limit else error dim[ wrapped][ of %n][ if %n]"
  Status read_check(std::string_view rest, LoopOp& op) const {
    op.kind = LoopOpKind::kCheckIndex;
    const auto take_last = [&rest](std::string_view mark) {
      const size_t at = rest.find(mark);
      const std::string_view last =
          at == std::string_view::npos ? std::string_view() : rest.substr(at + mark.size());
      rest = rest.substr(0, at);
      return last;
    };
    if (const std::string_view guard = take_last(" if "); !guard.empty()) {
      STATOR_RETURN_IF_ERROR(read_value(guard, op.guard));
    }
    if (const std::string_view result = take_last(" of "); !result.empty()) {
      STATOR_RETURN_IF_ERROR(read_value(result, op.b));
    }
    const size_t wrapped = rest.find(" wrapped");
    op.site.wrap = wrapped != std::string_view::npos;
    rest = rest.substr(0, wrapped);
    const std::string_view site = take_last(" else ");
    const size_t space = std::min(site.find(' '), site.size());
    const char* end = site.data() + site.size();
    if (!parse_name(site.substr(0, space), &op.site.error) || space == site.size() ||
        std::from_chars(site.data() + space + 1, end, op.site.dim).ptr != end) {
      return error("expected 'else error dim'", site);
    }
    const size_t less = rest.find(" < ");
    if (less == std::string_view::npos) {
      return error("expected '%n < limit'", rest);
    }
    STATOR_RETURN_IF_ERROR(read_value(rest.substr(0, less), op.a));
    STATOR_TRY(op.index, parse_expr(rest.substr(less + 3)));
    return {};
  }

  Status read_op(std::string_view text, LoopOp& op) const {
    const size_t space = std::min(text.find(' '), text.size());
    const std::string_view name = text.substr(0, space);
    std::string_view rest = trimmed(text.substr(space));
    if (name == "index") {
      op.kind = LoopOpKind::kIndex;
      op.dtype = DType::kInt64;
      STATOR_TRY(op.index, parse_expr(rest));
      return {};
    }
    STATOR_RETURN_IF_ERROR(read_type(rest, op));
    if (name == "check") {
      return read_check(rest, op);
    }
    if (name == "load") {
      op.kind = LoopOpKind::kLoad;
      const size_t guard = rest.find(" if ");
      if (guard != std::string_view::npos) {
        STATOR_RETURN_IF_ERROR(read_value(rest.substr(guard + 4), op.guard));
      }
      return read_place(rest.substr(0, guard), op.buffer, op.index, &op.indirect);
    }
    if (name == "constant") {
      op.kind = LoopOpKind::kConstant;
      return read_scalar(rest, op.scalar);
    }
    if (name == "accumulator") {
      op.kind = LoopOpKind::kAccumulator;
      return {};
    }
    if (name == "select") {
      op.kind = LoopOpKind::kSelect;
      return read_operands(rest, {&op.a, &op.b, &op.c});
    }
    if (name == "cast") {
      op.kind = LoopOpKind::kCast;
      return read_operands(rest, {&op.a});
    }
    if (name.starts_with("unary.") && parse_name(name.substr(6), &op.unary)) {
      op.kind = LoopOpKind::kUnary;
      return read_operands(rest, {&op.a});
    }
    if (name.starts_with("reduce.") && parse_name(name.substr(7), &op.reduce)) {
      op.kind = LoopOpKind::kReduce;
      return read_operands(rest, {&op.a});
    }
    if (parse_name(name, &op.elementwise)) {
      op.kind = LoopOpKind::kElementwise;
      return read_operands(rest, {&op.a, &op.b});
    }
    return error("unknown op", text);
  }

  LoopProgram program_;
};

}  // namespace

Result<LoopProgram> parse_loop_program(std::string_view text) { return LoopParser().parse(text); }

}  // namespace stator
