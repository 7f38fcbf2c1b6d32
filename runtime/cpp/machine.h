// The machine that runs us, and what code needs of it.
#ifndef TVMQ_RUNTIME_MACHINE_H_
#define TVMQ_RUNTIME_MACHINE_H_

#include <string>
#include <vector>

namespace tvmq {

// The architecture in LLVM's words: "x86_64", "aarch64".
std::string Architecture();

// Those of LLVM's feature names, such as "dotprod", that this machine's CPU has.
std::vector<std::string> Features();

// Those of LLVM's feature names that this machine's CPU lacks. Names without a meaning here, and all where
// Linux does not tell, count as there.
std::vector<std::string> MissingFeatures(const std::vector<std::string>& needed);

// Joins names by commas.
std::string Joined(const std::vector<std::string>& names);

}  // namespace tvmq

#endif  // TVMQ_RUNTIME_MACHINE_H_
