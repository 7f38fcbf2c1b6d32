// Arrays to and from NumPy's .npy files (format 1 and 2, C order, little endian).
#ifndef TVMQ_RUNTIME_NPY_H_
#define TVMQ_RUNTIME_NPY_H_

#include <cstdint>
#include <string>
#include <vector>

namespace tvmq {

// Values in C order.
struct Array {
  std::string dtype;  // as NumPy calls it: "float32", "int8", "bool", ...
  std::vector<int64_t> shape;
  std::vector<char> data;
};

// Reads a file. Throws std::runtime_error with the file's name.
Array ReadNpy(const std::string& path);

// Writes a file. Throws std::runtime_error with the file's name.
void WriteNpy(const std::string& path, const Array& array);

}  // namespace tvmq

#endif  // TVMQ_RUNTIME_NPY_H_
