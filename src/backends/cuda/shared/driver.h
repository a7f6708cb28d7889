// SPDX-License-Identifier: Apache-2.0
//
// The part of the CUDA driver API that Stator uses, with its types as libcuda.so.1 has them
// (docs.nvidia.com/cuda/cuda-driver-api). Declared here, so that no CUDA header is needed to build.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "stator/result.h"

namespace stator::cuda {

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = struct CUctx_st*;
using CUmodule = struct CUmod_st*;
using CUfunction = struct CUfunc_st*;
using CUstream = struct CUstream_st*;
using CUevent = struct CUevent_st*;
using CUgraph = struct CUgraph_st*;
using CUgraphExec = struct CUgraphExec_st*;

/// CUlaunchAttribute, CUlaunchConfig.
struct LaunchAttribute {
  int id;
  char pad[4];
  union {
    char bytes[64];
    int number;
  } value;
};
struct LaunchConfig {
  unsigned grid[3], block[3], shared_bytes;
  CUstream stream;
  LaunchAttribute* attributes;
  unsigned attribute_count;
};
inline constexpr int kAttributeOverlap =
    6;  // CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION

struct alignas(64) TensorMap {
  unsigned long long words[16];
};

inline constexpr CUresult kCudaSuccess = 0;
inline constexpr unsigned kStreamNonBlocking = 1;
inline constexpr unsigned kEventDisableTiming = 2;
inline constexpr int kCaptureThreadLocal = 1;  // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
inline constexpr unsigned kHostPortableMapped = 0x1 | 0x2;
inline constexpr int kFunctionDynamicShared = 8;  // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
inline constexpr int kMapFloat16 = 6, kMapBFloat16 = 9;  // CU_TENSOR_MAP_DATA_TYPE_…
inline constexpr int kMapSwizzle128 = 3, kMapPromote256 = 3;
inline constexpr int kAttributeMultiprocessors = 16, kAttributeMajor = 75, kAttributeMinor = 76;

#define STATOR_CUDA_FUNCTIONS(X)                                                             \
  X(cuInit, (unsigned))                                                                      \
  X(cuDriverGetVersion, (int*))                                                              \
  X(cuDeviceGetCount, (int*))                                                                \
  X(cuDeviceGet, (CUdevice*, int))                                                           \
  X(cuDeviceGetName, (char*, int, CUdevice))                                                 \
  X(cuDeviceGetAttribute, (int*, int, CUdevice))                                             \
  X(cuDevicePrimaryCtxRetain, (CUcontext*, CUdevice))                                        \
  X(cuCtxSetCurrent, (CUcontext))                                                            \
  X(cuCtxGetCurrent, (CUcontext*))                                                           \
  X(cuCtxGetDevice, (CUdevice*))                                                             \
  X(cuModuleLoadData, (CUmodule*, const void*))                                              \
  X(cuModuleUnload, (CUmodule))                                                              \
  X(cuModuleGetFunction, (CUfunction*, CUmodule, const char*))                               \
  X(cuFuncSetAttribute, (CUfunction, int, int))                                              \
  X(cuLaunchKernel, (CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, \
                     unsigned, CUstream, void**, void**))                                    \
  X(cuLaunchKernelEx, (const LaunchConfig*, CUfunction, void**, void**))                     \
  X(cuMemAlloc_v2, (CUdeviceptr*, size_t))                                                   \
  X(cuMemFree_v2, (CUdeviceptr))                                                             \
  X(cuMemHostAlloc, (void**, size_t, unsigned))                                              \
  X(cuMemFreeHost, (void*))                                                                  \
  X(cuMemcpyHtoD_v2, (CUdeviceptr, const void*, size_t))                                     \
  X(cuMemcpyDtoH_v2, (void*, CUdeviceptr, size_t))                                           \
  X(cuMemcpyDtoDAsync_v2, (CUdeviceptr, CUdeviceptr, size_t, CUstream))                      \
  X(cuMemsetD8Async, (CUdeviceptr, unsigned char, size_t, CUstream))                         \
  X(cuMemcpyHtoDAsync_v2, (CUdeviceptr, const void*, size_t, CUstream))                      \
  X(cuMemcpyDtoHAsync_v2, (void*, CUdeviceptr, size_t, CUstream))                            \
  X(cuStreamCreate, (CUstream*, unsigned))                                                   \
  X(cuStreamDestroy_v2, (CUstream))                                                          \
  X(cuStreamSynchronize, (CUstream))                                                         \
  X(cuStreamIsCapturing, (CUstream, int*))                                                   \
  X(cuStreamBeginCapture_v2, (CUstream, int))                                                \
  X(cuStreamEndCapture, (CUstream, CUgraph*))                                                \
  X(cuGraphInstantiateWithFlags, (CUgraphExec*, CUgraph, unsigned long long))                \
  X(cuGraphLaunch, (CUgraphExec, CUstream))                                                  \
  X(cuGraphDestroy, (CUgraph))                                                               \
  X(cuGraphExecDestroy, (CUgraphExec))                                                       \
  X(cuEventCreate, (CUevent*, unsigned))                                                     \
  X(cuEventDestroy_v2, (CUevent))                                                            \
  X(cuEventRecord, (CUevent, CUstream))                                                      \
  X(cuStreamWaitEvent, (CUstream, CUevent, unsigned))                                        \
  X(cuEventSynchronize, (CUevent))                                                           \
  X(cuLaunchHostFunc, (CUstream, void (*)(void*), void*))                                    \
  X(cuEventElapsedTime, (float*, CUevent, CUevent))                                          \
  X(cuTensorMapEncodeTiled,                                                                  \
    (TensorMap*, int, unsigned, void*, const unsigned long long*, const unsigned long long*, \
     const unsigned*, const unsigned*, int, int, int, int))                                  \
  X(cuGetErrorName, (CUresult, const char**))                                                \
  X(cuGetErrorString, (CUresult, const char**))

/// The driver's functions; all set when driver() succeeds.
struct Driver {
#define STATOR_MEMBER(name, arguments) CUresult(*name) arguments = nullptr;
  STATOR_CUDA_FUNCTIONS(STATOR_MEMBER)
#undef STATOR_MEMBER
};

/// Loaded and initialized once. kUnsupported: no driver, or no device.
Result<const Driver*> driver();

/// One GPU with its primary context, which PyTorch uses too.
struct Device {
  CUdevice handle = 0;
  CUcontext context = nullptr;
  std::string name;
  int major = 0, minor = 0;
  int multiprocessors = 0;
  std::string architecture() const;  // "sm_90"
};
/// The device whose number, of those that CUDA_VISIBLE_DEVICES leaves, is given. kInvalidArgument:
/// there is none.
Result<const Device*> device(int number);
/// The device of the calling thread's current context; the first where it has none.
Result<const Device*> device();
int current_device_number();

inline constexpr size_t kMostDevices = 64;

/// One value for each device, made at its first use there and kept for the life of the process.
template <typename T>
class PerDevice {
 public:
  /// Of the calling thread's current device.
  template <typename Make>
  const Result<T>& get(const Make& make) {
    return get(current_device_number(), make);
  }
  template <typename Make>
  const Result<T>& get(int number, const Make& make) {
    Slot& slot = slots_.at(static_cast<size_t>(number));
    std::call_once(slot.once, [&] { slot.value.emplace(make()); });
    return *slot.value;
  }

 private:
  struct Slot {
    std::once_flag once;
    std::optional<Result<T>> value;
  };
  std::array<Slot, kMostDevices> slots_;
};

/// Makes the device's context this thread's for a scope.
class CurrentContext {
 public:
  explicit CurrentContext(const Device& device);
  ~CurrentContext();
  CurrentContext(const CurrentContext&) = delete;
  CurrentContext& operator=(const CurrentContext&) = delete;

 private:
  CUcontext before_ = nullptr;
  bool changed_ = false;
};

/// kDevice error with the driver's own words; `what` says what was tried.
Status check_cuda(CUresult result, const std::string& what);

}  // namespace stator::cuda
