// SPDX-License-Identifier: Apache-2.0
//
// Sorting and top-k, a row at a time. An element becomes a key, an unsigned number of the same
// order in which NaN is the greatest and the zeros are one, and the key an entry with its place.
// Entries are all different, and their order is the stable one: they are sorted by radix.
//
// PyTorch's CPU kernels leave equals as the C++ library's sort, partial_sort and nth_element do,
// which depends on nothing but the outcomes of comparisons: run on the entries' keys, they leave
// the same. Where no two keys are equal every order is that one, so a row is sorted by radix first.
#include <algorithm>
#include <array>
#include <limits>

#include "backends/cpu/run/library/element.h"
#include "backends/cpu/run/library/library.h"
#include "layer/fault_site.h"

namespace stator::cpu {
namespace {

constexpr int64_t kFewEntries = 96;   // sorted by counting
constexpr int64_t kSelectRatio = 64;  // PyTorch's: so many times k elements are selected by a heap
constexpr int64_t kBlock = 64;        // elements that are compared with a heap's top at once

/// A key of 32 bits above the place.
struct Narrow {
  using Key = uint32_t;
  uint64_t bits;
  static Narrow of(Key key, int64_t place) {
    return {uint64_t{key} << 32 | static_cast<uint64_t>(place)};
  }
  Key key() const { return static_cast<Key>(bits >> 32); }
  int64_t place() const { return static_cast<int64_t>(bits & UINT32_MAX); }
  static bool less(const Narrow& a, const Narrow& b) { return a.bits < b.bits; }
};

struct Wide {
  using Key = uint64_t;
  uint64_t bits;
  int64_t at;
  static Wide of(Key key, int64_t place) { return {key, place}; }
  Key key() const { return bits; }
  int64_t place() const { return at; }
  static bool less(const Wide& a, const Wide& b) {
    return a.bits != b.bits ? a.bits < b.bits : a.at < b.at;
  }
};

/// Entries by their keys alone, and in their own order.
struct LessKey {
  template <typename Entry>
  bool operator()(const Entry& a, const Entry& b) const {
    return a.key() < b.key();
  }
};
struct Less {
  template <typename Entry>
  bool operator()(const Entry& a, const Entry& b) const {
    return Entry::less(a, b);
  }
};

template <typename T, typename Key>
Key ascending_key(T x) {
  if constexpr (is_half_type<T>) {
    constexpr uint32_t kInfinity = std::is_same_v<T, Float16> ? 0x7c00 : 0x7f80;
    const uint32_t size = x.bits & 0x7fffU;
    return size > kInfinity ? ~Key{0} : (x.bits & 0x8000) != 0 ? 0x8000 - size : 0x8000 + size;
  } else {
    constexpr Key kSign = Key{1} << (8 * sizeof(T) - 1);
    const Key bits = std::bit_cast<Key>(x + T{0});  // -0 is 0
    const Key key = (bits & kSign) != 0 ? ~bits : bits | kSign;
    return x != x ? ~Key{0} : key;
  }
}

/// Between which values a row's integers lie: what is above the least is a key, of 32 bits where
/// they suffice. Other elements have none.
template <typename T>
struct Range {
  T least{};
  uint64_t width = UINT64_MAX;  // the greatest key

  Range(const T* x, int64_t length, int64_t stride) {
    if constexpr (std::is_integral_v<T>) {
      T most = least = x[0];
      for (int64_t i = 0; i < length; ++i) {
        least = std::min(least, x[i * stride]);
        most = std::max(most, x[i * stride]);
      }
      width = static_cast<uint64_t>(most) - static_cast<uint64_t>(least);
    }
  }
};

/// Few entries, each put where it belongs: behind those that are less, and behind its equals that
/// stand before it.
void sort_by_ranks(const Narrow* a, Narrow* b, int64_t count) {
  int32_t keys[kFewEntries];
  for (int64_t i = 0; i < count; ++i) keys[i] = static_cast<int32_t>(a[i].key() ^ 0x80000000U);
  for (int64_t i = 0; i < count; ++i) {
    const int32_t key = keys[i];
    int32_t rank = 0;
    for (int64_t j = 0; j < i; ++j) rank += keys[j] <= key ? 1 : 0;
    for (int64_t j = i + 1; j < count; ++j) rank += keys[j] < key ? 1 : 0;
    b[rank] = a[i];
  }
}

/// By radix of bytes; bytes that all keys share are passed over. Gives a or b, whichever holds the
/// result.
template <typename Entry>
Entry* sort_by_radix(Entry* a, Entry* b, int64_t count) {
  if (count <= kFewEntries) {
    if constexpr (std::is_same_v<Entry, Narrow>) {
      sort_by_ranks(a, b, count);
      return b;
    }
    std::sort(a, a + count, Less());
    return a;
  }
  constexpr size_t kBytes = sizeof(typename Entry::Key);
  std::array<std::array<uint32_t, 256>, kBytes> counts{};
  for (int64_t i = 0; i < count; ++i) {
    const auto key = a[i].key();
    for (size_t byte = 0; byte < kBytes; ++byte) ++counts[byte][key >> (8 * byte) & 255];
  }
  for (size_t byte = 0; byte < kBytes; ++byte) {
    std::array<uint32_t, 256>& ends = counts[byte];
    if (ends[a[0].key() >> (8 * byte) & 255] == count) continue;
    uint32_t sum = 0;
    for (uint32_t& end : ends) sum += std::exchange(end, sum);
    for (int64_t i = 0; i < count; ++i) b[ends[a[i].key() >> (8 * byte) & 255]++] = a[i];
    std::swap(a, b);
  }
  return a;
}

template <typename Entry>
bool has_equals(const Entry* sorted, int64_t count) {
  bool equal = false;
  for (int64_t i = 1; i < count; ++i) equal = equal || sorted[i - 1].key() == sorted[i].key();
  return equal;
}

/// One row: its elements, and what comes of them.
template <typename T, typename Entry>
class Row {
 public:
  using Key = typename Entry::Key;

  Row(const T* x, int64_t length, int64_t stride, int64_t how, const Range<T>& range, void* scratch)
      : x_(x),
        length_(length),
        stride_(stride),
        range_(range),
        flip_((how & kDescending) != 0 ? ~Key{0} : 0),
        stable_((how & kStable) != 0),
        entries_(static_cast<Entry*>(scratch)) {}

  /// All entries in order.
  const Entry* sort() {
    const bool surely_equals = range_.width < static_cast<uint64_t>(length_) - 1;
    if (stable_ || !surely_equals) {
      fill();
      const Entry* sorted = sort_by_radix(entries_, entries_ + length_, length_);
      if (stable_ || !has_equals(sorted, length_)) return sorted;
    }
    fill();
    std::sort(entries_, entries_ + length_, LessKey());
    return entries_;
  }

  /// The first `count` > 0 of them.
  const Entry* select(int64_t count, bool in_order) {
    stable_ ? select(count, in_order, Less()) : select(count, in_order, LessKey());
    return entries_;
  }

 private:
  Key key(T x) const {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<Key>(static_cast<uint64_t>(x) - static_cast<uint64_t>(range_.least)) ^
             flip_;
    } else {
      return ascending_key<T, Key>(x) ^ flip_;
    }
  }

  void fill() {
    for (int64_t i = 0; i < length_; ++i) entries_[i] = Entry::of(key(x_[i * stride_]), i);
  }

  template <typename Compare>
  void select(int64_t count, bool in_order, Compare less) {
    if (count * kSelectRatio <= length_) {
      select_by_heap(count, less);
      return;
    }
    fill();
    Entry* last = entries_ + count - 1;
    std::nth_element(entries_, last, entries_ + length_, less);
    if (in_order) std::sort(entries_, last, less);
  }

  /// std::partial_sort, which never looks again at what its heap has passed over: so the entries
  /// are made as they are met, and most are one comparison of many at once.
  template <typename Compare>
  void select_by_heap(int64_t count, Compare less) {
    Entry* heap = entries_;
    for (int64_t i = 0; i < count; ++i) heap[i] = Entry::of(key(x_[i * stride_]), i);
    std::make_heap(heap, heap + count, less);
    for (int64_t begin = count; begin < length_; begin += kBlock) {
      const int64_t block = std::min(kBlock, length_ - begin);
      Key keys[kBlock];
      load_keys(begin, block, keys);
      const Key top = heap[0].key();
      bool any = false;
      for (int64_t i = 0; i < block; ++i) any |= keys[i] < top;
      if (!any) continue;
      for (int64_t i = 0; i < block; ++i) {
        heap[count] = Entry::of(keys[i], begin + i);
        if (less(heap[count], heap[0])) std::pop_heap(heap, heap + count + 1, less);
      }
    }
    std::sort_heap(heap, heap + count, less);
  }

  void load_keys(int64_t begin, int64_t count, Key* keys) const {
    if (stride_ == 1) {
      for (int64_t i = 0; i < count; ++i) keys[i] = key(x_[begin + i]);
    } else {
      for (int64_t i = 0; i < count; ++i) keys[i] = key(x_[(begin + i) * stride_]);
    }
  }

  const T* x_;
  int64_t length_, stride_;
  Range<T> range_;
  Key flip_;
  bool stable_;
  Entry* entries_;
};

/// Which of a row's elements are wanted, and where they go.
struct Wanted {
  int64_t length, inner, count, how;
};

template <typename T, typename Entry>
void order_row(const T* x, T* values, int64_t* places, const Wanted& wanted, const Range<T>& range,
               void* scratch) {
  Row<T, Entry> row(x, wanted.length, wanted.inner, wanted.how, range, scratch);
  const auto* entries = (wanted.how & kSelect) != 0
                            ? row.select(wanted.count, (wanted.how & kSorted) != 0)
                            : row.sort();
  for (int64_t i = 0; i < wanted.count; ++i) {
    const int64_t place = entries[i].place();
    values[i * wanted.inner] = x[place * wanted.inner];
    places[i * wanted.inner] = place;
  }
}

template <typename T>
void order_rows(const KernelArgs* args, int64_t begin, int64_t end, void* scratch) {
  const Wanted wanted{args->sizes[1], args->sizes[2], args->sizes[3], args->sizes[4]};
  if (wanted.count > wanted.length) {
    report_fault(*args, FaultSite{DataError::kRank, 0, false}.code(), wanted.count, wanted.length);
    return;
  }
  for (int64_t task = wanted.count > 0 ? begin : end; task < end; ++task) {
    const int64_t outer = task / wanted.inner, column = task % wanted.inner;
    const T* x =
        static_cast<const T*>(args->buffers[0]) + outer * wanted.length * wanted.inner + column;
    const int64_t to = outer * wanted.count * wanted.inner + column;
    auto* values = static_cast<T*>(args->buffers[1]) + to;
    auto* places = static_cast<int64_t*>(args->buffers[2]) + to;
    const Range<T> range(x, wanted.length, wanted.inner);
    if constexpr (sizeof(T) <= 4) {
      order_row<T, Narrow>(x, values, places, wanted, range, scratch);
    } else if (std::is_integral_v<T> && range.width <= UINT32_MAX) {
      if constexpr (std::is_integral_v<T>) {
        order_row<T, Narrow>(x, values, places, wanted, range, scratch);
      }
    } else {
      order_row<T, Wide>(x, values, places, wanted, range, scratch);
    }
  }
}

}  // namespace

CpuKernel order_entry(const OrderKernel& kernel) {
  return with_element(kernel.dtype,
                      [](auto element) -> CpuKernel { return order_rows<decltype(element)>; });
}

}  // namespace stator::cpu
