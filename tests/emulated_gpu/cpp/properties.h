// cudaDeviceProp as CUDA 13 lays it out.
#pragma once

#include <cstddef>

namespace tvmq_emulated {

struct Properties {
  char name[256];
  char uuid[16];
  char luid[8];
  unsigned luid_device_node_mask;
  size_t total_memory;
  size_t shared_bytes_a_block;
  int registers_a_block;
  int warp;
  size_t pitch;
  int threads_a_block;
  int block[3];
  int grid[3];
  size_t constant_memory;
  int major, minor;
  size_t texture_alignment, texture_pitch_alignment;
  int multiprocessors;
  int integrated, maps_host_memory;
  int textures_and_surfaces[39];
  size_t surface_alignment;
  int concurrent_kernels, ecc, bus, device, domain, tcc, copy_engines;
  int unified_addresses, memory_bus_bits, cache_bytes, persisting_cache_bytes, threads_a_multiprocessor;
  int priorities, caches_global, caches_local;
  size_t shared_bytes_a_multiprocessor;
  int registers_a_multiprocessor;
  int managed_memory, several_boards, board_group, native_atomics, pageable, concurrent_managed, preemption;
  int host_pointers, cooperative;
  size_t shared_bytes_permitted;
  int page_tables, direct_access, blocks_a_multiprocessor, policy_window;
  size_t reserved_shared_bytes;
  int rest[20 + 56];
};
static_assert(sizeof(Properties) == 1008 && offsetof(Properties, surface_alignment) == 552 &&
                  offsetof(Properties, shared_bytes_permitted) == 672 && offsetof(Properties, reserved_shared_bytes) == 696,
              "cudaDeviceProp of CUDA 13");

Properties DeviceProperties();
// cudaDeviceAttr; 0 for what a kernel's compiler does not ask for.
int Attribute(int attribute);

}  // namespace tvmq_emulated
