// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/shared/library_kernel.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include "layer/names.h"
#include "layer/whole_layer.h"

namespace stator::cpu {
namespace {

std::string print(const ScanKernel& k) {
  return std::string("scan ") + name_of(k.op) + " " + dtype_name(k.dtype);
}

std::string print(const OrderKernel& k) { return std::string("order ") + dtype_name(k.dtype); }

std::string print(const ScatterKernel& k) {
  return std::string("scatter ") + dtype_name(k.dtype) + " " + name_of(k.op) + " " +
         std::to_string(k.rank);
}

/// The text's words in turn, each read once.
class Words {
 public:
  explicit Words(std::string_view text) {
    while (!text.empty()) {
      const size_t end = std::min(text.find(' '), text.size());
      words_.push_back(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }
  bool done() const { return at_ == words_.size(); }
  bool accept(std::string_view word) {
    const bool is = !done() && words_[at_] == word;
    at_ += is ? 1 : 0;
    return is;
  }
  bool dtype(DType* value) {
    const std::optional<DType> found = done() ? std::nullopt : parse_dtype(words_[at_++]);
    *value = found.value_or(DType::kFloat32);
    return found.has_value() &&
           (is_plain_number(*value) || *value == DType::kFloat16 || *value == DType::kBFloat16);
  }
  template <typename Op>
  bool op(Op* value) {
    return !done() && parse_name(words_[at_++], value);
  }
  bool rank(int* value) {
    if (done()) return false;
    const std::string_view word = words_[at_++];
    const char* end = word.data() + word.size();
    const auto [stop, error] = std::from_chars(word.data(), end, *value);
    return error == std::errc() && stop == end && *value >= 1 && *value <= kMostScatterDims;
  }

 private:
  std::vector<std::string_view> words_;
  size_t at_ = 0;
};

bool read(Words& words, ScanKernel* k) {
  return words.op(&k->op) && words.dtype(&k->dtype) && is_whole_layer(Scan{k->op}, k->dtype);
}

bool read(Words& words, OrderKernel* k) { return words.dtype(&k->dtype); }

bool read(Words& words, ScatterKernel* k) {
  return words.dtype(&k->dtype) && words.op(&k->op) && words.rank(&k->rank) &&
         is_whole_layer(ScatterElements{0, k->op}, k->dtype);
}

Error no_kernel(const std::string& text) {
  return {ErrorCode::kInvalidFile, "the library has no kernel \"" + text + "\""};
}

template <typename Kernel>
Result<LibraryKernel> read_all(Words words, const std::string& text) {
  Kernel kernel;
  if (read(words, &kernel) && words.done()) return LibraryKernel(kernel);
  return no_kernel(text);
}

}  // namespace

std::string print_library_kernel(const LibraryKernel& kernel) {
  return std::visit([](const auto& k) { return print(k); }, kernel);
}

Result<LibraryKernel> parse_library_kernel(const std::string& text) {
  Words words(text);
  if (words.accept("scan")) return read_all<ScanKernel>(words, text);
  if (words.accept("order")) return read_all<OrderKernel>(words, text);
  if (words.accept("scatter")) return read_all<ScatterKernel>(words, text);
  return no_kernel(text);
}

}  // namespace stator::cpu
