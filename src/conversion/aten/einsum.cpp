// SPDX-License-Identifier: Apache-2.0
//
// einsum as batched matrix products, from left to right as PyTorch's default path does it.
#include <algorithm>
#include <map>

#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

struct Equation {
  std::vector<std::string> operands;  // one letter an axis
  std::string result;
};

/// "bij,bjk->bik". Without "->" the result has the letters that occur once, sorted. nullopt for
/// ellipses, repeated letters within an operand, and what is not well formed.
std::optional<Equation> parse(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  if (text.find('.') != std::string::npos) return std::nullopt;
  Equation equation;
  const size_t arrow = text.find("->");
  std::string left = text.substr(0, arrow) + ",";
  std::map<char, int> counts;
  for (size_t comma = left.find(','); comma != std::string::npos; comma = left.find(',')) {
    const std::string labels = left.substr(0, comma);
    left.erase(0, comma + 1);
    for (const char label : labels) {
      if (std::count(labels.begin(), labels.end(), label) > 1) return std::nullopt;
      ++counts[label];
    }
    equation.operands.push_back(labels);
  }
  if (arrow != std::string::npos) {
    equation.result = text.substr(arrow + 2);
  } else {
    for (const auto& [label, count] : counts) {
      if (count == 1) equation.result += label;
    }
  }
  return equation;
}

/// A tensor whose axes have letters.
struct Labeled {
  TensorId tensor = -1;
  std::string labels;
};

bool has(const std::string& labels, char label) { return labels.find(label) != std::string::npos; }

/// The axes in the order of `labels`, which are a permutation of x's.
Labeled ordered(Conversion& c, const Labeled& x, const std::string& labels) {
  std::vector<int64_t> order;
  for (const char label : labels) {
    order.push_back(static_cast<int64_t>(x.labels.find(label)));
  }
  return {c.network().add_transpose(x.tensor, order), labels};
}

/// Axes that nobody reads any more are summed.
Labeled without_unread(Conversion& c, const Labeled& x, const std::string& read) {
  std::vector<int64_t> axes;
  std::string kept;
  for (size_t k = 0; k < x.labels.size(); ++k) {
    if (has(read, x.labels[k])) {
      kept += x.labels[k];
    } else {
      axes.push_back(static_cast<int64_t>(k));
    }
  }
  return axes.empty()
             ? x
             : Labeled{c.network().add_reduce(x.tensor, ReduceOp::kSum, axes, false), kept};
}

/// The letters of `a` that satisfy `keep`, in a's order.
template <typename Keep>
std::string letters(const std::string& a, const Keep& keep) {
  std::string result;
  std::copy_if(a.begin(), a.end(), std::back_inserter(result), keep);
  return result;
}

using Sizes = std::map<char, Expr>;

/// One size a group of letters, one axis a letter for the batch.
TensorId grouped(Conversion& c, const Labeled& x, const std::string& batch,
                 const std::string& first, const std::string& second, const Sizes& sizes) {
  const Labeled y = ordered(c, x, batch + first + second);
  Shape shape;
  for (const char label : batch) shape.push_back(sizes.at(label));
  for (const std::string& group : {first, second}) {
    Expr size = 1;
    for (const char label : group) size = size * sizes.at(label);
    shape.push_back(size);
  }
  return c.network().add_reshape(y.tensor, shape);
}

/// a · b over the letters that both have and `read` lacks.
Labeled product(Conversion& c, const Labeled& left, const Labeled& right, const std::string& read,
                const Sizes& sizes) {
  const Labeled a = without_unread(c, left, read + right.labels);
  const Labeled b = without_unread(c, right, read + left.labels);
  const auto shared = [&](char l) { return has(a.labels, l) && has(b.labels, l); };
  const std::string batch = letters(a.labels, [&](char l) { return shared(l) && has(read, l); });
  const std::string summed = letters(a.labels, [&](char l) { return shared(l) && !has(read, l); });
  const std::string rows = letters(a.labels, [&](char l) { return !shared(l); });
  const std::string columns = letters(b.labels, [&](char l) { return !shared(l); });
  const TensorId x = grouped(c, a, batch, rows, summed, sizes);
  const TensorId y = grouped(c, b, batch, summed, columns, sizes);
  const TensorId z = c.network().add_matrix_multiply(x, false, y, false);
  const std::string labels = batch + rows + columns;
  Shape shape;
  for (const char label : labels) shape.push_back(sizes.at(label));
  return {c.network().add_reshape(z, shape), labels};
}

TensorId einsum(Conversion& c, const Node& node) {
  const Equation equation = *parse(node.string("equation"));
  const DType dtype = sum_dtype(c.output_meta(node).dtype);
  const std::vector<ValueId> tensors = node.tensors("tensors");
  std::vector<Labeled> operands;
  Sizes sizes;
  for (size_t i = 0; i < tensors.size(); ++i) {
    operands.push_back({c.cast(c.tensor(tensors[i]), dtype), equation.operands[i]});
    const Shape& shape = c.network().type(operands[i].tensor).shape;
    for (size_t k = 0; k < shape.size(); ++k) sizes[equation.operands[i][k]] = shape[k];
  }
  Labeled total = operands[0];
  for (size_t i = 1; i < operands.size(); ++i) {
    std::string read = equation.result;
    for (size_t later = i + 1; later < operands.size(); ++later) read += operands[later].labels;
    total = product(c, total, operands[i], read, sizes);
  }
  return ordered(c, without_unread(c, total, equation.result), equation.result).tensor;
}

Support einsum_support(const SupportContext& c, const Node& node) {
  const auto equation = parse(node.string("equation"));
  const std::vector<ValueId> tensors = node.tensors("tensors");
  if (!equation || equation->operands.size() != tensors.size()) {
    return Support::no("its equation \"" + node.string("equation") +
                       "\" has an ellipsis or a letter twice in one operand");
  }
  std::map<char, Expr> sizes;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorMeta& meta = c.meta(tensors[i]);
    if (meta.dtype == DType::kBool ||
        meta.rank() != static_cast<int>(equation->operands[i].size())) {
      return Support::no("its operands do not fit the equation");
    }
    for (size_t k = 0; k < meta.shape.size(); ++k) {
      const auto [place, fresh] = sizes.emplace(equation->operands[i][k], meta.shape[k]);
      if (!fresh && !c.graph.bounds.proves_equal(place->second, meta.shape[k])) {
        return Support::no("axes of one letter have the sizes " + place->second.str() + " and " +
                           meta.shape[k].str());
      }
    }
  }
  return Support::yes();
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_einsum(ConverterRegistry& r) {
  r.add("aten.einsum.default", aten::single(aten::einsum, aten::einsum_support));
}

}  // namespace stator
