// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "optimizer/fusion/decide.h"
#include "optimizer/passes/expand/expand.h"

namespace stator::expand {
namespace {

using Parts = std::vector<TensorId>;

/// Neighbours that are joined before all are, and their size together.
struct Group {
  Parts parts;
  int64_t size = 0;
};

TensorId join(Network& to, const Parts& parts, int64_t axis) {
  return parts.size() == 1 ? parts[0] : to.add_concatenation(parts, axis);
}

/// The smallest of the groups and its smaller neighbour become one; false where that has too many
/// parts to be read under guards.
bool merge_smallest(std::vector<Group>& groups) {
  const auto less = [](const Group& a, const Group& b) { return a.size < b.size; };
  const auto smallest = std::min_element(groups.begin(), groups.end(), less);
  const auto k = static_cast<size_t>(smallest - groups.begin());
  const bool last = k + 1 == groups.size();
  const bool before = last || (k > 0 && groups[k - 1].size <= groups[k + 1].size);
  const size_t first = before ? k - 1 : k;
  Group& left = groups[first];
  const Group& right = groups[first + 1];
  if (left.parts.size() + right.parts.size() > kMostJoined) {
    return false;
  }
  left.parts.insert(left.parts.end(), right.parts.begin(), right.parts.end());
  left.size += right.size;
  groups.erase(groups.begin() + static_cast<int64_t>(first) + 1);
  return true;
}

/// Parts that are too small for chunks of a size that suits the others are joined to neighbours.
/// Empty where that does not help.
Parts make_chunked(const Expansion& e, int64_t axis) {
  std::vector<Group> groups;
  for (size_t k = 0; k < e.layer.inputs.size(); ++k) {
    const Expr& size = e.type(k).shape[static_cast<size_t>(axis)];
    if (!size.is_constant()) {
      return {};
    }
    if (size.constant() > 0) groups.push_back({{e.input(k)}, size.constant()});
  }
  const auto is_chunked = [&] {
    std::vector<int64_t> sizes;
    for (const Group& group : groups) sizes.push_back(group.size);
    return chunk_of_parts(sizes).has_value();
  };
  while (groups.size() > kMostJoined && !is_chunked()) {
    if (!merge_smallest(groups)) {
      return {};
    }
  }
  Parts parts;
  for (const Group& group : groups) {
    parts.push_back(join(e.to(), group.parts, axis));
  }
  return parts;
}

/// In fours, and those again: an element is read under the guards of every four it is in.
TensorId join_in_fours(Network& to, Parts parts, int64_t axis) {
  while (parts.size() > 1) {
    Parts joined;
    for (size_t k = 0; k < parts.size(); k += kMostJoined) {
      const size_t end = std::min(k + kMostJoined, parts.size());
      joined.push_back(join(
          to, {parts.begin() + static_cast<int64_t>(k), parts.begin() + static_cast<int64_t>(end)},
          axis));
    }
    parts = std::move(joined);
  }
  return parts[0];
}

}  // namespace

Results concat(const Expansion& e) {
  if (e.layer.inputs.size() <= kMostJoined || join_chunk(e.rewriter.source(), e.layer) ||
      !in_loops(e.traits, e.result().dtype) || e.result().rank() > 8) {
    return std::nullopt;
  }
  const int64_t axis = std::get<Concat>(e.layer.attributes).axis;
  Parts parts = make_chunked(e, axis);
  if (!parts.empty()) {
    return Parts{join(e.to(), parts, axis)};
  }
  for (size_t k = 0; k < e.layer.inputs.size(); ++k) {
    parts.push_back(e.input(k));
  }
  return Parts{join_in_fours(e.to(), parts, axis)};
}

}  // namespace stator::expand
