// SPDX-License-Identifier: Apache-2.0
//
// Text names of the enumerations, in the order of their declaration.
#include "layer/names.h"

#include "base/check.h"

namespace stator {
namespace {

constexpr const char* kElementwise[] = {
    "add",           "sub", "mul", "div",   "floor_div",  "trunc_div",   "mod",        "fmod",
    "pow",           "min", "max", "equal", "not_equal",  "less",        "less_equal", "greater",
    "greater_equal", "and", "or",  "xor",   "shift_left", "shift_right", "atan2"};

constexpr const char* kUnary[] = {
    "neg",        "abs",        "sign",      "exp",    "exp2",   "expm1",      "log",
    "log2",       "log10",      "log1p",     "sqrt",   "rsqrt",  "reciprocal", "sin",
    "cos",        "tan",        "asin",      "acos",   "atan",   "sinh",       "cosh",
    "tanh",       "asinh",      "acosh",     "atanh",  "erf",    "floor",      "ceil",
    "round",      "trunc",      "not",       "is_nan", "is_inf", "sign_bit",   "relu",
    "sigmoid",    "gelu",       "gelu_tanh", "silu",   "mish",   "softplus",   "hard_sigmoid",
    "hard_swish", "log_sigmoid"};

constexpr const char* kReduce[] = {"sum", "mean", "max",     "min",    "prod",
                                   "any", "all",  "arg_max", "arg_min"};
constexpr const char* kPool[] = {"max", "average"};
constexpr const char* kPad[] = {"constant", "reflect", "replicate", "circular"};
constexpr const char* kResize[] = {"nearest", "nearest_exact", "linear", "cubic"};
constexpr const char* kScan[] = {"sum", "prod", "max", "min", "log_sum_exp"};
constexpr const char* kScatter[] = {"put", "add", "mul", "max", "min"};
constexpr const char* kDataError[] = {
    "none",          "index", "element",     "row",        "place",       "target",
    "margin_target", "class", "division",    "empty_dim",  "empty",       "empty_place",
    "empty_norm",    "rank",  "probability", "bag_offset", "mask_element"};

static_assert(std::size(kElementwise) == static_cast<size_t>(ElementwiseOp::kAtan2) + 1);
static_assert(std::size(kUnary) == static_cast<size_t>(UnaryOp::kLogSigmoid) + 1);
static_assert(std::size(kReduce) == static_cast<size_t>(ReduceOp::kArgMin) + 1);
static_assert(std::size(kPool) == static_cast<size_t>(PoolOp::kAverage) + 1);
static_assert(std::size(kPad) == static_cast<size_t>(PadMode::kCircular) + 1);
static_assert(std::size(kResize) == static_cast<size_t>(ResizeMode::kCubic) + 1);
static_assert(std::size(kDataError) == static_cast<size_t>(DataError::kMaskElement) + 1);
static_assert(std::size(kScan) == static_cast<size_t>(ScanOp::kLogSumExp) + 1);
static_assert(std::size(kScatter) == static_cast<size_t>(ScatterOp::kMin) + 1);

constexpr const char* kKinds[] = {"elementwise",
                                  "unary",
                                  "cast",
                                  "select",
                                  "fill",
                                  "iota",
                                  "size_value",
                                  "transpose",
                                  "reshape",
                                  "expand",
                                  "slice",
                                  "concat",
                                  "pad",
                                  "matrix_multiply",
                                  "convolution",
                                  "pooling",
                                  "adaptive_pooling",
                                  "reduce",
                                  "softmax",
                                  "normalization",
                                  "attention",
                                  "gather",
                                  "gather_elements",
                                  "index_tensors",
                                  "scatter_elements",
                                  "slice_scatter",
                                  "top_k",
                                  "sort",
                                  "scan",
                                  "resize",
                                  "check"};
static_assert(std::size(kKinds) == std::variant_size_v<LayerAttributes>);

template <size_t N, typename E>
const char* name_in(const char* const (&table)[N], E value) {
  const auto index = static_cast<size_t>(value);
  STATOR_CHECK(index < N, "an enumerator is out of range");
  return table[index];
}

template <size_t N, typename E>
bool find_in(const char* const (&table)[N], std::string_view name, E* value) {
  for (size_t i = 0; i < N; ++i) {
    if (name == table[i]) {
      *value = static_cast<E>(i);
      return true;
    }
  }
  return false;
}

template <size_t I = 0>
bool make_kind(std::string_view kind, LayerAttributes* attributes) {
  if constexpr (I == std::variant_size_v<LayerAttributes>) {
    return false;
  } else {
    if (kind == kKinds[I]) {
      attributes->emplace<I>();
      return true;
    }
    return make_kind<I + 1>(kind, attributes);
  }
}

}  // namespace

const char* layer_kind_name(const LayerAttributes& attributes) {
  return kKinds[attributes.index()];
}
bool default_attributes(std::string_view kind, LayerAttributes* attributes) {
  return make_kind(kind, attributes);
}

const char* name_of(ElementwiseOp op) { return name_in(kElementwise, op); }
const char* name_of(UnaryOp op) { return name_in(kUnary, op); }
const char* name_of(ReduceOp op) { return name_in(kReduce, op); }
const char* name_of(PoolOp op) { return name_in(kPool, op); }
const char* name_of(PadMode mode) { return name_in(kPad, mode); }
const char* name_of(ResizeMode mode) { return name_in(kResize, mode); }
const char* name_of(ScanOp op) { return name_in(kScan, op); }
const char* name_of(ScatterOp op) { return name_in(kScatter, op); }
const char* name_of(DataError error) { return name_in(kDataError, error); }

bool parse_name(std::string_view name, ElementwiseOp* op) {
  return find_in(kElementwise, name, op);
}
bool parse_name(std::string_view name, UnaryOp* op) { return find_in(kUnary, name, op); }
bool parse_name(std::string_view name, ReduceOp* op) { return find_in(kReduce, name, op); }
bool parse_name(std::string_view name, PoolOp* op) { return find_in(kPool, name, op); }
bool parse_name(std::string_view name, PadMode* mode) { return find_in(kPad, name, mode); }
bool parse_name(std::string_view name, ResizeMode* mode) { return find_in(kResize, name, mode); }
bool parse_name(std::string_view name, ScanOp* op) { return find_in(kScan, name, op); }
bool parse_name(std::string_view name, ScatterOp* op) { return find_in(kScatter, name, op); }
bool parse_name(std::string_view name, DataError* error) {
  return find_in(kDataError, name, error);
}

}  // namespace stator
