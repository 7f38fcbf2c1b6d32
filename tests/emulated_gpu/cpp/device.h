// The GPU that is played: what depends on its compute capability.
#pragma once

namespace tvmq_emulated {

constexpr int kMultiprocessors = 108;
constexpr unsigned kThreads = 1024;                    // a block
constexpr unsigned kShared = 48 << 10;                 // a block's shared memory that needs no permission
constexpr unsigned long long kMemory = 80ull << 30;    // global memory that is reported

// 10 * major + minor, as TVMQ_EMULATED_GPU_CAPABILITY said ("8.0") when it was read last: for each launch, and for whoever
// asks for properties of the device.
int Capability();
void ReadCapability();

// Bytes of shared memory that a block can have with permission.
unsigned SharedLimit();

}  // namespace tvmq_emulated
