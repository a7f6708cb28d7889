// SPDX-License-Identifier: Apache-2.0
#include "runtime/fault.h"

#include "layer/fault_site.h"

namespace stator {
namespace {

std::string num(int64_t v) { return std::to_string(v); }

/// PyTorch's class of exception: IndexError is an index out of range, RuntimeError anything else.
ErrorCode code_of(DataError error) {
  switch (error) {
    case DataError::kIndex:
    case DataError::kRow:
    case DataError::kPlace:
    case DataError::kTarget:
    case DataError::kEmptyDim:
    case DataError::kEmptyPlace:
      return ErrorCode::kOutOfRange;
    default:
      return ErrorCode::kInvalidData;
  }
}

std::string sentence(const FaultSite& site, int64_t value, int64_t limit) {
  switch (site.error) {
    case DataError::kIndex:
    case DataError::kElement:
      return "index " + num(value) + " is out of bounds for dimension " + num(site.dim) +
             " with size " + num(limit);
    case DataError::kRow:
      return "index out of range in self: index " + num(value) + " of " + num(limit) + " rows";
    case DataError::kPlace:
      return "out of range: tried to access index " + num(value) + " on a tensor of " + num(limit) +
             " elements.";
    case DataError::kTarget:
      return "Target " + num(value) + " is out of bounds.";
    case DataError::kMarginTarget:
      return "target out of range: " + num(value) + " of " + num(limit) + " classes";
    case DataError::kClass:
      return std::string("Class values must be ") +
             (value < 0 ? "non-negative" : "smaller than num_classes") + ".: " + num(value) +
             " of " + num(limit) + " classes";
    case DataError::kDivision:
      return "ZeroDivisionError: an integer is divided by zero";
    case DataError::kEmptyDim:
      return "Expected reduction dim " + num(site.dim) + " to have non-zero size.";
    case DataError::kEmpty:
    case DataError::kEmptyPlace:
      return "Expected reduction dim to be specified for input.numel() == 0.";
    case DataError::kEmptyNorm:
      return "an infinite norm cannot be computed of no elements, because the operation does not "
             "have an identity";
    case DataError::kRank:
      return "selected index k out of range";
    case DataError::kProbability:
      return "all elements of input should be between 0 and 1";
    case DataError::kBagOffset:
      return "the offsets of the bags must begin at 0 and must not be greater than the input's "
             "length";
    case DataError::kMaskElement:
      return "Number of elements of source < number of ones in mask";
    case DataError::kNone:
      break;
  }
  return "the data is wrong";
}

}  // namespace

Error fault_error(const Plan& plan, const FaultRecord& fault) {
  const FaultSite site = FaultSite::of(fault.code & ((int64_t{1} << kFaultStepShift) - 1));
  const auto step = static_cast<size_t>(fault.code >> kFaultStepShift);
  // A negative index was counted from the end; the user knows it as it was.
  const bool counted = site.wrap && fault.value < 0;
  std::string message =
      sentence(site, counted ? fault.value - fault.limit : fault.value, fault.limit);
  if (step < plan.steps.size()) {
    message += "\nin step " + std::to_string(step) + " \"" + plan.steps[step].name + "\"";
    for (const Provenance& from : plan.steps[step].provenance) {
      message += "\n  node " + from.node + " (" + from.target + ")";
      const std::string source = from.source.str();
      if (!source.empty()) message += " at " + source;
    }
  }
  return Error{code_of(site.error), message};
}

}  // namespace stator
