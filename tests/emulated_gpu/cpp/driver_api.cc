// The functions of libcuda.so.1 that TVM calls.
#include <cstdio>
#include <cstring>

#include "device.h"
#include "modules.h"
#include "streams.h"

using namespace tvmq_emulated;

namespace {

struct LaunchConfig {  // CUlaunchConfig
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
  Stream* stream;
  void* attributes;
  unsigned attribute_count;
};

constexpr int kMaxDynamicShared = 8;  // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES

// Copies of a launch's arguments, for a graph that runs later.
Work Delayed(const Function& function, Index grid, Index block, unsigned shared_bytes, void** arguments) {
  std::vector<std::vector<char>> values;
  for (unsigned i = 0; i < function.kernel->arguments; ++i) {
    const char* value = static_cast<const char*>(arguments[i]);
    values.emplace_back(value, value + function.kernel->sizes[i]);
  }
  return [=]() mutable {
    std::vector<void*> pointers;
    for (auto& value : values) pointers.push_back(value.data());
    return LaunchKernel(function, grid, block, shared_bytes, pointers.data());
  };
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

int cuDeviceGetName(char* name, int length, int) {
  snprintf(name, length, "emulated GPU");
  return SUCCESS;
}

int cuGetErrorName(int code, const char** text) {
  *text = ErrorText(code);  // TVM prints the name of what a launch gives
  return SUCCESS;
}

int cuGetErrorString(int code, const char** text) {
  *text = ErrorText(code);
  return SUCCESS;
}

int cuModuleLoadData(Module** module, const void* image) { return LoadModule(image, module); }

int cuModuleUnload(Module* module) {
  UnloadModule(module);
  return SUCCESS;
}

int cuModuleGetFunction(Function** function, Module* module, const char* name) {
  *function = FindFunction(module, name);
  return *function == nullptr ? Error(NOT_FOUND, Format("the module has no kernel %s", name)) : SUCCESS;
}

int cuFuncSetAttribute(Function* function, int attribute, int value) {
  return attribute == kMaxDynamicShared ? PermitShared(function, value) : SUCCESS;
}

int cuLaunchKernelEx(const LaunchConfig* config, Function* function, void** arguments, void**) {
  Index grid = {config->grid_x, config->grid_y, config->grid_z};
  Index block = {config->block_x, config->block_y, config->block_z};
  return Submit(config->stream, Delayed(*function, grid, block, config->shared_bytes, arguments));
}

int cuTensorMapEncodeTiled(...) { return Error(NOT_SUPPORTED, "the emulated GPU has no tensor maps"); }

}  // extern "C"
#pragma GCC visibility pop
