// SPDX-License-Identifier: Apache-2.0
//
// The compiler: a Graph (from a .pt2 file or handed over from Python) → segments → engines.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "stator/graph.h"
#include "stator/runtime.h"
#include "stator/settings.h"

namespace stator {

struct Partitions;
struct BuildStats;

/// What results are in memory. kAsPyTorch: as in eager PyTorch, for a caller that makes views
/// (Graph::output_views) and takes tensors in the order that an engine says (TensorInfo::order).
/// kRowMajor: dense and row-major, each with memory of its own.
enum class ResultLayout : uint8_t { kRowMajor, kAsPyTorch };

/// A graph lowered and partitioned; engines are built one by one on request.
class Compilation {
 public:
  /// kInvalidArgument where the settings ask for what no graph can have: a device without a
  /// backend, or one that this machine lacks.
  static Status check(const CompilationSettings& settings);
  /// Lowers and partitions. Builds nothing. kUnsupported when require_full_compilation cannot be
  /// met.
  static Result<Compilation> create(Graph graph, CompilationSettings settings,
                                    ResultLayout layout = ResultLayout::kRowMajor);
  Compilation(Compilation&&) noexcept;
  ~Compilation();

  const Graph& graph() const;  // lowered
  const Partitions& partitions() const;
  std::string report() const;  // the dry-run report
  std::string report_json() const;
  std::string report_html() const;  // one self-contained page
  /// Everything that the engine of segment `index` depends on, in a canonical form: versions, the
  /// device, the settings that a stage reads, the whole network with its edges, attributes and
  /// ranges, and every constant's bytes. A digest of it is the engine cache's key.
  Status describe_segment(int index, const std::function<void(const void*, int64_t)>& sink) const;
  /// Builds the engine of segment `index` (which must be an engine segment).
  Result<std::shared_ptr<const Engine>> build(
      int index, BuildStats* stats,
      const std::function<void(int, int, const std::string&)>& progress) const;

 private:
  struct Impl;
  explicit Compilation(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// read_pt2, then Compilation::create for the device of the settings. What does not fit together is
/// the file's fault: kInvalidFile.
Result<Compilation> open_pt2(const std::string& path, CompilationSettings settings);
/// The C++ door: the whole .pt2 as one engine. kUnsupported lists every operator that would need
/// PyTorch.
Result<std::shared_ptr<const Engine>> compile_pt2(
    const std::string& path, CompilationSettings settings, BuildStats* stats,
    const std::function<void(int, int, const std::string&)>& progress);

/// True when the target has a converter (any overload argument values).
bool has_converter(const std::string& target);

}  // namespace stator
