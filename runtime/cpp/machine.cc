#include "machine.h"

#include <sys/auxv.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

namespace tvmq {
namespace {

#if defined(__aarch64__)
constexpr char kArchitecture[] = "aarch64";
#elif defined(__x86_64__)
constexpr char kArchitecture[] = "x86_64";
#else
#error "no architecture that packages are for"
#endif

struct Feature {
  const char* llvm;
#if defined(__aarch64__)
  unsigned long word;  // AT_HWCAP or AT_HWCAP2
  int bit;
#else
  const char* cpuinfo;  // in the flags of /proc/cpuinfo
#endif
};

// The rows of targets/host.py. On aarch64 by the kernel's bits, which an emulator has of the CPU that it
// emulates.
constexpr Feature kFeatures[] = {
#if defined(__aarch64__)
    {"fp-armv8", AT_HWCAP, 0}, {"neon", AT_HWCAP, 1},     {"lse", AT_HWCAP, 8},    {"fullfp16", AT_HWCAP, 10},
    {"rdm", AT_HWCAP, 12},     {"dotprod", AT_HWCAP, 20}, {"sve", AT_HWCAP, 22},   {"fp16fml", AT_HWCAP, 23},
    {"sve2", AT_HWCAP2, 1},    {"i8mm", AT_HWCAP2, 13},   {"bf16", AT_HWCAP2, 14},
#else
    {"sse3", "pni"},
    {"ssse3", "ssse3"},
    {"sse4.1", "sse4_1"},
    {"sse4.2", "sse4_2"},
    {"sse4a", "sse4a"},
    {"avx", "avx"},
    {"avx2", "avx2"},
    {"fma", "fma"},
    {"f16c", "f16c"},
    {"bmi", "bmi1"},
    {"bmi2", "bmi2"},
    {"lzcnt", "abm"},
    {"popcnt", "popcnt"},
    {"movbe", "movbe"},
    {"gfni", "gfni"},
    {"avxvnni", "avx_vnni"},
    {"avx512f", "avx512f"},
    {"avx512cd", "avx512cd"},
    {"avx512bw", "avx512bw"},
    {"avx512dq", "avx512dq"},
    {"avx512vl", "avx512vl"},
    {"avx512ifma", "avx512ifma"},
    {"avx512vbmi", "avx512vbmi"},
    {"avx512vbmi2", "avx512_vbmi2"},
    {"avx512bitalg", "avx512_bitalg"},
    {"avx512vpopcntdq", "avx512_vpopcntdq"},
    {"avx512vnni", "avx512_vnni"},
    {"avx512bf16", "avx512_bf16"},
    {"avx512fp16", "avx512_fp16"},
    {"amx-tile", "amx_tile"},
    {"amx-int8", "amx_int8"},
#endif
};

#if defined(__aarch64__)

bool Has(const Feature& feature) { return getauxval(feature.word) >> feature.bit & 1; }

#else

// The flags of the first processor; none where there is no /proc/cpuinfo.
std::set<std::string> ReadFlags() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    return {std::istream_iterator<std::string>(words), std::istream_iterator<std::string>()};
  }
  return {};
}

bool Has(const Feature& feature) {
  static const std::set<std::string> flags = ReadFlags();
  return flags.empty() || flags.count(feature.cpuinfo) != 0;
}

#endif

}  // namespace

std::string Architecture() { return kArchitecture; }

std::vector<std::string> Features() {
  std::vector<std::string> found;
  for (const Feature& feature : kFeatures) {
    if (Has(feature)) found.push_back(feature.llvm);
  }
  return found;
}

std::vector<std::string> MissingFeatures(const std::vector<std::string>& needed) {
  std::vector<std::string> missing;
  for (const Feature& feature : kFeatures) {
    if (std::count(needed.begin(), needed.end(), feature.llvm) && !Has(feature)) {
      missing.push_back(feature.llvm);
    }
  }
  std::sort(missing.begin(), missing.end());
  return missing;
}

std::string Joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace tvmq
