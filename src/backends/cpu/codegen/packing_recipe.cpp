// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/packing_recipe.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace stator::cpu {
namespace {

constexpr int64_t kGroup = 4;  // bytes of an element

int64_t extent_of(const std::vector<PackedDim>& dims) {
  int64_t extent = 1;
  for (const PackedDim& dim : dims) extent *= dim.extent;
  return extent;
}

std::string print_dims(const std::vector<PackedDim>& dims) {
  std::string text;
  for (const PackedDim& dim : dims)
    text +=
        (text.empty() ? "" : ",") + std::to_string(dim.extent) + ":" + std::to_string(dim.stride);
  return text.empty() ? "-" : text;
}

/// Reads words and numbers from the front of a text.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}
  bool take(std::string_view prefix) {
    if (!rest_.starts_with(prefix)) return false;
    rest_.remove_prefix(prefix.size());
    return true;
  }
  std::optional<int64_t> number() {
    int64_t value = 0;
    auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc()) return std::nullopt;
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
    return value;
  }
  std::optional<std::vector<PackedDim>> dims() {
    std::vector<PackedDim> result;
    if (take("-")) return result;
    do {
      auto extent = number();
      if (!extent || *extent < 0 || !take(":")) return std::nullopt;
      auto stride = number();
      if (!stride) return std::nullopt;
      result.push_back({*extent, *stride});
    } while (take(","));
    return result;
  }
  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

/// The source offsets that a list of dims visits, in row-major order.
std::vector<int64_t> offsets_of(const std::vector<PackedDim>& dims) {
  std::vector<int64_t> offsets = {0};
  for (const PackedDim& dim : dims) {
    std::vector<int64_t> next;
    next.reserve(offsets.size() * static_cast<size_t>(dim.extent));
    for (int64_t base : offsets)
      for (int64_t i = 0; i < dim.extent; ++i) next.push_back(base + i * dim.stride);
    offsets = std::move(next);
  }
  return offsets;
}

bool inside(const PanelRecipe& recipe, int64_t elements) {
  if (recipe.size_bytes() == 0) return true;
  int64_t least = recipe.offset, greatest = recipe.offset;
  std::vector<PackedDim> dims = recipe.k;
  dims.insert(dims.end(), recipe.batch.begin(), recipe.batch.end());
  dims.push_back(recipe.n);
  if (recipe.byte_stride != 0) dims.push_back({kGroup, recipe.byte_stride});
  for (const PackedDim& dim : dims)
    (dim.stride < 0 ? least : greatest) += (dim.extent - 1) * dim.stride;
  return least >= 0 && greatest < elements;
}

/// `element(address)` is what an element of the source is in a panel.
template <typename Source, typename Packed, typename Element>
void pack(const PanelRecipe& recipe, const Source* source, Packed* to, const Element& element) {
  const Source* from = source + recipe.offset;
  std::vector<int64_t> k_offsets = offsets_of(recipe.k);
  for (int64_t batch : offsets_of(recipe.batch)) {
    for (int64_t first = 0; first < recipe.n.extent; first += recipe.columns) {
      int64_t there = std::min(recipe.columns, recipe.n.extent - first);
      for (int64_t k : k_offsets) {
        const Source* row = from + batch + k + first * recipe.n.stride;
        for (int64_t c = 0; c < there; ++c) to[c] = element(row + c * recipe.n.stride);
        std::fill(to + there, to + recipe.columns, Packed(0));
        to += recipe.columns;
      }
    }
  }
}

}  // namespace

void PanelRecipe::group_bytes(int64_t stride) {
  byte_stride = stride;
  k.back().stride = kGroup * stride;
}

int64_t PanelRecipe::k_extent() const { return extent_of(k); }
int64_t PanelRecipe::batch_extent() const { return extent_of(batch); }

int64_t PanelRecipe::size_bytes() const {
  return batch_extent() * panel_count() * k_extent() * columns * 4;
}

std::string PanelRecipe::str() const {
  return "panels " + std::to_string(columns) + " n " + print_dims({n}) + " k " + print_dims(k) +
         " batch " + print_dims(batch) + " offset " + std::to_string(offset) +
         (byte_stride != 0 ? " bytes " + std::to_string(byte_stride) : "");
}

Result<PanelRecipe> PanelRecipe::parse(std::string_view text) {
  Error error{
      ErrorCode::kInvalidArgument,
      "packing recipe '" + std::string(text) +
          "' is not of the form 'panels C n E:S k E:S,… batch E:S,… offset O [bytes S]'; it was "
          "written by another version of Stator: build the engine again"};
  Reader reader(text);
  PanelRecipe recipe;
  if (!reader.take("panels ")) return error;
  auto columns = reader.number();
  if (!columns || *columns <= 0 || !reader.take(" n ")) return error;
  auto n = reader.dims();
  if (!n || n->size() != 1 || !reader.take(" k ")) return error;
  auto k = reader.dims();
  if (!k || !reader.take(" batch ")) return error;
  auto batch = reader.dims();
  if (!batch || !reader.take(" offset ")) return error;
  auto offset = reader.number();
  if (!offset) return error;
  if (!reader.at_end()) {
    auto stride = reader.take(" bytes ") ? reader.number() : std::nullopt;
    if (!stride || *stride == 0 || !reader.at_end()) return error;
    recipe.byte_stride = *stride;
  }
  recipe.columns = *columns;
  recipe.n = n->front();
  recipe.k = std::move(*k);
  recipe.batch = std::move(*batch);
  recipe.offset = *offset;
  return recipe;
}

Result<TensorData> pack_panels(const PanelRecipe& recipe, const TensorData& source) {
  if (!inside(recipe, source.size_bytes / (recipe.byte_stride != 0 ? 1 : kGroup)))
    return Error{ErrorCode::kInvalidArgument,
                 "packing recipe '" + recipe.str() + "' reads past a weight of " +
                     std::to_string(source.size_bytes) + " bytes; give a weight of the same shape"};
  void* memory = nullptr;
  TensorData packed = TensorData::allocate(recipe.size_bytes(), &memory);
  if (recipe.byte_stride != 0) {
    const int64_t step = recipe.byte_stride;
    pack(recipe, source.as<uint8_t>(), static_cast<uint32_t*>(memory), [step](const uint8_t* p) {
      return static_cast<uint32_t>(p[0]) | static_cast<uint32_t>(p[step]) << 8 |
             static_cast<uint32_t>(p[2 * step]) << 16 | static_cast<uint32_t>(p[3 * step]) << 24;
    });
  } else {
    pack(recipe, source.as<float>(), static_cast<float*>(memory),
         [](const float* p) { return *p; });
  }
  return packed;
}

}  // namespace stator::cpu
