#include "npy.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace tvmq {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicSize = 6;

struct DType {
  const char* descr;
  const char* name;
  size_t bytes;
};

// The dtypes that a model's inputs and outputs may have.
constexpr DType kDTypes[] = {
    {"|b1", "bool", 1},   {"|i1", "int8", 1},    {"<i2", "int16", 2},   {"<i4", "int32", 4},
    {"<i8", "int64", 8},  {"|u1", "uint8", 1},   {"<u2", "uint16", 2},  {"<u4", "uint32", 4},
    {"<u8", "uint64", 8}, {"<f2", "float16", 2}, {"<f4", "float32", 4}, {"<f8", "float64", 8},
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

const DType& ParseDType(const std::string& quoted, const std::string& path) {
  for (const DType& row : kDTypes) {
    if (quoted.compare(0, 5, std::string("'") + row.descr + "'") == 0) return row;
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

Array ReadNpy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::string header = ReadHeader(file, path);
  if (After(header, "fortran_order", path).compare(0, 5, "False") != 0) {
    throw std::runtime_error(path + " is in Fortran order; save numpy.ascontiguousarray of it");
  }
  const DType& dtype = ParseDType(After(header, "descr", path), path);
  Array array{dtype.name, ParseShape(After(header, "shape", path)), {}};
  size_t size = dtype.bytes;
  for (int64_t extent : array.shape) size *= static_cast<size_t>(extent);
  array.data.resize(size);
  if (!file.read(array.data.data(), static_cast<std::streamsize>(size))) {
    throw std::runtime_error(path + " is cut short: its shape needs " + std::to_string(size) + " bytes");
  }
  return array;
}

void WriteNpy(const std::string& path, const Array& array) {
  const char* descr = nullptr;
  for (const DType& row : kDTypes) {
    if (row.name == array.dtype) descr = row.descr;
  }
  if (descr == nullptr) throw std::runtime_error("no .npy dtype for " + path);
  std::ostringstream header;
  header << "{'descr': '" << descr << "', 'fortran_order': False, 'shape': (";
  for (int64_t extent : array.shape) header << extent << ", ";
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
  file.write(array.data.data(), static_cast<std::streamsize>(array.data.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path + ": " + std::strerror(errno));
}

}  // namespace tvmq
