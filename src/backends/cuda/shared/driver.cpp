// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/shared/driver.h"

#include <algorithm>
#include <memory>

#include "backends/cuda/shared/library.h"

namespace stator::cuda {
namespace {

Result<const Driver*> load_driver() {
  STATOR_TRY(void* const library, open_library({"libcuda.so.1"}));
  auto loaded = std::make_unique<Driver>();
#define STATOR_BIND(name, arguments) \
  STATOR_RETURN_IF_ERROR(bind_symbol(library, #name, &loaded->name));
  STATOR_CUDA_FUNCTIONS(STATOR_BIND)
#undef STATOR_BIND
  if (loaded->cuInit(0) != kCudaSuccess) {
    return Error{ErrorCode::kUnsupported, "the CUDA driver finds no usable device"};
  }
  return loaded.release();  // for the life of the process
}

Result<const Device*> open_device(int number) {
  STATOR_TRY(const Driver* const d, driver());
  auto opened = std::make_unique<Device>();
  STATOR_RETURN_IF_ERROR(check_cuda(d->cuDeviceGet(&opened->handle, number), "looking for a GPU"));
  STATOR_RETURN_IF_ERROR(
      check_cuda(d->cuDevicePrimaryCtxRetain(&opened->context, opened->handle), "opening the GPU"));
  char name[256] = {};
  d->cuDeviceGetName(name, sizeof(name) - 1, opened->handle);
  opened->name = name;
  d->cuDeviceGetAttribute(&opened->major, kAttributeMajor, opened->handle);
  d->cuDeviceGetAttribute(&opened->minor, kAttributeMinor, opened->handle);
  d->cuDeviceGetAttribute(&opened->multiprocessors, kAttributeMultiprocessors, opened->handle);
  return opened.release();
}

}  // namespace

Result<const Driver*> driver() {
  static const auto& loaded = *new Result<const Driver*>(load_driver());
  return loaded;
}

std::string Device::architecture() const {
  return "sm_" + std::to_string(major) + std::to_string(minor);
}

Result<const Device*> device(int number) {
  static auto& devices = *new PerDevice<const Device*>();
  STATOR_TRY(const Driver* const d, driver());
  int count = 0;
  d->cuDeviceGetCount(&count);
  if (number < 0 || number >= std::min<int>(count, kMostDevices)) {
    return Error{ErrorCode::kInvalidArgument, "there is no GPU cuda:" + std::to_string(number) +
                                                  "; this process sees " + std::to_string(count)};
  }
  return devices.get(number, [&] { return open_device(number); });
}

int current_device_number() {
  Result<const Driver*> d = driver();
  CUcontext current = nullptr;
  CUdevice handle = 0;
  if (!d.ok() || (**d).cuCtxGetCurrent(&current) != kCudaSuccess || current == nullptr ||
      (**d).cuCtxGetDevice(&handle) != kCudaSuccess) {
    return 0;
  }
  return handle;  // the driver's handles are the devices' numbers
}

Result<const Device*> device() { return device(current_device_number()); }

CurrentContext::CurrentContext(const Device& device) {
  const Driver& d = **driver();
  d.cuCtxGetCurrent(&before_);
  if (before_ != device.context) {
    changed_ = d.cuCtxSetCurrent(device.context) == kCudaSuccess;
  }
}

CurrentContext::~CurrentContext() {
  if (changed_) {
    (*driver())->cuCtxSetCurrent(before_);
  }
}

Status check_cuda(CUresult result, const std::string& what) {
  if (result == kCudaSuccess) {
    return {};
  }
  const char* name = nullptr;
  const char* words = nullptr;
  if (auto d = driver(); d.ok()) {
    (*d)->cuGetErrorName(result, &name);
    (*d)->cuGetErrorString(result, &words);
  }
  return Error{ErrorCode::kInternal, what + ": " + (name != nullptr ? name : "CUDA error") + " (" +
                                         (words != nullptr ? words : std::to_string(result)) + ")"};
}

}  // namespace stator::cuda
