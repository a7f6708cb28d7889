// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/run/library/library.h"

#include <algorithm>
#include <cstdint>

#include "layer/scan_places.h"

namespace stator::cpu {
namespace {

/// A product that is not negative and fits 63 bits; -1 where it does not.
int64_t product(std::initializer_list<int64_t> factors) {
  int64_t result = 1;
  bool fits = true;
  for (const int64_t factor : factors) {
    fits = fits && factor >= 0 && !__builtin_mul_overflow(result, factor, &result);
  }
  return fits ? result : -1;
}

int64_t elements(const TensorShape& shape) {
  int64_t count = 1;
  for (int32_t k = 0; k < shape.rank; ++k) count *= shape.sizes[k];  // a buffer's, which was proved
  return count;
}

/// The element types of the buffers, and how many of them and of the sizes there are.
struct Signature {
  std::vector<DType> buffers;
  size_t sizes;
};

Signature signature_of(const ScanKernel& k) {
  Signature s{{k.dtype, k.dtype}, kScanSizes};
  if (has_places(k.op)) s.buffers.push_back(DType::kInt64);
  return s;
}

Signature signature_of(const OrderKernel& k) {
  return {{k.dtype, k.dtype, DType::kInt64}, kOrderSizes};
}

Signature signature_of(const ScatterKernel& k) {
  return {{k.dtype, DType::kInt64, k.dtype, k.dtype}, static_cast<size_t>(scatter_sizes(k.rank))};
}

bool fits(const ScanKernel& k, const BoundStep& step) {
  const int64_t* sizes = step.args->sizes;
  const int64_t all = product({sizes[0], sizes[1], sizes[2]});
  const int64_t blocks = sizes[2] / kScanColumns + (sizes[2] % kScanColumns > 0 ? 1 : 0);
  const int buffers = has_places(k.op) ? 3 : 2;
  bool same = all >= 0 && step.task_count <= product({sizes[0], blocks});
  for (int i = 0; i < buffers; ++i) same = same && elements(step.shapes[i]) == all;
  return same;
}

bool fits(const OrderKernel& k, const BoundStep& step) {
  const int64_t* sizes = step.args->sizes;
  const int64_t all = product({sizes[0], sizes[1], sizes[2]});
  const int64_t taken = product({sizes[0], sizes[3], sizes[2]});
  const int64_t scratch = product({sizes[1], order_bytes(k.dtype)});
  return all >= 0 && taken >= 0 && elements(step.shapes[0]) == all &&
         elements(step.shapes[1]) == taken && elements(step.shapes[2]) == taken && scratch >= 0 &&
         sizes[1] <= INT32_MAX && step.scratch_bytes - kOrderMore >= scratch &&
         step.task_count <= product({sizes[0], sizes[2]});
}

/// Whether a view over extents (of the axis: `limit`) stays within so many elements. `view`: offset
/// and strides.
bool view_fits(const int64_t* extents, int rank, int axis, int64_t limit, const int64_t* view,
               int64_t count) {
  int64_t first = view[0], last = view[0];
  bool fits = true;
  for (int d = 0; d < rank; ++d) {
    const int64_t extent = d == axis ? limit : extents[d];
    int64_t& end = view[1 + d] < 0 ? first : last;
    int64_t step = 0;
    fits = fits && !__builtin_mul_overflow(extent - 1, view[1 + d], &step) &&
           !__builtin_add_overflow(end, step, &end);
  }
  return fits && first >= 0 && last < count;
}

bool fits(const ScatterKernel& k, const BoundStep& step) {
  const int64_t* sizes = step.args->sizes;
  const int64_t axis = sizes[1], limit = sizes[3];
  if (sizes[0] != k.rank || axis < 0 || axis >= k.rank || limit < 0) return false;
  const int64_t* extents = sizes + 4;
  const int64_t* views = extents + k.rank;
  int64_t columns = 1;
  for (int d = 0; d < k.rank; ++d) {
    if (extents[d] < 0) return false;
    if (d != axis && d + 1 != k.rank) columns = product({columns, extents[d]});
  }
  const int64_t last = extents[k.rank - 1];
  const int64_t blocks =
      axis == k.rank - 1 ? 1 : last / kScatterColumns + (last % kScatterColumns > 0 ? 1 : 0);
  if (step.task_count > product({columns, blocks})) return false;
  if (std::any_of(extents, extents + k.rank, [](int64_t n) { return n == 0; })) return true;
  // Where y has no place along the axis, every index is out of range.
  return view_fits(extents, k.rank, -1, 0, views, elements(step.shapes[1])) &&
         view_fits(extents, k.rank, -1, 0, views + 1 + k.rank, elements(step.shapes[2])) &&
         (limit == 0 || view_fits(extents, k.rank, static_cast<int>(axis), limit,
                                  views + 2 * (1 + k.rank), elements(step.shapes[3])));
}

}  // namespace

CpuKernel library_entry(const LibraryKernel& kernel) {
  if (const auto* scan = std::get_if<ScanKernel>(&kernel)) return scan_entry(*scan);
  if (const auto* order = std::get_if<OrderKernel>(&kernel)) return order_entry(*order);
  return scatter_entry(std::get<ScatterKernel>(kernel));
}

Status check_library_step(const LibraryKernel& kernel, const Plan& plan, const PlanStep& step) {
  const Signature wanted = std::visit([](const auto& k) { return signature_of(k); }, kernel);
  bool right = step.buffers.size() == wanted.buffers.size() && step.sizes.size() == wanted.sizes;
  for (size_t i = 0; right && i < step.buffers.size(); ++i) {
    right = plan.buffers[static_cast<size_t>(step.buffers[i])].dtype == wanted.buffers[i];
  }
  return right ? Status()
               : Error{ErrorCode::kInvalidFile, "a step does not have the buffers and sizes of \"" +
                                                    print_library_kernel(kernel) + "\""};
}

Status check_library_launch(const LibraryKernel& kernel, const BoundStep& step) {
  return std::visit([&](const auto& k) { return fits(k, step); }, kernel)
             ? Status()
             : Error{ErrorCode::kInvalidFile, "a step would take \"" +
                                                  print_library_kernel(kernel) +
                                                  "\" past the end of its buffers"};
}

}  // namespace stator::cpu
