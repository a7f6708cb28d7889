// SPDX-License-Identifier: Apache-2.0
#include "stator/result.h"

namespace stator {

const char* error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid argument";
    case ErrorCode::kInvalidFile:
      return "invalid file";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kIncompatible:
      return "incompatible";
    case ErrorCode::kIo:
      return "input/output error";
    case ErrorCode::kOutOfRange:
      return "index out of range";
    case ErrorCode::kInvalidData:
      return "invalid data";
    case ErrorCode::kInternal:
      return "internal error";
  }
  return "error";
}

}  // namespace stator
