// CUDA C++ as g++ compiles it: what the sources that TVM generates, and targets/cuda/device.cuh, are made of.
#pragma once
#define TVMQ_DEVICE_CUH  // device.cuh has the same functions for nvcc

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>

#include "interface.h"

extern "C" {
extern const tvmq_emulated::Machine* tvmq_machine;
}

#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define threadIdx (tvmq_machine->current->thread)
#define blockIdx (tvmq_machine->current->block)
#define blockDim (tvmq_machine->current->block_size)
#define gridDim (tvmq_machine->current->grid_size)
#define TVMQ_DEVICE static inline __attribute__((always_inline, unused))

// ---- Vector types ----

#define TVMQ_VECTORS(NAME, TYPE)                                                              \
  struct NAME##1 { TYPE x; };                                                                 \
  struct alignas(2 * sizeof(TYPE)) NAME##2 { TYPE x, y; };                                    \
  struct NAME##3 { TYPE x, y, z; };                                                           \
  struct alignas(4 * sizeof(TYPE) > 16 ? 16 : 4 * sizeof(TYPE)) NAME##4 { TYPE x, y, z, w; }; \
  TVMQ_DEVICE NAME##1 make_##NAME##1(TYPE x) { return {x}; }                                  \
  TVMQ_DEVICE NAME##2 make_##NAME##2(TYPE x, TYPE y) { return {x, y}; }                       \
  TVMQ_DEVICE NAME##3 make_##NAME##3(TYPE x, TYPE y, TYPE z) { return {x, y, z}; }            \
  TVMQ_DEVICE NAME##4 make_##NAME##4(TYPE x, TYPE y, TYPE z, TYPE w) { return {x, y, z, w}; }
TVMQ_VECTORS(char, signed char)
TVMQ_VECTORS(uchar, unsigned char)
TVMQ_VECTORS(short, short)
TVMQ_VECTORS(ushort, unsigned short)
TVMQ_VECTORS(int, int)
TVMQ_VECTORS(uint, unsigned)
TVMQ_VECTORS(longlong, long long)
TVMQ_VECTORS(ulonglong, unsigned long long)
TVMQ_VECTORS(float, float)
TVMQ_VECTORS(double, double)
#undef TVMQ_VECTORS

// ---- Arrays of a thread ----
//
// TVM shrinks an array to the elements that it sees, and behind an address it sees one.

#ifdef __has_builtin
#if __has_builtin(__builtin_dynamic_object_size)
#define TVMQ_SIZE(ADDRESS) __builtin_dynamic_object_size(ADDRESS, 1)
#endif
#endif
#ifndef TVMQ_SIZE
#define TVMQ_SIZE(ADDRESS) __builtin_object_size(ADDRESS, 1)
#endif
#define TVMQ_LOCAL(FUNCTION, ADDRESS, BYTES) \
  if (TVMQ_SIZE(ADDRESS) < (BYTES))          \
  tvmq_machine->fail(FUNCTION ": its array '" #ADDRESS "' has less than " #BYTES " bytes")

TVMQ_DEVICE void tvmq_transpose_4(void* out, const void* first, const void* second, const void* third,
                                  const void* fourth) {
  const void* words[] = {first, second, third, fourth};
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      static_cast<unsigned char*>(out)[4 * j + i] = static_cast<const unsigned char*>(words[i])[j];
    }
  }
}

// ---- Packed weights ----

template <int kBits>
TVMQ_DEVICE void tvmq_unpack(void* out, const void* word, int distance) {
  for (int plane = 0; plane < 8 / kBits; ++plane) {
    for (int i = 0; i < 4; ++i) {
      int code = static_cast<const unsigned char*>(word)[i] >> (kBits * plane) & ((1 << kBits) - 1);
      static_cast<signed char*>(out)[plane * distance + i] = code - (1 << (kBits - 1));
    }
  }
}
TVMQ_DEVICE void tvmq_pack_u4(void* out, const void* low, const void* high) {
  for (int i = 0; i < 4; ++i) {
    unsigned char l = static_cast<const unsigned char*>(low)[i], h = static_cast<const unsigned char*>(high)[i];
    if (l > 15 || h > 15) tvmq_machine->fail("pack_u4: a number has more than 4 bits");
    static_cast<unsigned char*>(out)[i] = l | h << 4;
  }
}
TVMQ_DEVICE void tvmq_unpack_s4(void* out, const void* word, int distance) { tvmq_unpack<4>(out, word, distance); }
TVMQ_DEVICE void tvmq_unpack_s2(void* out, const void* word, int distance) { tvmq_unpack<2>(out, word, distance); }
TVMQ_DEVICE void tvmq_unpack_b1(void* out, const void* word, int plane) {
  TVMQ_LOCAL("unpack_b1", out, 4);
  TVMQ_LOCAL("unpack_b1", word, 4);
  for (int i = 0; i < 4; ++i) {
    static_cast<signed char*>(out)[i] = static_cast<const unsigned char*>(word)[i] >> plane & 1 ? -64 : 64;
  }
}
TVMQ_DEVICE int tvmq_unlike_16(const void* a, const void* b, int c) {
  TVMQ_LOCAL("unlike_16", a, 16);
  TVMQ_LOCAL("unlike_16", b, 16);
  for (int i = 0; i < 16; ++i) {
    c += __builtin_popcount(static_cast<const unsigned char*>(a)[i] ^ static_cast<const unsigned char*>(b)[i]);
  }
  return c;
}

template <int kBits>
TVMQ_DEVICE void tvmq_floats(void* out, const void* word, int plane) {
  for (int i = 0; i < 4; ++i) {
    int code = static_cast<const unsigned char*>(word)[i] >> (kBits * plane) & ((1 << kBits) - 1);
    static_cast<float*>(out)[i] = kBits == 8 ? code - 128.0f : ((1 << kBits) + code) / 2.0f;
  }
}
#define TVMQ_FLOATS(BITS)                                                        \
  TVMQ_DEVICE void tvmq_floats_u##BITS(void* out, const void* word, int plane) { \
    TVMQ_LOCAL("floats_u" #BITS, out, 16);                                       \
    TVMQ_LOCAL("floats_u" #BITS, word, 4);                                       \
    tvmq_floats<BITS>(out, word, plane);                                         \
  }
TVMQ_FLOATS(2)
TVMQ_FLOATS(4)
TVMQ_FLOATS(8)
#undef TVMQ_FLOATS

// ---- Memory and collectives: the functions of device.cuh ----

#define TVMQ_MMA(NAME, KIND)                                                           \
  TVMQ_DEVICE void tvmq_mma_##NAME(int* d, const void* a, const void* b) {             \
    TVMQ_LOCAL("mma_" #NAME, d, 16);                                                   \
    TVMQ_LOCAL("mma_" #NAME, a, 16);                                                   \
    TVMQ_LOCAL("mma_" #NAME, b, 8);                                                    \
    tvmq_emulated::WarpCall call{tvmq_emulated::KIND, 0xffffffffu, d, a, b, 0, 0, 32}; \
    tvmq_machine->warp(&call);                                                         \
  }
TVMQ_MMA(u8s8, MMA_U8S8)
TVMQ_MMA(s8u8, MMA_S8U8)
TVMQ_MMA(s8s8, MMA_S8S8)
TVMQ_MMA(u8u8, MMA_U8U8)
TVMQ_MMA(u4s4, MMA_U4S4)
TVMQ_MMA(s4u4, MMA_S4U4)
TVMQ_MMA(s4s4, MMA_S4S4)
TVMQ_MMA(u4u4, MMA_U4U4)
TVMQ_MMA(b1_xor, MMA_B1_XOR)
TVMQ_MMA(b1_and, MMA_B1_AND)
#undef TVMQ_MMA

#define TVMQ_WGMMA(NAME, KIND, COLUMNS)                                                             \
  TVMQ_DEVICE void tvmq_wgmma_##NAME##_##COLUMNS(int* d, const void* a, const void* b, int depth) { \
    TVMQ_LOCAL("wgmma_" #NAME, d, 2 * COLUMNS);                                                     \
    tvmq_emulated::WarpCall call{tvmq_emulated::KIND, 0xffffffffu, d, a, b, depth, COLUMNS, 32};    \
    tvmq_machine->warp(&call);                                                                      \
  }
#define TVMQ_WGMMA_ALL(NAME, KIND) \
  TVMQ_WGMMA(NAME, KIND, 32)       \
  TVMQ_WGMMA(NAME, KIND, 64)       \
  TVMQ_WGMMA(NAME, KIND, 128)      \
  TVMQ_WGMMA(NAME, KIND, 192)      \
  TVMQ_WGMMA(NAME, KIND, 256)
TVMQ_WGMMA_ALL(u8s8, WGMMA_U8S8)
TVMQ_WGMMA_ALL(s8u8, WGMMA_S8U8)
TVMQ_WGMMA_ALL(s8s8, WGMMA_S8S8)
TVMQ_WGMMA_ALL(u8u8, WGMMA_U8U8)
#undef TVMQ_WGMMA_ALL
#undef TVMQ_WGMMA

TVMQ_DEVICE void tvmq_wgmma_call(tvmq_emulated::Kind kind, int groups) {
  tvmq_emulated::WarpCall call{kind, 0xffffffffu, nullptr, nullptr, nullptr, 0, groups, 32};
  tvmq_machine->warp(&call);
}
TVMQ_DEVICE void tvmq_wgmma_fence() { tvmq_wgmma_call(tvmq_emulated::WGMMA_FENCE, 0); }
TVMQ_DEVICE void tvmq_wgmma_commit() { tvmq_wgmma_call(tvmq_emulated::WGMMA_COMMIT, 0); }
TVMQ_DEVICE void tvmq_wgmma_wait(int groups) { tvmq_wgmma_call(tvmq_emulated::WGMMA_WAIT, groups); }
TVMQ_DEVICE void tvmq_shared_fence() { tvmq_machine->shared_fence(); }

#define TVMQ_LDMATRIX(N)                                                               \
  TVMQ_DEVICE void tvmq_ldmatrix_x##N(void* registers, const void* row) {              \
    TVMQ_LOCAL("ldmatrix_x" #N, registers, 4 * N);                                     \
    tvmq_emulated::WarpCall call{                                                      \
        tvmq_emulated::LDMATRIX_X##N, 0xffffffffu, registers, row, nullptr, 0, 0, 32}; \
    tvmq_machine->warp(&call);                                                         \
  }
TVMQ_LDMATRIX(1)
TVMQ_LDMATRIX(2)
TVMQ_LDMATRIX(4)
#undef TVMQ_LDMATRIX

#define TVMQ_MEMORY(N)                                                             \
  TVMQ_DEVICE void tvmq_load_##N(void* local, const void* global) {                \
    TVMQ_LOCAL("load_" #N, local, N);                                              \
    tvmq_machine->global_load(local, global, N, tvmq_emulated::GLOBAL_LOAD);       \
  }                                                                                \
  TVMQ_DEVICE void tvmq_load_const_##N(void* local, const void* global) {          \
    TVMQ_LOCAL("load_const_" #N, local, N);                                        \
    tvmq_machine->global_load(local, global, N, tvmq_emulated::GLOBAL_LOAD_CONST); \
  }                                                                                \
  TVMQ_DEVICE void tvmq_store_##N(void* global, const void* local) {               \
    TVMQ_LOCAL("store_" #N, local, N);                                             \
    tvmq_machine->global_store(global, local, N);                                  \
  }                                                                                \
  TVMQ_DEVICE void tvmq_shared_load_##N(void* local, const void* shared) {         \
    TVMQ_LOCAL("shared_load_" #N, local, N);                                       \
    tvmq_machine->shared_load(local, shared, N);                                   \
  }                                                                                \
  TVMQ_DEVICE void tvmq_shared_store_##N(void* shared, const void* local) {        \
    TVMQ_LOCAL("shared_store_" #N, local, N);                                      \
    tvmq_machine->shared_store(shared, local, N);                                  \
  }
TVMQ_MEMORY(1)
TVMQ_MEMORY(2)
TVMQ_MEMORY(4)
TVMQ_MEMORY(8)
TVMQ_MEMORY(16)
#undef TVMQ_MEMORY

TVMQ_DEVICE void tvmq_copy_async_4(void* shared, const void* global) {
  tvmq_machine->copy_async(shared, global, 4);
}
TVMQ_DEVICE void tvmq_copy_async_8(void* shared, const void* global) {
  tvmq_machine->copy_async(shared, global, 8);
}
TVMQ_DEVICE void tvmq_copy_async_16(void* shared, const void* global) {
  tvmq_machine->copy_async(shared, global, 16);
}
TVMQ_DEVICE void tvmq_copy_commit() { tvmq_machine->copy_commit(); }
TVMQ_DEVICE void tvmq_copy_wait(int groups) { tvmq_machine->copy_wait(groups); }
TVMQ_DEVICE int tvmq_atomic_add_s32(void* global, int value) {
  return tvmq_machine->atomic_add(static_cast<int*>(global), value);
}

TVMQ_DEVICE void __syncthreads() { tvmq_machine->barrier(); }
TVMQ_DEVICE void tvmq_barrier() { tvmq_machine->barrier(); }
TVMQ_DEVICE void __syncwarp(unsigned mask = 0xffffffffu) {
  tvmq_emulated::WarpCall call{tvmq_emulated::WARP_BARRIER, mask, nullptr, nullptr, nullptr, 0, 0, 32};
  tvmq_machine->warp(&call);
}
TVMQ_DEVICE void tvmq_warp_barrier() { __syncwarp(); }
TVMQ_DEVICE unsigned __activemask() { return tvmq_machine->active_mask(); }

#define TVMQ_SHUFFLE(FUNCTION, KIND, TYPE)                                                 \
  TVMQ_DEVICE TYPE FUNCTION(unsigned mask, TYPE value, int parameter, int width = 32) {    \
    TYPE result;                                                                           \
    tvmq_emulated::WarpCall call{tvmq_emulated::KIND, mask,      &result, &value, nullptr, \
                                 sizeof(TYPE),        parameter, width};                   \
    tvmq_machine->warp(&call);                                                             \
    return result;                                                                         \
  }
#define TVMQ_SHUFFLES(TYPE)                          \
  TVMQ_SHUFFLE(__shfl_sync, SHUFFLE, TYPE)           \
  TVMQ_SHUFFLE(__shfl_xor_sync, SHUFFLE_XOR, TYPE)   \
  TVMQ_SHUFFLE(__shfl_down_sync, SHUFFLE_DOWN, TYPE) \
  TVMQ_SHUFFLE(__shfl_up_sync, SHUFFLE_UP, TYPE)
TVMQ_SHUFFLES(int)
TVMQ_SHUFFLES(unsigned)
TVMQ_SHUFFLES(float)
TVMQ_SHUFFLES(double)
TVMQ_SHUFFLES(long long)
TVMQ_SHUFFLES(unsigned long long)
TVMQ_SHUFFLES(long)
#undef TVMQ_SHUFFLES
#undef TVMQ_SHUFFLE
TVMQ_DEVICE float tvmq_shuffle_xor_f32(float value, int mask) { return __shfl_xor_sync(~0u, value, mask); }
TVMQ_DEVICE float tvmq_shuffle_down_f32(float value, int by) { return __shfl_down_sync(~0u, value, by); }
TVMQ_DEVICE float tvmq_shuffle_f32(float value, int lane) { return __shfl_sync(~0u, value, lane); }
TVMQ_DEVICE int tvmq_shuffle_xor_s32(int value, int mask) { return __shfl_xor_sync(~0u, value, mask); }
TVMQ_DEVICE int tvmq_shuffle_down_s32(int value, int by) { return __shfl_down_sync(~0u, value, by); }
TVMQ_DEVICE int tvmq_shuffle_s32(int value, int lane) { return __shfl_sync(~0u, value, lane); }

// ---- Numbers ----

template <class A, class B>
TVMQ_DEVICE int tvmq_dot4(const void* a, const void* b, int c) {
  A x[4];
  B y[4];
  memcpy(x, a, 4);
  memcpy(y, b, 4);
  ++tvmq_machine->current->counts[tvmq_emulated::DP4A];
  return c + (x[0] * y[0] + x[1] * y[1] + x[2] * y[2] + x[3] * y[3]);
}
TVMQ_DEVICE int tvmq_dp4a_u8s8(const void* a, const void* b, int c) {
  return tvmq_dot4<uint8_t, int8_t>(a, b, c);
}
TVMQ_DEVICE int tvmq_dp4a_s8u8(const void* a, const void* b, int c) {
  return tvmq_dot4<int8_t, uint8_t>(a, b, c);
}
TVMQ_DEVICE int tvmq_dp4a_s8s8(const void* a, const void* b, int c) {
  return tvmq_dot4<int8_t, int8_t>(a, b, c);
}
TVMQ_DEVICE int tvmq_dp4a_u8u8(const void* a, const void* b, int c) {
  return tvmq_dot4<uint8_t, uint8_t>(a, b, c);
}
TVMQ_DEVICE int __dp4a(int a, int b, int c) { return tvmq_dot4<int8_t, int8_t>(&a, &b, c); }

TVMQ_DEVICE int __float2int_rn(float value) {
  ++tvmq_machine->current->counts[tvmq_emulated::ROUND];
  if (value != value) return 0;
  if (value >= 2147483648.0f) return 2147483647;
  if (value <= -2147483648.0f) return -2147483647 - 1;
  return static_cast<int>(rintf(value));
}
TVMQ_DEVICE int tvmq_round_to_int(float value) { return __float2int_rn(value); }
TVMQ_DEVICE int __popc(unsigned bits) {
  ++tvmq_machine->current->counts[tvmq_emulated::POPCOUNT];
  return __builtin_popcount(bits);
}
TVMQ_DEVICE int __popcll(unsigned long long bits) { return __builtin_popcountll(bits); }
TVMQ_DEVICE int tvmq_popcount(unsigned bits) { return __popc(bits); }
TVMQ_DEVICE int __clz(int bits) { return bits ? __builtin_clz(bits) : 32; }
TVMQ_DEVICE int __ffs(int bits) { return __builtin_ffs(bits); }
template <class T>
TVMQ_DEVICE T __ldg(const T* address) {
  return *address;
}

#define TVMQ_MIN_MAX(TYPE)                                       \
  TVMQ_DEVICE TYPE min(TYPE a, TYPE b) { return b < a ? b : a; } \
  TVMQ_DEVICE TYPE max(TYPE a, TYPE b) { return a < b ? b : a; }
TVMQ_MIN_MAX(int)
TVMQ_MIN_MAX(unsigned)
TVMQ_MIN_MAX(long)
TVMQ_MIN_MAX(unsigned long)
TVMQ_MIN_MAX(long long)
TVMQ_MIN_MAX(unsigned long long)
#undef TVMQ_MIN_MAX
// As CUDA's: a NaN loses against a number.
TVMQ_DEVICE float min(float a, float b) { return fminf(a, b); }
TVMQ_DEVICE float max(float a, float b) { return fmaxf(a, b); }
TVMQ_DEVICE double min(double a, double b) { return fmin(a, b); }
TVMQ_DEVICE double max(double a, double b) { return fmax(a, b); }

// The fast functions are the exact ones here: a GPU differs from them by what CUDA's manual says.
TVMQ_DEVICE float tvmq_expf(float x) { return expf(x); }
#define __expf tvmq_expf
TVMQ_DEVICE float tvmq_logf(float x) { return logf(x); }
#define __logf tvmq_logf
TVMQ_DEVICE float tvmq_log2f(float x) { return log2f(x); }
#define __log2f tvmq_log2f
TVMQ_DEVICE float tvmq_powf(float x, float y) { return powf(x, y); }
#define __powf tvmq_powf
TVMQ_DEVICE float tvmq_sinf(float x) { return sinf(x); }
#define __sinf tvmq_sinf
TVMQ_DEVICE float tvmq_cosf(float x) { return cosf(x); }
#define __cosf tvmq_cosf
TVMQ_DEVICE float tvmq_tanf(float x) { return tanf(x); }
#define __tanf tvmq_tanf
TVMQ_DEVICE float __fdividef(float x, float y) { return x / y; }
TVMQ_DEVICE float rsqrtf(float x) { return 1.0f / sqrtf(x); }
TVMQ_DEVICE float __frcp_rn(float x) { return 1.0f / x; }
TVMQ_DEVICE float __fmul_rn(float x, float y) { return x * y; }
TVMQ_DEVICE float __fadd_rn(float x, float y) { return x + y; }
TVMQ_DEVICE int __float_as_int(float x) {
  int y;
  memcpy(&y, &x, 4);
  return y;
}
TVMQ_DEVICE float __int_as_float(int x) {
  float y;
  memcpy(&y, &x, 4);
  return y;
}
TVMQ_DEVICE unsigned __float_as_uint(float x) {
  unsigned y;
  memcpy(&y, &x, 4);
  return y;
}
TVMQ_DEVICE float __uint_as_float(unsigned x) {
  float y;
  memcpy(&y, &x, 4);
  return y;
}

// ---- Arrays of a kernel: in shared memory, and its arguments ----

namespace tvmq_emulated {

#define TVMQ_INLINE inline __attribute__((always_inline))

// How plain reads and writes of elements are checked.
struct InShared {
  template <class T>
  TVMQ_INLINE void Read(T* value, const T* address) const {
    tvmq_machine->shared_load(value, address, sizeof(T));
  }
  template <class T>
  TVMQ_INLINE void Write(T* address, const T* value) const {
    tvmq_machine->shared_store(address, value, sizeof(T));
  }
};

struct InGlobal {
  const Range* range;
  template <class T>
  TVMQ_INLINE void Check(const T* address) const {
    auto* first = reinterpret_cast<const char*>(address);
    bool inside = first >= range->first && first + sizeof(T) <= range->end;
    if (!inside || reinterpret_cast<uintptr_t>(address) % alignof(T) != 0)
      tvmq_machine->outside(address, sizeof(T));
  }
  template <class T>
  TVMQ_INLINE void Read(T* value, const T* address) const {
    Check(address);
    *value = *address;
  }
  template <class T>
  TVMQ_INLINE void Write(T* address, const T* value) const {
    Check(address);
    *address = *value;
  }
};

template <class T, class Memory>
struct Element {
  using Value = std::remove_cv_t<T>;
  T* address;
  Memory memory;
  TVMQ_INLINE operator Value() const {
    Value value;
    memory.Read(&value, address);
    return value;
  }
  // A cast of a half to another number: two conversions, of which C++ makes one by itself.
  template <class U, class = std::enable_if_t<std::is_class_v<Value> && std::is_arithmetic_v<U>>>
  TVMQ_INLINE explicit operator U() const {
    return static_cast<U>(static_cast<Value>(*this));
  }
  TVMQ_INLINE Value operator=(Value value) const {
    memory.Write(address, &value);
    return value;
  }
  TVMQ_INLINE Value operator=(const Element& other) const { return *this = static_cast<Value>(other); }
  template <class U>
  TVMQ_INLINE Value operator+=(U by) const {
    return *this = static_cast<Value>(*this) + by;
  }
  template <class U>
  TVMQ_INLINE Value operator-=(U by) const {
    return *this = static_cast<Value>(*this) - by;
  }
  TVMQ_INLINE T* operator&() const { return address; }
};

template <class T, class Memory>
struct Array {
  T* base;
  Memory memory;
  TVMQ_INLINE Element<T, Memory> operator[](long i) const { return {base + i, memory}; }
  TVMQ_INLINE Element<T, Memory> operator*() const { return {base, memory}; }
  TVMQ_INLINE Array operator+(long i) const { return {base + i, memory}; }
  template <class U>
  TVMQ_INLINE operator U*() const {
    return (U*)base;
  }
};

template <class U, class T, class Memory>
TVMQ_DEVICE Array<U, Memory> view(Array<T, Memory> array) {
  return {(U*)array.base, array.memory};
}
template <class T>
TVMQ_DEVICE Array<T, InGlobal> global_array(T* base) {
  return {base, {tvmq_machine->range(base)}};
}
template <class T>
TVMQ_DEVICE Array<T, InShared> dynamic_array() {
  return {(T*)tvmq_machine->dynamic_shared(), {}};
}
template <class T>
TVMQ_DEVICE Array<T, InShared> static_array(int declaration, unsigned count, unsigned alignment) {
  unsigned least = alignment > alignof(T) ? alignment : alignof(T);
  return {(T*)tvmq_machine->static_shared(declaration, count * sizeof(T), least), {}};
}

// ---- Kernels as the machine finds them ----

template <unsigned... I>
struct Numbers {};
template <unsigned N, unsigned... I>
struct Count : Count<N - 1, N - 1, I...> {};
template <unsigned... I>
struct Count<0, I...> {
  using type = Numbers<I...>;
};

template <class F>
struct Signature;
template <class... A>
struct Signature<void (*)(A...)> {
  static constexpr unsigned count = sizeof...(A);
  static constexpr unsigned sizes[sizeof...(A) + 1] = {sizeof(A)..., 0};
  template <unsigned... I>
  static void run(void (*kernel)(A...), void** arguments, Numbers<I...>) {
    kernel(*static_cast<A*>(arguments[I])...);
  }
};

template <auto kernel>
Kernel row(const char* name, unsigned threads) {
  using S = Signature<decltype(kernel)>;
  return {name, [](void** arguments) { S::run(kernel, arguments, typename Count<S::count>::type()); },
          threads, S::count, S::sizes};
}

}  // namespace tvmq_emulated
