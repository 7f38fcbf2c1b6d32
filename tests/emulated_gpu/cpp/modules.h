// Modules: shared objects that g++ made of CUDA source; and launches of their kernels.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "block.h"
#include "errors.h"

namespace tvmq_emulated {

struct Function {
  const Kernel* kernel;
  unsigned dynamic_limit;  // bytes of shared memory that are permitted
};

struct Module {
  void* handle;
  int file;  // open as long as the module is loaded: the loader tells libraries apart by their paths
  std::vector<std::unique_ptr<Function>> functions;
};

Code LoadModule(const void* image, Module** module);
void UnloadModule(Module* module);
// nullptr where the module has no such kernel.
Function* FindFunction(Module* module, const std::string& name);
Code PermitShared(Function* function, int bytes);

// Checks sizes and runs.
Code LaunchKernel(const Function& function, Index grid, Index block, unsigned dynamic_bytes, void** arguments);

}  // namespace tvmq_emulated
