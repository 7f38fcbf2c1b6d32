// What kernels, compiled for the CPU, and the emulated machine know of each other.
#pragma once

namespace tvmq_emulated {

struct Index {
  unsigned x, y, z;
};

// What a kernel sees of its thread.
struct View {
  Index thread, block, block_size, grid_size;
  unsigned long long counts[4];  // of instructions that need no call: see Inline
};

// The allocation that an argument of a kernel lies in.
struct Range {
  const char *first, *end;
};

enum Inline { DP4A, POPCOUNT, ROUND };

enum Kind {
  MMA_U8S8,
  MMA_S8U8,
  MMA_S8S8,
  MMA_U8U8,
  MMA_U4S4,
  MMA_S4U4,
  MMA_S4S4,
  MMA_U4U4,
  MMA_B1_XOR,
  MMA_B1_AND,
  LDMATRIX_X1,
  LDMATRIX_X2,
  LDMATRIX_X4,
  SHUFFLE,
  SHUFFLE_XOR,
  SHUFFLE_DOWN,
  SHUFFLE_UP,
  WARP_BARRIER,
  WGMMA_U8S8,
  WGMMA_S8U8,
  WGMMA_S8S8,
  WGMMA_U8U8,
  WGMMA_FENCE,
  WGMMA_COMMIT,
  WGMMA_WAIT,
  WARP_KINDS,  // those above are warp-collective
  BARRIER = WARP_KINDS,
  ACTIVE_MASK,
  SHARED_LOAD,
  SHARED_STORE,
  GLOBAL_LOAD,
  GLOBAL_LOAD_CONST,
  GLOBAL_STORE,
  COPY_ASYNC,
  COPY_COMMIT,
  COPY_WAIT,
  ATOMIC_ADD,
  KINDS
};

// One lane's part of a warp-collective instruction.
struct WarpCall {
  Kind kind;
  unsigned mask;  // the lanes that take part
  void* d;        // mma: int[4]; ldmatrix: registers; shuffle: where the result goes
  const void* a;  // mma: 4 registers; ldmatrix: row in shared memory; shuffle: value
  const void* b;  // mma: 2 registers
  int bytes;      // shuffle: size of the value; wgmma: of a line of the operands
  int parameter;  // shuffle: lane, mask or distance; wgmma: columns, or groups that may be under way
  int width;      // shuffle: lanes of a part
};

// What the machine does for kernels; one call is one instruction of one thread, and its call site tells it
// from others.
struct Machine {
  View* current;  // of the thread that runs
  void (*warp)(const WarpCall*);
  void (*barrier)();
  unsigned (*active_mask)();
  void (*shared_load)(void* local, const void* shared, unsigned bytes);
  void (*shared_store)(void* shared, const void* local, unsigned bytes);
  void (*global_load)(void* local, const void* global, unsigned bytes, Kind kind);
  void (*global_store)(void* global, const void* local, unsigned bytes);
  void (*copy_async)(void* shared, const void* global, unsigned bytes);
  void (*copy_commit)();
  void (*copy_wait)(int groups);
  void (*shared_fence)();
  int (*atomic_add)(int* address, int value);
  void (*fail)(const char* what);  // ends the launch
  const Range* (*range)(const void* global);
  void (*outside)(const void* global,
                  unsigned bytes);  // ends the launch: it is outside of its range, or misaligned
  void* (*dynamic_shared)();
  void* (*static_shared)(int declaration, unsigned bytes, unsigned alignment);
};

// A module exports `tvmq_kernels`, which ends with a row without a name, and `tvmq_machine`, a `const
// Machine*`.
struct Kernel {
  const char* name;
  void (*run)(void** arguments);
  unsigned threads;  // __launch_bounds__, 0: none
  unsigned arguments;
  const unsigned* sizes;  // bytes of each argument
};

}  // namespace tvmq_emulated
