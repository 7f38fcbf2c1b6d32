#include "npy.h"

#include <tvm/ffi/dtype.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace tvmq {
namespace {

using tvm::ffi::Tensor;

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicSize = 6;
constexpr size_t kAlignment = 64;  // bytes; generated code may assume it

struct DType {
  const char* numpy;
  DLDataType dlpack;
};

// The dtypes that a model's inputs and outputs may have.
constexpr DType kDTypes[] = {
    {"|b1", {kDLBool, 8, 1}},   {"|i1", {kDLInt, 8, 1}},    {"<i2", {kDLInt, 16, 1}},
    {"<i4", {kDLInt, 32, 1}},   {"<i8", {kDLInt, 64, 1}},   {"|u1", {kDLUInt, 8, 1}},
    {"<u2", {kDLUInt, 16, 1}},  {"<u4", {kDLUInt, 32, 1}},  {"<u8", {kDLUInt, 64, 1}},
    {"<f2", {kDLFloat, 16, 1}}, {"<f4", {kDLFloat, 32, 1}}, {"<f8", {kDLFloat, 64, 1}},
};

struct AlignedAllocator {
  void AllocData(DLTensor* tensor) {
    size_t size = tvm::ffi::GetDataSize(*tensor);
    // aligned_alloc wants a multiple of the alignment, and more than nothing.
    size = (size / kAlignment + 1) * kAlignment;
    tensor->data = std::aligned_alloc(kAlignment, size);
    if (tensor->data == nullptr) throw std::bad_alloc();
  }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

// The text that follows `key` in the header's Python dict.
std::string After(const std::string& header, const std::string& key, const std::string& path) {
  size_t at = header.find("'" + key + "':");
  if (at == std::string::npos) throw std::runtime_error(path + " is not a .npy file: it lacks '" + key + "'");
  at = header.find_first_not_of(' ', at + key.size() + 3);
  return at == std::string::npos ? "" : header.substr(at);
}

std::string ReadHeader(std::ifstream& file, const std::string& path) {
  char start[8];
  if (!file.read(start, sizeof(start)) || std::string(start, kMagicSize) != kMagic) {
    throw std::runtime_error(path + " is not a .npy file");
  }
  // The header's length: two bytes in format 1, four from format 2 on.
  size_t width = start[kMagicSize] == 1 ? 2 : 4;
  unsigned char bytes[4] = {0, 0, 0, 0};
  file.read(reinterpret_cast<char*>(bytes), static_cast<std::streamsize>(width));
  size_t length = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<size_t>(bytes[3]) << 24;
  if (!file || length > (1u << 16)) throw std::runtime_error(path + " is not a .npy file: bad header");
  std::string header(length, ' ');
  if (!file.read(&header[0], static_cast<std::streamsize>(length))) {
    throw std::runtime_error(path + " is not a .npy file: cut short");
  }
  return header;
}

DLDataType ParseDType(const std::string& quoted, const std::string& path) {
  for (const DType& row : kDTypes) {
    if (quoted.compare(0, 5, std::string("'") + row.numpy + "'") == 0) return row.dlpack;
  }
  throw std::runtime_error(path + " has the dtype " + quoted.substr(0, quoted.find(',')) +
                           ", which no model takes");
}

std::vector<int64_t> ParseShape(const std::string& tuple) {
  std::vector<int64_t> shape;
  std::istringstream extents(tuple.substr(1, tuple.find(')') - 1));
  std::string extent;
  while (std::getline(extents, extent, ',')) {
    if (extent.find_first_not_of(' ') != std::string::npos) shape.push_back(std::stoll(extent));
  }
  return shape;
}

}  // namespace

Tensor ReadNpy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::string header = ReadHeader(file, path);
  if (After(header, "fortran_order", path).compare(0, 5, "False") != 0) {
    throw std::runtime_error(path + " is in Fortran order; save numpy.ascontiguousarray of it");
  }
  DLDataType dtype = ParseDType(After(header, "descr", path), path);
  std::vector<int64_t> shape = ParseShape(After(header, "shape", path));
  tvm::ffi::ShapeView view(shape.data(), shape.size());
  Tensor tensor = Tensor::FromNDAlloc(AlignedAllocator(), view, dtype, DLDevice{kDLCPU, 0});
  auto size = static_cast<std::streamsize>(tvm::ffi::GetDataSize(*tensor.GetDLTensorPtr()));
  if (!file.read(static_cast<char*>(tensor.data_ptr()), size)) {
    throw std::runtime_error(path + " is cut short: its shape needs " + std::to_string(size) + " bytes");
  }
  return tensor;
}

void WriteNpy(const std::string& path, const Tensor& tensor) {
  const char* descr = nullptr;
  for (const DType& row : kDTypes) {
    if (row.dlpack == tensor.dtype()) descr = row.numpy;
  }
  if (descr == nullptr) throw std::runtime_error("no .npy dtype for " + path);
  std::ostringstream header;
  header << "{'descr': '" << descr << "', 'fortran_order': False, 'shape': (";
  for (int64_t extent : tensor.shape()) header << extent << ", ";
  header << "), }";
  std::string text = header.str();
  // Magic, version and length take 10 bytes; the whole header is a multiple of 64 and ends in a line feed.
  text.resize((text.size() + 10) / 64 * 64 + 64 - 10, ' ');
  text.back() = '\n';
  std::ofstream file(path, std::ios::binary);
  file.write(kMagic, kMagicSize);
  const char version_and_length[] = {1, 0, static_cast<char>(text.size() & 0xff),
                                     static_cast<char>(text.size() >> 8)};
  file.write(version_and_length, sizeof(version_and_length));
  file << text;
  file.write(static_cast<const char*>(tensor.data_ptr()),
             static_cast<std::streamsize>(tvm::ffi::GetDataSize(*tensor.GetDLTensorPtr())));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace tvmq
