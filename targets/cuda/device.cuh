// What CUDA kernels of tvmq need of the machine: dot products, warp-level matrix products, memory in vectors,
// asynchronous copies, barriers and shuffles. Kernels call these by name (TVM's call_extern); arguments are
// numbers and addresses.
//
// "Warp-collective": all 32 lanes of a warp must call it together. local: an array of the calling thread
// (registers). Addresses of an access of n bytes are multiples of n. Fragments lie in the lanes as the PTX
// manual has them for mma.sync; with group = lane / 4 and member = lane % 4, for 8-bit numbers:
//
//   a[r] byte i = A[group + 8 * (r % 2)][4 * member + 16 * (r / 2) + i]    A: 16 x 32
//   b[r] byte i = B[4 * member + 16 * r + i][group]                        B: 32 x 8
//   d[r]        = D[group + 8 * (r / 2)][2 * member + r % 2]               D: 16 x 8
//
// and for 4 bits (1 bit) the same with 8 (32) numbers in a register instead of 4.
//
// Needs compute capability 6.1; matrix products of 8 bits 7.2, of 4 bits and of bits 7.5: calling one below
// that does not compile. The text stands alone (no includes), for nvcc and for NVRTC.
#ifndef TVMQ_DEVICE_CUH
#define TVMQ_DEVICE_CUH

#define TVMQ_DEVICE static __device__ __forceinline__
#ifdef __CUDA_ARCH__
#define TVMQ_ARCH __CUDA_ARCH__
#else
#define TVMQ_ARCH 10000  // nvcc's pass over the host code sees every function and makes none
#endif

// ---- Dot products of four bytes: c + sum(a[i] * b[i]) ----

#define TVMQ_DP4A(NAME, A_TYPE, B_TYPE)                                                   \
  TVMQ_DEVICE int tvmq_dp4a_##NAME(const void* a, const void* b, int c) {                 \
    int x, y, d;                                                                          \
    memcpy(&x, a, 4);                                                                     \
    memcpy(&y, b, 4);                                                                     \
    asm("dp4a." A_TYPE "." B_TYPE " %0, %1, %2, %3;" : "=r"(d) : "r"(x), "r"(y), "r"(c)); \
    return d;                                                                             \
  }
TVMQ_DP4A(s8s8, "s32", "s32")
TVMQ_DP4A(u8s8, "u32", "s32")
TVMQ_DP4A(s8u8, "s32", "u32")
TVMQ_DP4A(u8u8, "u32", "u32")
#undef TVMQ_DP4A

// The bytes of four words by place: byte i of out[j] is byte j of the i-th word. dp4a then adds products of one place.
TVMQ_DEVICE void tvmq_transpose_4(void* out, const void* first, const void* second, const void* third, const void* fourth) {
  unsigned w[4];
  memcpy(w, first, 4);
  memcpy(w + 1, second, 4);
  memcpy(w + 2, third, 4);
  memcpy(w + 3, fourth, 4);
  unsigned low = __byte_perm(w[0], w[1], 0x5140), high = __byte_perm(w[0], w[1], 0x7362);
  unsigned low2 = __byte_perm(w[2], w[3], 0x5140), high2 = __byte_perm(w[2], w[3], 0x7362);
  unsigned t[4] = {__byte_perm(low, low2, 0x5410), __byte_perm(low, low2, 0x7632), __byte_perm(high, high2, 0x5410),
                   __byte_perm(high, high2, 0x7632)};
  memcpy(out, t, 16);
}

// ---- Packed weights: each byte of a word has numbers of 4 (2) bits, from the lowest on, the least weight as 0 ------------------
//
// Plane p of the word's bytes, four weights as signed bytes, goes to out + p * distance bytes.

TVMQ_DEVICE void tvmq_unpack_s4(void* out, const void* word, int distance) {
  unsigned w;
  memcpy(&w, word, 4);
  for (int plane = 0; plane < 2; ++plane) {
    // The bit above keeps a byte from borrowing from its neighbour.
    unsigned weights = ((((w >> (4 * plane)) & 0x0f0f0f0fu) | 0x80808080u) - 0x08080808u) ^ 0x80808080u;
    memcpy(static_cast<char*>(out) + plane * distance, &weights, 4);
  }
}
// Of four bytes below 16 each, those of `high` in the upper halves.
TVMQ_DEVICE void tvmq_pack_u4(void* out, const void* low, const void* high) {
  unsigned l, h;
  memcpy(&l, low, 4);
  memcpy(&h, high, 4);
  l |= h << 4;
  memcpy(out, &l, 4);
}
TVMQ_DEVICE void tvmq_unpack_s2(void* out, const void* word, int distance) {
  unsigned w;
  memcpy(&w, word, 4);
  for (int plane = 0; plane < 4; ++plane) {
    unsigned weights = ((((w >> (2 * plane)) & 0x03030303u) | 0x80808080u) - 0x02020202u) ^ 0x80808080u;
    memcpy(static_cast<char*>(out) + plane * distance, &weights, 4);
  }
}

// ---- Bits, of which eight lie in a byte ----

// A plane of a word's bits, the plane-th of each byte, as bytes: 0 becomes 64, 1 becomes -64.
TVMQ_DEVICE void tvmq_unpack_b1(void* out, const void* word, int plane) {
  unsigned w;
  memcpy(&w, word, 4);
  w <<= 7 - plane;
  asm("lop3.b32 %0, %0, %1, %2, 0xea;" : "+r"(w) : "r"(0x80808080u), "r"(0x40404040u));  // and, then or
  memcpy(out, &w, 4);
}

// c + the number of bits that are unlike in 16 bytes. Counting is slower than logic: a full adder makes two words of three.
TVMQ_DEVICE int tvmq_unlike_16(const void* a, const void* b, int c) {
  unsigned x[4], y[4];
  memcpy(x, a, 16);
  memcpy(y, b, 16);
  for (int i = 0; i < 4; ++i) x[i] ^= y[i];
  unsigned ones, twos;
  asm("lop3.b32 %0, %1, %2, %3, 0x96;" : "=r"(ones) : "r"(x[0]), "r"(x[1]), "r"(x[2]));  // sum
  asm("lop3.b32 %0, %1, %2, %3, 0xe8;" : "=r"(twos) : "r"(x[0]), "r"(x[1]), "r"(x[2]));  // carry
  return c + __popc(ones) + __popc(x[3]) + 2 * __popc(twos);
}

// The four codes of plane p as floats, exact: 8 + code / 2 of 4 bits and 2 + code / 2 of 2 bits, which is a code at the
// top of a mantissa; code - 128 of 8 bits.

TVMQ_DEVICE void tvmq_floats_u4(void* out, const void* word, int plane) {
  unsigned w;
  memcpy(&w, word, 4);
  unsigned bytes = ((w >> (4 * plane)) << 3) & 0x78787878u;
  for (int i = 0; i < 4; ++i) {
    static_cast<float*>(out)[i] = __uint_as_float(__byte_perm(bytes, 0x41000000u, 0x7044u | i << 8));
  }
}
TVMQ_DEVICE void tvmq_floats_u2(void* out, const void* word, int plane) {
  unsigned w;
  memcpy(&w, word, 4);
  unsigned bytes = ((w >> (2 * plane)) << 5) & 0x60606060u;
  for (int i = 0; i < 4; ++i) {
    static_cast<float*>(out)[i] = __uint_as_float(__byte_perm(bytes, 0x40000000u, 0x7044u | i << 8));
  }
}
TVMQ_DEVICE void tvmq_floats_u8(void* out, const void* word, int) {
  unsigned w;
  memcpy(&w, word, 4);
  for (int i = 0; i < 4; ++i) {
    static_cast<float*>(out)[i] = __uint_as_float(__byte_perm(w, 0x4b000000u, 0x7440u | i)) - 8388736.0f;
  }
}

// ---- Matrix products, warp-collective: d += a * b. d: int[4], a: 4 registers of 32 bits, b: 2 ----
//
// Before 8.0 a product is four of m8n8 and half the depth, of the parts of the same fragments.

#define TVMQ_MMA_LARGE(SHAPE, TYPES, LAST)                                        \
  asm volatile("mma.sync.aligned." SHAPE ".row.col.s32." TYPES ".s32" LAST        \
               " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])                   \
               : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]))
#define TVMQ_MMA_SMALL(SHAPE, TYPES, LAST, C, A, B)                        \
  asm volatile("mma.sync.aligned." SHAPE ".row.col.s32." TYPES ".s32" LAST \
               " {%0, %1}, {%2}, {%3}, {%0, %1};"                          \
               : "+r"((C)[0]), "+r"((C)[1])                                \
               : "r"(A), "r"(B))
#define TVMQ_MMA_FOUR(SHAPE, TYPES, LAST)                \
  TVMQ_MMA_SMALL(SHAPE, TYPES, LAST, d, x[0], y[0]);     \
  TVMQ_MMA_SMALL(SHAPE, TYPES, LAST, d + 2, x[1], y[0]); \
  TVMQ_MMA_SMALL(SHAPE, TYPES, LAST, d, x[2], y[1]);     \
  TVMQ_MMA_SMALL(SHAPE, TYPES, LAST, d + 2, x[3], y[1])
#define TVMQ_MMA(NAME, BODY)                                               \
  TVMQ_DEVICE void tvmq_mma_##NAME(int* d, const void* a, const void* b) { \
    unsigned x[4], y[2];                                                   \
    memcpy(x, a, 16);                                                      \
    memcpy(y, b, 8);                                                       \
    BODY;                                                                  \
  }

#if TVMQ_ARCH >= 800
#define TVMQ_MMA_8(NAME, TYPES) TVMQ_MMA(NAME, TVMQ_MMA_LARGE("m16n8k32", TYPES, ""))
#define TVMQ_MMA_4(NAME, TYPES) TVMQ_MMA(NAME, TVMQ_MMA_LARGE("m16n8k64", TYPES, ""))
#else
#define TVMQ_MMA_8(NAME, TYPES) TVMQ_MMA(NAME, TVMQ_MMA_FOUR("m8n8k16", TYPES, ""))
#define TVMQ_MMA_4(NAME, TYPES) TVMQ_MMA(NAME, TVMQ_MMA_FOUR("m8n8k32", TYPES, ""))
#endif

#if TVMQ_ARCH >= 720
TVMQ_MMA_8(u8s8, "u8.s8")
TVMQ_MMA_8(s8u8, "s8.u8")
TVMQ_MMA_8(s8s8, "s8.s8")
TVMQ_MMA_8(u8u8, "u8.u8")
#endif

#if TVMQ_ARCH >= 750
// Those of 4 bits and of bits are native from 7.5 to 8.9; from 9.0 on ptxas makes slow code of them.
TVMQ_MMA_4(u4s4, "u4.s4")
TVMQ_MMA_4(s4u4, "s4.u4")
TVMQ_MMA_4(s4s4, "s4.s4")
TVMQ_MMA_4(u4u4, "u4.u4")

// d += popcount(a ^ b) and d += popcount(a & b).
#if TVMQ_ARCH >= 800
TVMQ_MMA(b1_xor, TVMQ_MMA_LARGE("m16n8k256", "b1.b1", ".xor.popc"))
TVMQ_MMA(b1_and, TVMQ_MMA_LARGE("m16n8k256", "b1.b1", ".and.popc"))
#else
TVMQ_MMA(b1_xor, TVMQ_MMA_FOUR("m8n8k128", "b1.b1", ".xor.popc"))

// There is no `and` at 7.5, but 2 * popcount(a & b) = popcount(a) + popcount(b) - popcount(a ^ b), where
// popcount(a) is the product of a with zeros.
TVMQ_DEVICE void tvmq_mma_b1_and(int* d, const void* a, const void* b) {
  const unsigned zeros[4] = {0, 0, 0, 0};
  int sums[4] = {0, 0, 0, 0}, differences[4] = {0, 0, 0, 0};
  tvmq_mma_b1_xor(sums, a, zeros);
  tvmq_mma_b1_xor(sums, zeros, b);
  tvmq_mma_b1_xor(differences, a, b);
  for (int i = 0; i < 4; ++i) d[i] += (sums[i] - differences[i]) >> 1;
}
#endif
#endif

#undef TVMQ_MMA
#undef TVMQ_MMA_4
#undef TVMQ_MMA_8
#undef TVMQ_MMA_FOUR
#undef TVMQ_MMA_SMALL
#undef TVMQ_MMA_LARGE

// ---- ldmatrix, warp-collective: 1, 2 or 4 matrices of 8 rows of 16 bytes in shared memory ----
//
// Lane l gives the address of row l % 8 of matrix l / 8 (of x1 and x2 only lanes 0..7 and 0..15 count);
// registers[m] = bytes 4 * (lane % 4) ... of row lane / 4 of matrix m.

TVMQ_DEVICE unsigned tvmq_shared_address(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

#if TVMQ_ARCH >= 750
TVMQ_DEVICE void tvmq_ldmatrix_x1(void* registers, const void* row) {
  unsigned r;
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
               : "=r"(r)
               : "r"(tvmq_shared_address(row))
               : "memory");
  memcpy(registers, &r, 4);
}
TVMQ_DEVICE void tvmq_ldmatrix_x2(void* registers, const void* row) {
  unsigned r[2];
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(tvmq_shared_address(row))
               : "memory");
  memcpy(registers, r, 8);
}
TVMQ_DEVICE void tvmq_ldmatrix_x4(void* registers, const void* row) {
  unsigned r[4];
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(tvmq_shared_address(row))
               : "memory");
  memcpy(registers, r, 16);
}
#else
#define TVMQ_LDMATRIX(MATRICES)                                                             \
  TVMQ_DEVICE void tvmq_ldmatrix_x##MATRICES(void* registers, const void* row) {            \
    unsigned r[MATRICES], lane, mine = tvmq_shared_address(row);                            \
    asm("mov.u32 %0, %%laneid;" : "=r"(lane));                                              \
    for (int m = 0; m < MATRICES; ++m) {                                                    \
      unsigned address = __shfl_sync(0xffffffffu, mine, 8 * m + lane / 4) + 4 * (lane % 4); \
      asm volatile("ld.shared.u32 %0, [%1];" : "=r"(r[m]) : "r"(address) : "memory");       \
    }                                                                                       \
    memcpy(registers, r, 4 * MATRICES);                                                     \
  }
TVMQ_LDMATRIX(1)
TVMQ_LDMATRIX(2)
TVMQ_LDMATRIX(4)
#undef TVMQ_LDMATRIX
#endif

// ---- wgmma: matrix products of 64 rows by four warps at once, asynchronous; compute capability 9.0, code for sm_90a --------------
//
// d += a * b of 64 x 32 by 32 x N bytes in shared memory, as lines of `depth` bytes (32, 64 or 128) whose 16-byte pieces are
// exchanged: piece p of line r is at p xor (r / (128 / depth)) mod (depth / 16), counted from a multiple of 8 * depth. a and b
// are where the 32 bytes of the first line would be without that. Warp w of the four has rows 16 * w ..., and in d[4 * j ...] what
// mma has of columns 8 * j .... All warps of the four call everything, in order:
//
//   shared_fence, barrier    what ordinary instructions wrote is there for wgmma
//   wgmma_fence              d is what it is
//   wgmma_* ..., wgmma_commit
//   wgmma_wait(n)            all but the last n commits are done: before that nobody touches d, a or b
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
TVMQ_DEVICE unsigned long long tvmq_matrix_descriptor(const void* shared, int depth) {
  unsigned long long address = (tvmq_shared_address(shared) & 0x3ffffu) >> 4;
  unsigned long long mode = depth == 128 ? 1 : depth == 64 ? 2 : 3;
  return address | 1ull << 16 | static_cast<unsigned long long>(depth >> 1) << 32 | mode << 62;
}
#define TVMQ_D4(I) "+r"(d[I]), "+r"(d[I + 1]), "+r"(d[I + 2]), "+r"(d[I + 3])
#define TVMQ_D16(I) TVMQ_D4(I), TVMQ_D4(I + 4), TVMQ_D4(I + 8), TVMQ_D4(I + 12)
#define TVMQ_D32(I) TVMQ_D16(I), TVMQ_D16(I + 16)
#define TVMQ_D64(I) TVMQ_D32(I), TVMQ_D32(I + 32)
#define TVMQ_N0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define TVMQ_N1 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define TVMQ_N2 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define TVMQ_N3 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define TVMQ_N4 "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define TVMQ_N5 "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define TVMQ_N6 "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"
#define TVMQ_N7 "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define TVMQ_R16 TVMQ_D16(0)
#define TVMQ_R32 TVMQ_D32(0)
#define TVMQ_R64 TVMQ_D64(0)
#define TVMQ_R96 TVMQ_D64(0), TVMQ_D32(64)
#define TVMQ_R128 TVMQ_D64(0), TVMQ_D64(64)
#define TVMQ_WGMMA(TYPES, NAME, COLUMNS, NAMES, REGISTERS, A, B)                                       \
  TVMQ_DEVICE void tvmq_wgmma_##NAME##_##COLUMNS(int* d, const void* a, const void* b, int depth) {    \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" #COLUMNS "k32.s32." TYPES " {" NAMES "}, "         \
                 "%" #A ", %" #B ", 1;"                                                                 \
                 : REGISTERS                                                                            \
                 : "l"(tvmq_matrix_descriptor(a, depth)), "l"(tvmq_matrix_descriptor(b, depth)));      \
  }
#define TVMQ_WGMMA_ALL(TYPES, NAME)                                                                    \
  TVMQ_WGMMA(TYPES, NAME, 32, TVMQ_N0, TVMQ_R16, 16, 17) \
  TVMQ_WGMMA(TYPES, NAME, 64, TVMQ_N0 ", " TVMQ_N1, TVMQ_R32, 32, 33) \
  TVMQ_WGMMA(TYPES, NAME, 128, TVMQ_N0 ", " TVMQ_N1 ", " TVMQ_N2 ", " TVMQ_N3, TVMQ_R64, 64, 65) \
  TVMQ_WGMMA(TYPES, NAME, 192, TVMQ_N0 ", " TVMQ_N1 ", " TVMQ_N2 ", " TVMQ_N3 ", " TVMQ_N4 ", " TVMQ_N5, TVMQ_R96, 96, 97) \
  TVMQ_WGMMA(TYPES, NAME, 256, TVMQ_N0 ", " TVMQ_N1 ", " TVMQ_N2 ", " TVMQ_N3 ", " TVMQ_N4 ", " TVMQ_N5 ", " TVMQ_N6 ", " TVMQ_N7, TVMQ_R128, 128, 129)
TVMQ_WGMMA_ALL("u8.s8", u8s8)
TVMQ_WGMMA_ALL("s8.u8", s8u8)
TVMQ_WGMMA_ALL("s8.s8", s8s8)
TVMQ_WGMMA_ALL("u8.u8", u8u8)
TVMQ_DEVICE void tvmq_wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
TVMQ_DEVICE void tvmq_wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
TVMQ_DEVICE void tvmq_wgmma_wait(int groups) {
  if (groups == 0) {
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  } else {
    asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
  }
}
TVMQ_DEVICE void tvmq_shared_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
#undef TVMQ_D4
#undef TVMQ_D16
#undef TVMQ_D32
#undef TVMQ_D64
#undef TVMQ_N0
#undef TVMQ_N1
#undef TVMQ_N2
#undef TVMQ_N3
#undef TVMQ_N4
#undef TVMQ_N5
#undef TVMQ_N6
#undef TVMQ_N7
#undef TVMQ_R16
#undef TVMQ_R32
#undef TVMQ_R64
#undef TVMQ_R96
#undef TVMQ_R128
#undef TVMQ_WGMMA
#undef TVMQ_WGMMA_ALL
#endif

// ---- Asynchronous copies from global to shared memory ----
//
// A thread's copies since its last commit are a group. wait(n) returns when all but its n newest groups have
// arrived (n a constant 0..7); other threads see them behind a barrier. Before 8.0 a copy is done when it is
// issued.

#if TVMQ_ARCH >= 800
#define TVMQ_COPY(BYTES, CACHE)                                                \
  TVMQ_DEVICE void tvmq_copy_async_##BYTES(void* shared, const void* global) { \
    asm volatile("cp.async." CACHE ".shared.global [%0], [%1], " #BYTES        \
                 ";" ::"r"(tvmq_shared_address(shared)),                       \
                 "l"(__cvta_generic_to_global(global))                         \
                 : "memory");                                                  \
  }
TVMQ_COPY(4, "ca")
TVMQ_COPY(8, "ca")
TVMQ_COPY(16, "cg")
#undef TVMQ_COPY

TVMQ_DEVICE void tvmq_copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
TVMQ_DEVICE void tvmq_copy_wait(int groups) {
  switch (groups) {
    case 0:
      asm volatile("cp.async.wait_group 0;" ::: "memory");
      break;
    case 1:
      asm volatile("cp.async.wait_group 1;" ::: "memory");
      break;
    case 2:
      asm volatile("cp.async.wait_group 2;" ::: "memory");
      break;
    case 3:
      asm volatile("cp.async.wait_group 3;" ::: "memory");
      break;
    case 4:
      asm volatile("cp.async.wait_group 4;" ::: "memory");
      break;
    case 5:
      asm volatile("cp.async.wait_group 5;" ::: "memory");
      break;
    case 6:
      asm volatile("cp.async.wait_group 6;" ::: "memory");
      break;
    default:
      asm volatile("cp.async.wait_group 7;" ::: "memory");
      break;
  }
}
#else
TVMQ_DEVICE void tvmq_copy_async_4(void* shared, const void* global) {
  *static_cast<unsigned*>(shared) = *static_cast<const unsigned*>(global);
}
TVMQ_DEVICE void tvmq_copy_async_8(void* shared, const void* global) {
  *static_cast<uint2*>(shared) = *static_cast<const uint2*>(global);
}
TVMQ_DEVICE void tvmq_copy_async_16(void* shared, const void* global) {
  *static_cast<uint4*>(shared) = *static_cast<const uint4*>(global);
}
TVMQ_DEVICE void tvmq_copy_commit() {}
TVMQ_DEVICE void tvmq_copy_wait(int) {}
#endif

// ---- Memory in vectors ----

#define TVMQ_MEMORY(BYTES, TYPE)                                              \
  TVMQ_DEVICE void tvmq_load_##BYTES(void* local, const void* global) {       \
    TYPE value = *static_cast<const TYPE*>(global);                           \
    memcpy(local, &value, BYTES);                                             \
  }                                                                           \
  /* of memory that nobody writes while the kernel runs */                    \
  TVMQ_DEVICE void tvmq_load_const_##BYTES(void* local, const void* global) { \
    TYPE value = __ldg(static_cast<const TYPE*>(global));                     \
    memcpy(local, &value, BYTES);                                             \
  }                                                                           \
  TVMQ_DEVICE void tvmq_store_##BYTES(void* global, const void* local) {      \
    TYPE value;                                                               \
    memcpy(&value, local, BYTES);                                             \
    *static_cast<TYPE*>(global) = value;                                      \
  }
#define TVMQ_SHARED(BYTES, TYPE)                                                \
  TVMQ_DEVICE void tvmq_shared_load_##BYTES(void* local, const void* shared) {  \
    TYPE value = *static_cast<const TYPE*>(shared);                             \
    memcpy(local, &value, BYTES);                                               \
  }                                                                             \
  TVMQ_DEVICE void tvmq_shared_store_##BYTES(void* shared, const void* local) { \
    TYPE value;                                                                 \
    memcpy(&value, local, BYTES);                                               \
    *static_cast<TYPE*>(shared) = value;                                        \
  }
TVMQ_MEMORY(1, unsigned char)
TVMQ_MEMORY(2, unsigned short)
TVMQ_MEMORY(4, unsigned)
TVMQ_MEMORY(8, uint2)
TVMQ_MEMORY(16, uint4)
TVMQ_SHARED(1, unsigned char)
TVMQ_SHARED(2, unsigned short)
TVMQ_SHARED(4, unsigned)
TVMQ_SHARED(8, uint2)
TVMQ_SHARED(16, uint4)
#undef TVMQ_SHARED
#undef TVMQ_MEMORY

TVMQ_DEVICE int tvmq_atomic_add_s32(void* global, int value) {
  return atomicAdd(static_cast<int*>(global), value);
}

// ---- Threads of a block, and of a warp ----

TVMQ_DEVICE void tvmq_barrier() { __syncthreads(); }
TVMQ_DEVICE void tvmq_warp_barrier() { __syncwarp(); }

#define TVMQ_SHUFFLES(NAME, TYPE)                                  \
  TVMQ_DEVICE TYPE tvmq_shuffle_xor_##NAME(TYPE value, int mask) { \
    return __shfl_xor_sync(0xffffffffu, value, mask);              \
  }                                                                \
  TVMQ_DEVICE TYPE tvmq_shuffle_down_##NAME(TYPE value, int by) {  \
    return __shfl_down_sync(0xffffffffu, value, by);               \
  }                                                                \
  TVMQ_DEVICE TYPE tvmq_shuffle_##NAME(TYPE value, int lane) { return __shfl_sync(0xffffffffu, value, lane); }
TVMQ_SHUFFLES(f32, float)
TVMQ_SHUFFLES(s32, int)
#undef TVMQ_SHUFFLES

// ---- Numbers ----

// To nearest, half to even, clipped to int32; NaN gives 0.
TVMQ_DEVICE int tvmq_round_to_int(float value) { return __float2int_rn(value); }
TVMQ_DEVICE int tvmq_popcount(unsigned bits) { return __popc(bits); }

#undef TVMQ_ARCH
#undef TVMQ_DEVICE
#endif  // TVMQ_DEVICE_CUH
