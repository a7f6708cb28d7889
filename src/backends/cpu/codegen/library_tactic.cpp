// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/library_tactic.h"

#include "base/check.h"
#include "layer/fault_site.h"

namespace stator::cpu {
namespace {

KernelLaunch launch_of(const ScanRegion& scan) {
  KernelLaunch launch;
  launch.sizes = {scan.outer, scan.length, scan.inner};
  launch.task_count = scan.outer * ceil_div(scan.inner, Expr(kScanColumns));
  return launch;
}

KernelLaunch launch_of(const OrderRegion& order) {
  const int64_t how = (order.descending ? kDescending : 0) + (order.stable ? kStable : 0) +
                      (order.select ? kSelect : 0) + (order.sorted ? kSorted : 0);
  KernelLaunch launch;
  launch.sizes = {order.outer, order.length, order.inner, order.count, Expr(how)};
  launch.task_count = order.outer * order.inner;
  launch.scratch_bytes = order.length * Expr(order_bytes(order.dtype)) + Expr(kOrderMore);
  return launch;
}

KernelLaunch launch_of(const ScatterRegion& scatter) {
  const auto rank = static_cast<int64_t>(scatter.extents.size());
  const FaultSite site{scatter.error, scatter.dim, false};
  KernelLaunch launch;
  launch.sizes = {Expr(rank), Expr(scatter.axis), Expr(site.code()), scatter.limit};
  launch.sizes.insert(launch.sizes.end(), scatter.extents.begin(), scatter.extents.end());
  for (const StridedView* view : {&scatter.indices, &scatter.updates, &scatter.y}) {
    launch.sizes.push_back(view->offset);
    launch.sizes.insert(launch.sizes.end(), view->strides.begin(), view->strides.end());
  }
  for (int64_t d = 0; d < rank; ++d) {
    const Expr& extent = scatter.extents[static_cast<size_t>(d)];
    if (d == scatter.axis) continue;
    launch.task_count =
        launch.task_count * (d + 1 == rank ? ceil_div(extent, Expr(kScatterColumns)) : extent);
  }
  return launch;
}

}  // namespace

std::optional<LibraryKernel> library_kernel(const Region& region) {
  if (const auto* scan = std::get_if<ScanRegion>(&region.body)) {
    return ScanKernel{scan->op, scan->dtype};
  }
  if (const auto* order = std::get_if<OrderRegion>(&region.body)) return OrderKernel{order->dtype};
  if (const auto* scatter = std::get_if<ScatterRegion>(&region.body)) {
    return ScatterKernel{scatter->dtype, scatter->op, static_cast<int>(scatter->extents.size())};
  }
  return std::nullopt;
}

KernelLaunch library_launch(const Region& region) {
  if (const auto* scan = std::get_if<ScanRegion>(&region.body)) return launch_of(*scan);
  if (const auto* order = std::get_if<OrderRegion>(&region.body)) return launch_of(*order);
  return launch_of(std::get<ScatterRegion>(region.body));
}

}  // namespace stator::cpu
