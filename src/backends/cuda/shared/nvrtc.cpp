// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/shared/nvrtc.h"

#include <vector>

#include "backends/cuda/shared/library.h"

namespace stator::cuda {
namespace {

using Program = struct NvrtcProgram*;

struct Nvrtc {
  int (*create)(Program*, const char*, const char*, int, const char* const*, const char* const*);
  int (*destroy)(Program*);
  int (*compile)(Program, int, const char* const*);
  int (*cubin_size)(Program, size_t*);
  int (*cubin)(Program, char*);
  int (*ptx_size)(Program, size_t*);
  int (*ptx)(Program, char*);
  int (*log_size)(Program, size_t*);
  int (*log)(Program, char*);
  int (*version)(int*, int*);
};

Result<const Nvrtc*> load_nvrtc() {
  STATOR_TRY(void* const library, open_library({"libnvrtc.so.13", "libnvrtc.so.12"}));
  // NVRTC opens its second half by this name alone: it must be in the process when it lies in a
  // folder that the linker does not know. Without it, compiling says so.
  (void)open_library({"libnvrtc-builtins.so.13.0", "libnvrtc-builtins.so.13.1",
                      "libnvrtc-builtins.so.13.2", "libnvrtc-builtins.so.12.9",
                      "libnvrtc-builtins.so.12.8", "libnvrtc-builtins.so.12.6"});
  auto n = std::make_unique<Nvrtc>();
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "nvrtcCreateProgram", &n->create));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "nvrtcDestroyProgram", &n->destroy));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "nvrtcCompileProgram", &n->compile));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "nvrtcGetCUBINSize", &n->cubin_size));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "nvrtcGetCUBIN", &n->cubin));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "nvrtcGetPTXSize", &n->ptx_size));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "nvrtcGetPTX", &n->ptx));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "nvrtcGetProgramLogSize", &n->log_size));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "nvrtcGetProgramLog", &n->log));
  STATOR_RETURN_IF_ERROR(bind_symbol(library, "nvrtcVersion", &n->version));
  return n.release();
}

Result<const Nvrtc*> nvrtc() {
  static const auto& loaded = *new Result<const Nvrtc*>(load_nvrtc());
  return loaded;
}

}  // namespace

Result<std::string> compile_cubin(const std::string& source, const std::string& name,
                                  const std::string& architecture) {
  STATOR_TRY(const Nvrtc* const n, nvrtc());
  Program program = nullptr;
  if (n->create(&program, source.c_str(), (name + ".cu").c_str(), 0, nullptr, nullptr) != 0) {
    return Error{ErrorCode::kInternal, "NVRTC did not take the source of " + name};
  }
  const std::string arch = "--gpu-architecture=" + architecture;
  const char* options[] = {arch.c_str(), "--std=c++17", "-default-device",
                           "--extra-device-vectorization"};
  const int result = n->compile(program, 4, options);
  std::string cubin;
  Status status;
  if (result != 0) {
    size_t size = 0;
    n->log_size(program, &size);
    std::string log(size, ' ');
    n->log(program, log.data());
    status = Error{ErrorCode::kInternal,
                   "NVRTC does not compile " + name + " for " + architecture + ":\n" + log};
  } else {
    const bool portable = architecture.rfind("compute_", 0) == 0;
    size_t size = 0;
    (portable ? n->ptx_size : n->cubin_size)(program, &size);
    cubin.resize(size);  // PTX with its final zero
    (portable ? n->ptx : n->cubin)(program, cubin.data());
  }
  n->destroy(&program);
  STATOR_RETURN_IF_ERROR(status);
  return cubin;
}

Result<std::string> nvrtc_version() {
  STATOR_TRY(const Nvrtc* const n, nvrtc());
  int major = 0, minor = 0;
  n->version(&major, &minor);
  return std::to_string(major) + "." + std::to_string(minor);
}

}  // namespace stator::cuda
