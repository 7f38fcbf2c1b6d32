// The GPU of this machine, by TVM's runtime for it.
#ifndef TVMQ_RUNTIME_GPU_H_
#define TVMQ_RUNTIME_GPU_H_

#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/json.h>

#include <string>

namespace tvmq {

// Loads TVM's runtime for GPUs, and throws where there is none, no GPU, or no code for it. `gpu` is that
// field of mod.json.
void RequireGpu(const tvm::ffi::json::Object& gpu, const std::string& folder);

// A new tensor in the GPU's memory.
tvm::ffi::Tensor EmptyOnGpu(tvm::ffi::ShapeView shape, DLDataType dtype);

// Copies between tensors of the same shape and dtype, in the order of the default stream.
void CopyTensor(const tvm::ffi::Tensor& from, const tvm::ffi::Tensor& to);

// Waits until the GPU has done everything.
void WaitForGpu();

}  // namespace tvmq

#endif  // TVMQ_RUNTIME_GPU_H_
