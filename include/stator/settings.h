// SPDX-License-Identifier: Apache-2.0
//
// What the C++ side of a compilation reads of CompilationSettings; the whole set, with Python's
// types, is python/stator/settings.py, which hands these over.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "stator/dtype.h"
#include "stator/result.h"

namespace stator {

/// One user input: a shape, or a range of shapes.
struct Input {
  std::vector<int64_t> min_shape, opt_shape, max_shape;  // equal for a static shape
  DType dtype = DType::kFloat32;
  std::string name;
};

struct CompilationSettings {
  int64_t min_block_size = 0;                // 0: None, INT64_MAX: inf
  std::set<std::string> torch_executed_ops;  // "aten.add.Tensor" or "aten.add"
  bool require_full_compilation = false;
  bool without_pytorch = false;  // own: nothing runs what engines cannot hold
  bool use_fast_partitioner = true;
  bool assume_dynamic_shape_support = false;
  bool use_explicit_typing = true;                         // the model's types are kept
  std::set<std::string> enabled_precisions = {"float32"};  // else products may run in these
  int optimization_level = 3;
  bool disable_tf32 = false;  // float32 products on NVIDIA GPUs round nothing
  int64_t workspace_size = 0;
  int num_avg_timing_iters = 1;
  int max_aux_streams = -1;  // -1: None
  bool sparse_weights = false;
  std::string tiling_optimization_level = "none";  // "none", "fast", "moderate", "full"
  int64_t l2_limit_for_tiling = -1;                // bytes; -1: none
  bool hardware_compatible = false;
  int64_t cpu_memory_budget = 0;  // bytes for each engine's build: larger parts are split; 0: none
  double build_time_budget = 0;   // seconds; 0: none
  std::string timing_cache_path;  // "": none
  std::string device = "cpu";     // backend: "cpu", "reference", "cuda", "cuda:1"
  std::set<std::string> disabled_passes;     // own
  std::string dump_directory;                // own: every form after every pass; "": none
  std::map<std::string, int64_t> opt_sizes;  // own: symbol → value at which tactics are timed
  std::string printed;                       // how Python prints the settings ("" : print these)
};

/// The half that products of float32 may run in: bfloat16, which has float32's range, before
/// float16; nullopt where types are kept, or no half is enabled.
std::optional<DType> low_precision(const CompilationSettings& settings);
/// 0 to 3 for a tiling_optimization_level; -1 when it is none.
int tiling_level(const std::string& name);
/// "CompilationSettings(enabled_precisions={dtype.f32}, min_block_size=None, …)".
std::string print_settings(const CompilationSettings& settings);
/// Every field's name and value as text.
std::map<std::string, std::string> printed_settings(const CompilationSettings& settings);
/// Sets one field from text; unknown names are errors with the nearest known one.
Status set_setting(CompilationSettings& settings, const std::string& name,
                   const std::string& value);

}  // namespace stator
