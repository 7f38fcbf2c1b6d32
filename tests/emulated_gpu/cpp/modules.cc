#include "modules.h"

#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "device.h"

namespace tvmq_emulated {

namespace {

// Bytes of an ELF file, whose section headers are its end.
size_t FileSize(const Elf64_Ehdr& header) { return header.e_shoff + size_t{header.e_shnum} * header.e_shentsize; }

std::string Sizes(Index index) { return Format("(%u,%u,%u)", index.x, index.y, index.z); }

}  // namespace

Code LoadModule(const void* image, Module** module) {
  Elf64_Ehdr header;
  if (memcmp(image, ELFMAG, SELFMAG) != 0) return Error(INVALID_IMAGE, "not a module of the emulated GPU: no ELF file");
  memcpy(&header, image, sizeof header);
  constexpr int kCuda = 190;
  if (header.e_machine == kCuda) return Error(INVALID_IMAGE, "not a module of the emulated GPU: code for a real one");
  int file = memfd_create("emulated-module", MFD_CLOEXEC);
  const char* rest = static_cast<const char*>(image);
  for (size_t left = FileSize(header); left > 0;) {
    ssize_t written = write(file, rest, left);
    if (written <= 0) {
      close(file);
      return Error(OUT_OF_MEMORY, "no memory for the module");
    }
    rest += written;
    left -= written;
  }
  std::string path = Format("/proc/%d/fd/%d", getpid(), file);
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  std::string why = handle == nullptr ? dlerror() : "";
  if (handle == nullptr) {
    close(file);
    return Error(INVALID_IMAGE, "not a module of the emulated GPU: " + why);
  }
  auto** connection = static_cast<const Machine**>(dlsym(handle, "tvmq_machine"));
  auto* kernel = static_cast<const Kernel*>(dlsym(handle, "tvmq_kernels"));
  if (connection == nullptr || kernel == nullptr) {
    dlclose(handle);
    close(file);
    return Error(INVALID_IMAGE, "not a module of the emulated GPU: no kernels");
  }
  *connection = &machine;
  *module = new Module{handle, file, {}};
  for (; kernel->name != nullptr; ++kernel) {
    (*module)->functions.push_back(std::make_unique<Function>(Function{kernel, kShared}));
  }
  return SUCCESS;
}

void UnloadModule(Module* module) {
  dlclose(module->handle);
  close(module->file);
  delete module;
}

Function* FindFunction(Module* module, const std::string& name) {
  for (auto& function : module->functions) {
    if (name == function->kernel->name) return function.get();
  }
  return nullptr;
}

Code PermitShared(Function* function, int bytes) {
  ReadCapability();
  if (bytes < 0 || static_cast<unsigned>(bytes) > SharedLimit()) {
    return Error(INVALID_VALUE, Format("kernel %s: %d bytes of dynamic shared memory, and a block can have at most %u",
                                       function->kernel->name, bytes, SharedLimit()));
  }
  function->dynamic_limit = bytes;
  return SUCCESS;
}

Code LaunchKernel(const Function& function, Index grid, Index block, unsigned dynamic_bytes, void** arguments) {
  const Kernel& kernel = *function.kernel;
  std::string name = std::string("kernel ") + kernel.name + ": ";
  uint64_t count = uint64_t{block.x} * block.y * block.z;
  if (count == 0 || block.x > kThreads || block.y > kThreads || block.z > 64 || count > kThreads) {
    return Error(INVALID_VALUE, name + "blocks of " + Sizes(block) + " threads, and at most 1024 are possible, 64 along z");
  }
  if (kernel.threads != 0 && count > kernel.threads) {
    return Error(INVALID_VALUE, name + Format("blocks of %u threads, and its __launch_bounds__ are %u",
                                              static_cast<unsigned>(count), kernel.threads));
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) {
    return Error(INVALID_VALUE, name + "a grid of " + Sizes(grid) + " blocks, and at most (2147483647,65535,65535) are possible");
  }
  if (dynamic_bytes > function.dynamic_limit) {
    return Error(INVALID_VALUE, name + Format("%u bytes of dynamic shared memory, and %u are permitted", dynamic_bytes,
                                              function.dynamic_limit));
  }
  std::string wrong = Run({&kernel, arguments, grid, block, dynamic_bytes});
  return wrong.empty() ? SUCCESS : Error(LAUNCH_FAILED, wrong);
}

}  // namespace tvmq_emulated
