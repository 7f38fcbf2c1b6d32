#include "gpu.h"

#include <dlfcn.h>
#include <tvm/ffi/function.h>

#include <cctype>
#include <cmath>
#include <stdexcept>

namespace tvmq {
namespace {

namespace ffi = tvm::ffi;
namespace json = tvm::ffi::json;

constexpr char kRuntime[] = "libtvm_runtime_cuda.so";
constexpr DLDevice kGpu{kDLCUDA, 0};
constexpr int kExists = 0, kCapability = 4;  // of TVM's DeviceAttrKind

ffi::Any Attribute(int kind) {
  return ffi::Function::GetGlobalRequired("runtime.GetDeviceAttr")(static_cast<int>(kDLCUDA), 0, kind);
}

// 80 of "sm_80" and "sm_80a".
int64_t Capability(const std::string& arch) { return std::stoll(arch.substr(arch.find('_') + 1)); }

// As runtime/gpu.py has it: code runs on later GPUs of its generation, but for that of a chip alone,
// "sm_90a".
bool Runs(const std::string& arch, int64_t here) {
  int64_t made_for = Capability(arch);
  if (std::isalpha(static_cast<unsigned char>(arch.back()))) return made_for == here;
  return made_for / 10 == here / 10 && made_for <= here;
}

}  // namespace

void RequireGpu(const json::Object& gpu, const std::string& folder) {
  if (!ffi::Function::GetGlobal("device_api.cuda") && dlopen(kRuntime, RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    throw std::runtime_error(folder + " is for a GPU, and its runtime cannot be loaded: " + dlerror());
  }
  if (!Attribute(kExists).cast<bool>())
    throw std::runtime_error("there is no NVIDIA GPU here that CUDA can use");
  auto here = std::llround(10 * std::stod(Attribute(kCapability).cast<ffi::String>()));
  const int64_t ptx = gpu["ptx"].cast<int64_t>();  // 0: there is none
  if (ptx != 0 && here >= ptx) return;
  std::string archs;
  for (const auto& item : gpu["archs"].cast<json::Array>()) {
    std::string arch = item.cast<ffi::String>();
    if (Runs(arch, here)) return;
    archs += (archs.empty() ? "" : ", ") + arch;
  }
  throw std::runtime_error(folder + " has code for GPUs of " + archs + "; this machine's GPU is sm_" +
                           std::to_string(here));
}

ffi::Tensor EmptyOnGpu(ffi::ShapeView shape, DLDataType dtype) {
  static const auto allocate = ffi::Function::GetGlobalRequired("runtime.TVMTensorAllocWithScope");
  return allocate(ffi::Shape(shape.begin(), shape.end()), dtype, kGpu, nullptr).cast<ffi::Tensor>();
}

void CopyTensor(const ffi::Tensor& from, const ffi::Tensor& to) {
  static const auto copy = ffi::Function::GetGlobalRequired("runtime.TVMTensorCopyFromTo");
  if (from.numel() != 0) copy(from, to);
}

void WaitForGpu() {
  static const auto wait = ffi::Function::GetGlobalRequired("runtime.Device_StreamSync");
  wait(kGpu, static_cast<int64_t>(0));
}

}  // namespace tvmq
