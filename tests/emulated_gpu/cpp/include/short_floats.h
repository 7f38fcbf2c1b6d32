// Floats of 16 bits: computed as doubles, and rounded to nearest, half to even, after each operation. A
// double holds every sum and product of two of them, and enough of a quotient or root that rounding twice is
// as rounding once.
#pragma once
#include <math.h>
#include <string.h>

namespace tvmq_emulated {

// `BITS` of the fraction, exponents from `LEAST` on; what no number is NaN `NOT_A_NUMBER`.
template <int BITS, int LEAST, unsigned short NOT_A_NUMBER>
struct ShortFloat {
  static unsigned short Encoded(double value) {
    unsigned short sign = signbit(value) ? 0x8000 : 0;
    const int infinity = (0x7fff >> BITS) << BITS;
    if (value != value) return NOT_A_NUMBER;
    double size = fabs(value);
    if (size == 0) return sign;
    int exponent = isinf(size) ? -LEAST + 2 : ilogb(size);
    if (exponent > -LEAST + 1) return sign | infinity;
    if (exponent < LEAST) exponent = LEAST;
    // The fraction's carry goes to the exponent, also from the numbers below the least normal one and to
    // infinity.
    int steps = static_cast<int>(nearbyint(ldexp(size, BITS - exponent)));
    return sign | (steps + ((exponent - LEAST) << BITS));
  }
  static double Decoded(unsigned short bits) {
    int exponent = (bits & 0x7fff) >> BITS, fraction = bits & ((1 << BITS) - 1);
    double size;
    if (exponent == 0x7fff >> BITS) {
      size = fraction ? __builtin_nan("") : __builtin_inf();
    } else if (exponent == 0) {
      size = ldexp(fraction, LEAST - BITS);
    } else {
      size = ldexp(fraction + (1 << BITS), exponent - 1 + LEAST - BITS);
    }
    return bits & 0x8000 ? -size : size;
  }
};

}  // namespace tvmq_emulated

// A type NAME, and NAME2 of two of them, with what CUDA has for both of its types. Conversions to and from
// other numbers are as implicit as CUDA's, so that what is ambiguous there is ambiguous here.
#define TVMQ_SHORT_FLOAT(NAME, FORMAT)                                                          \
  struct NAME {                                                                                 \
    using Format = tvmq_emulated::FORMAT;                                                       \
    unsigned short __x;                                                                         \
    NAME() = default;                                                                           \
    TVMQ_SHORT_FLOAT_FROM(NAME, float)                                                          \
    TVMQ_SHORT_FLOAT_FROM(NAME, double)                                                         \
    TVMQ_SHORT_FLOAT_FROM(NAME, short)                                                          \
    TVMQ_SHORT_FLOAT_FROM(NAME, unsigned short)                                                 \
    TVMQ_SHORT_FLOAT_FROM(NAME, int)                                                            \
    TVMQ_SHORT_FLOAT_FROM(NAME, unsigned)                                                       \
    TVMQ_SHORT_FLOAT_FROM(NAME, long)                                                           \
    TVMQ_SHORT_FLOAT_FROM(NAME, unsigned long)                                                  \
    TVMQ_SHORT_FLOAT_FROM(NAME, long long)                                                      \
    TVMQ_SHORT_FLOAT_FROM(NAME, unsigned long long)                                             \
    double Wide() const { return Format::Decoded(__x); }                                        \
    operator float() const { return static_cast<float>(Wide()); }                               \
    operator bool() const { return Wide() != 0; }                                               \
    TVMQ_SHORT_FLOAT_TO(char)                                                                   \
    TVMQ_SHORT_FLOAT_TO(signed char)                                                            \
    TVMQ_SHORT_FLOAT_TO(unsigned char)                                                          \
    TVMQ_SHORT_FLOAT_TO(short)                                                                  \
    TVMQ_SHORT_FLOAT_TO(unsigned short)                                                         \
    TVMQ_SHORT_FLOAT_TO(int)                                                                    \
    TVMQ_SHORT_FLOAT_TO(unsigned)                                                               \
    TVMQ_SHORT_FLOAT_TO(long)                                                                   \
    TVMQ_SHORT_FLOAT_TO(unsigned long)                                                          \
    TVMQ_SHORT_FLOAT_TO(long long)                                                              \
    TVMQ_SHORT_FLOAT_TO(unsigned long long)                                                     \
  };                                                                                            \
  TVMQ_DEVICE NAME operator+(const NAME& a, const NAME& b) { return a.Wide() + b.Wide(); }      \
  TVMQ_DEVICE NAME operator-(const NAME& a, const NAME& b) { return a.Wide() - b.Wide(); }      \
  TVMQ_DEVICE NAME operator*(const NAME& a, const NAME& b) { return a.Wide() * b.Wide(); }      \
  TVMQ_DEVICE NAME operator/(const NAME& a, const NAME& b) { return a.Wide() / b.Wide(); }      \
  TVMQ_DEVICE NAME& operator+=(NAME& a, const NAME& b) { return a = a + b; }                    \
  TVMQ_DEVICE NAME& operator-=(NAME& a, const NAME& b) { return a = a - b; }                    \
  TVMQ_DEVICE NAME& operator*=(NAME& a, const NAME& b) { return a = a * b; }                    \
  TVMQ_DEVICE NAME& operator/=(NAME& a, const NAME& b) { return a = a / b; }                    \
  TVMQ_DEVICE NAME operator+(const NAME& a) { return a; }                                       \
  TVMQ_DEVICE NAME operator-(const NAME& a) { return -a.Wide(); }                               \
  TVMQ_DEVICE bool operator==(const NAME& a, const NAME& b) { return a.Wide() == b.Wide(); }    \
  TVMQ_DEVICE bool operator!=(const NAME& a, const NAME& b) { return a.Wide() != b.Wide(); }    \
  TVMQ_DEVICE bool operator<(const NAME& a, const NAME& b) { return a.Wide() < b.Wide(); }      \
  TVMQ_DEVICE bool operator>(const NAME& a, const NAME& b) { return a.Wide() > b.Wide(); }      \
  TVMQ_DEVICE bool operator<=(const NAME& a, const NAME& b) { return a.Wide() <= b.Wide(); }    \
  TVMQ_DEVICE bool operator>=(const NAME& a, const NAME& b) { return a.Wide() >= b.Wide(); }    \
  TVMQ_DEVICE NAME __hadd(NAME a, NAME b) { return a + b; }                                     \
  TVMQ_DEVICE NAME __hsub(NAME a, NAME b) { return a - b; }                                     \
  TVMQ_DEVICE NAME __hmul(NAME a, NAME b) { return a * b; }                                     \
  TVMQ_DEVICE NAME __hdiv(NAME a, NAME b) { return a / b; }                                     \
  TVMQ_DEVICE NAME __hneg(NAME a) { return -a; }                                                \
  TVMQ_DEVICE NAME __habs(NAME a) { return fabs(a.Wide()); }                                    \
  TVMQ_DEVICE NAME __hmax(NAME a, NAME b) { return fmax(a.Wide(), b.Wide()); }                  \
  TVMQ_DEVICE NAME __hmin(NAME a, NAME b) { return fmin(a.Wide(), b.Wide()); }                  \
  TVMQ_DEVICE bool __heq(NAME a, NAME b) { return a == b; }                                     \
  TVMQ_DEVICE bool __hne(NAME a, NAME b) { return a.Wide() < b.Wide() || a.Wide() > b.Wide(); } \
  TVMQ_DEVICE bool __hlt(NAME a, NAME b) { return a < b; }                                      \
  TVMQ_DEVICE bool __hle(NAME a, NAME b) { return a <= b; }                                     \
  TVMQ_DEVICE bool __hgt(NAME a, NAME b) { return a > b; }                                      \
  TVMQ_DEVICE bool __hge(NAME a, NAME b) { return a >= b; }                                     \
  TVMQ_DEVICE bool __hisnan(NAME a) { return isnan(a.Wide()); }                                 \
  TVMQ_DEVICE int __hisinf(NAME a) { return isinf(a.Wide()) ? (a.Wide() < 0 ? -1 : 1) : 0; }    \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, hceil, ceil)                                                  \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, hcos, cos)                                                    \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, hexp, exp)                                                    \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, hexp2, exp2)                                                  \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, hexp10, tvmq_emulated::exp10)                                 \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, hfloor, floor)                                                \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, hlog, log)                                                    \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, hlog2, log2)                                                  \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, hlog10, log10)                                                \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, hrcp, 1.0 /)                                                  \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, hrint, nearbyint)                                             \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, hrsqrt, 1.0 / sqrt)                                           \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, hsin, sin)                                                    \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, hsqrt, sqrt)                                                  \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, htanh, tanh)                                                  \
  TVMQ_SHORT_FLOAT_FUNCTION(NAME, htrunc, trunc)                                                \
  TVMQ_DEVICE NAME __ldg(const NAME* address) { return *address; }                              \
  struct alignas(4) NAME##2 {                                                                   \
    NAME x, y;                                                                                  \
    NAME##2() = default;                                                                        \
    NAME##2(NAME x, NAME y) : x(x), y(y) {}                                                     \
  };                                                                                            \
  TVMQ_DEVICE NAME##2 operator+(NAME##2 a, NAME##2 b) { return {a.x + b.x, a.y + b.y}; }        \
  TVMQ_DEVICE NAME##2 operator-(NAME##2 a, NAME##2 b) { return {a.x - b.x, a.y - b.y}; }        \
  TVMQ_DEVICE NAME##2 operator*(NAME##2 a, NAME##2 b) { return {a.x * b.x, a.y * b.y}; }        \
  TVMQ_DEVICE NAME##2 operator/(NAME##2 a, NAME##2 b) { return {a.x / b.x, a.y / b.y}; }

#define TVMQ_SHORT_FLOAT_FROM(NAME, TYPE) \
  NAME(TYPE value) : __x(Format::Encoded(static_cast<double>(value))) {}
// As CUDA's: towards zero, clipped to what the type holds, NaN as 0.
#define TVMQ_SHORT_FLOAT_TO(TYPE) \
  operator TYPE() const { return tvmq_emulated::clipped<TYPE>(Wide()); }
#define TVMQ_SHORT_FLOAT_FUNCTION(NAME, FUNCTION, OF) \
  TVMQ_DEVICE NAME FUNCTION(NAME a) { return OF(a.Wide()); }

namespace tvmq_emulated {

inline double exp10(double x) { return pow(10.0, x); }

template <class T>
T clipped(double value) {
  const bool is_signed = static_cast<T>(-1) < static_cast<T>(1);
  const double end = ldexp(1.0, static_cast<int>(8 * sizeof(T)) - is_signed), first = is_signed ? -end : 0;
  if (value != value) return 0;
  T largest = static_cast<T>(~(is_signed ? static_cast<T>(1ull << (8 * sizeof(T) - 1)) : static_cast<T>(0)));
  if (value >= end) return largest;
  if (value <= first) return is_signed ? static_cast<T>(~largest) : static_cast<T>(0);
  return static_cast<T>(value);
}

}  // namespace tvmq_emulated
