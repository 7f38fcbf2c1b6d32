#include "properties.h"

#include <cstdio>

#include "device.h"

namespace tvmq_emulated {

Properties DeviceProperties() {
  ReadCapability();
  Properties p = {};
  snprintf(p.name, sizeof p.name, "emulated GPU");
  p.total_memory = kMemory;
  p.shared_bytes_a_block = kShared;
  p.registers_a_block = p.registers_a_multiprocessor = 65536;
  p.warp = 32;
  p.threads_a_block = kThreads;
  p.block[0] = p.block[1] = kThreads;
  p.block[2] = 64;
  p.grid[0] = 0x7fffffff;
  p.grid[1] = p.grid[2] = 65535;
  p.constant_memory = 65536;
  p.major = Capability() / 10;
  p.minor = Capability() % 10;
  p.texture_alignment = 512;
  p.multiprocessors = kMultiprocessors;
  p.unified_addresses = 1;
  p.memory_bus_bits = 5120;
  p.cache_bytes = 40 << 20;
  p.threads_a_multiprocessor = 2048;
  p.shared_bytes_a_multiprocessor = SharedLimit() + 1024;
  p.shared_bytes_permitted = SharedLimit();
  p.blocks_a_multiprocessor = 32;
  return p;
}

int Attribute(int attribute) {
  ReadCapability();
  switch (attribute) {
    case 1: case 2: case 3: return kThreads;  // MaxThreadsPerBlock, MaxBlockDimX, MaxBlockDimY
    case 4: return 64;  // MaxBlockDimZ
    case 5: return 0x7fffffff;  // MaxGridDimX
    case 6: case 7: return 65535;
    case 8: return kShared;  // MaxSharedMemoryPerBlock
    case 9: return 65536;    // TotalConstantMemory
    case 10: return 32;      // WarpSize
    case 12: return 65536;   // MaxRegistersPerBlock
    case 13: return 1410000;  // ClockRate, kHz
    case 14: return 512;      // TextureAlignment
    case 16: return kMultiprocessors;
    case 36: return 1215000;  // MemoryClockRate, kHz
    case 37: return 5120;     // GlobalMemoryBusWidth
    case 38: return 40 << 20;  // L2CacheSize
    case 39: return 2048;      // MaxThreadsPerMultiProcessor
    case 41: return 1;         // UnifiedAddressing
    case 75: return Capability() / 10;
    case 76: return Capability() % 10;
    case 81: return SharedLimit() + 1024;  // MaxSharedMemoryPerMultiprocessor
    case 82: return 65536;                 // MaxRegistersPerMultiprocessor
    case 97: return SharedLimit();         // MaxSharedMemoryPerBlockOptin
    case 106: return 32;                   // MaxBlocksPerMultiprocessor
    default: return 0;
  }
}

}  // namespace tvmq_emulated
