// Tensors to and from NumPy's .npy files (format 1 and 2, C order, little endian).
#ifndef TVMQ_RUNTIME_NPY_H_
#define TVMQ_RUNTIME_NPY_H_

#include <tvm/ffi/container/tensor.h>

#include <string>

namespace tvmq {

// Reads a file into a new CPU tensor, aligned as TVM's kernels expect. Throws std::runtime_error with the
// file's name.
tvm::ffi::Tensor ReadNpy(const std::string& path);

// Writes a contiguous CPU tensor. Throws std::runtime_error with the file's name.
void WriteNpy(const std::string& path, const tvm::ffi::Tensor& tensor);

}  // namespace tvmq

#endif  // TVMQ_RUNTIME_NPY_H_
