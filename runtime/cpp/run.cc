// tvmq-run: runs a package's model on a board that has no Python.
//
//   tvmq-run FOLDER --input NAME=FILE.npy ... --output-dir FOLDER [--repeat N]
//
// FOLDER holds the package's members, mod.so and mod.json. Output number i is written to i.npy. With
// --repeat, the model runs once to warm up and then N times, and the median time of a run is printed.
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/dtype.h>
#include <tvm/ffi/extra/json.h>
#include <tvm/ffi/extra/module.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "npy.h"

namespace {

namespace ffi = tvm::ffi;
namespace json = tvm::ffi::json;

constexpr int kPooledAllocator = 2;  // of TVM's memory manager
constexpr char kUsage[] = "usage: tvmq-run FOLDER --input NAME=FILE.npy ... --output-dir FOLDER [--repeat N]";

struct Arguments {
  std::string folder;
  std::string output_dir;
  std::map<std::string, std::string> inputs;  // name -> file
  int repeat = 0;
};

Arguments Parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    bool is_option = word.rfind("--", 0) == 0;
    if (!is_option) {
      if (!arguments.folder.empty())
        throw std::runtime_error("more than one package folder\n" + std::string(kUsage));
      arguments.folder = word;
      continue;
    }
    if (i + 1 == argc) throw std::runtime_error(word + " lacks its value\n" + kUsage);
    std::string value = argv[++i];
    if (word == "--input") {
      // The file is what follows the last '=': an ONNX input's name may hold one.
      size_t equals = value.rfind('=');
      if (equals == std::string::npos)
        throw std::runtime_error("--input " + value + ": expected NAME=FILE.npy");
      arguments.inputs[value.substr(0, equals)] = value.substr(equals + 1);
    } else if (word == "--output-dir") {
      arguments.output_dir = value;
    } else if (word == "--repeat") {
      arguments.repeat = std::atoi(value.c_str());
      if (arguments.repeat < 1)
        throw std::runtime_error("--repeat " + value + ": expected a number from 1 on");
    } else {
      throw std::runtime_error("unknown option " + word + "\n" + kUsage);
    }
  }
  if (arguments.folder.empty() || arguments.output_dir.empty()) throw std::runtime_error(kUsage);
  return arguments;
}

json::Object ReadMetadata(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return json::Parse(text).cast<json::Object>();
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Reads the inputs in the model's order and compares each with what the model expects.
std::vector<ffi::Tensor> ReadInputs(const json::Object& metadata, const Arguments& arguments) {
  std::vector<ffi::Tensor> tensors;
  std::map<std::string, std::string> left = arguments.inputs;
  for (const auto& item : metadata["inputs"].cast<json::Array>()) {
    auto expected = item.cast<json::Object>();
    std::string name = expected["name"].cast<ffi::String>();
    auto given = left.find(name);
    if (given == left.end()) throw std::runtime_error("no --input for '" + name + "'");
    ffi::Tensor tensor = tvmq::ReadNpy(given->second);
    std::vector<int64_t> shape;
    for (const auto& extent : expected["shape"].cast<json::Array>()) shape.push_back(extent.cast<int64_t>());
    std::vector<int64_t> found(tensor.shape().begin(), tensor.shape().end());
    if (found != shape) {
      throw std::runtime_error("input '" + name + "' has shape " + ShapeText(found) + "; expected " +
                               ShapeText(shape));
    }
    std::string dtype = ffi::DLDataTypeToString(tensor.dtype());
    std::string expected_dtype = expected["dtype"].cast<ffi::String>();
    if (dtype != expected_dtype) {
      throw std::runtime_error("input '" + name + "' has dtype " + dtype + "; expected " + expected_dtype);
    }
    tensors.push_back(tensor);
    left.erase(given);
  }
  if (!left.empty()) throw std::runtime_error("the model has no input '" + left.begin()->first + "'");
  return tensors;
}

// The Relax virtual machine's `main` of a compiled library.
class Model {
 public:
  explicit Model(const std::string& library)
      : machine_(Get(ffi::Module::LoadFromFile(library), "vm_load_executable")().cast<ffi::Module>()),
        main_(Get(machine_, "main")) {
    Get(machine_, "vm_initialization")(static_cast<int>(kDLCPU), 0, kPooledAllocator);
    // Compressed weights are unpacked once, and given to each run behind the inputs.
    if (auto load = machine_->GetFunction("load_weights")) {
      for (const ffi::Tensor& weight : (*load)().cast<ffi::Array<ffi::Tensor>>()) weights_.push_back(weight);
    }
  }

  std::vector<ffi::Tensor> Run(const std::vector<ffi::Tensor>& inputs) const {
    std::vector<ffi::AnyView> views(inputs.begin(), inputs.end());
    views.insert(views.end(), weights_.begin(), weights_.end());
    ffi::Any result;
    main_.CallPacked(ffi::PackedArgs(views.data(), static_cast<int32_t>(views.size())), &result);
    if (auto tensor = result.as<ffi::Tensor>()) return {*tensor};
    auto outputs = result.cast<ffi::Array<ffi::Tensor>>();
    return {outputs.begin(), outputs.end()};
  }

 private:
  static ffi::Function Get(const ffi::Module& module, const char* name) {
    auto function = module->GetFunction(name);
    if (!function) throw std::runtime_error(std::string("mod.so has no function ") + name);
    return *function;
  }

  ffi::Module machine_;
  ffi::Function main_;
  std::vector<ffi::Tensor> weights_;
};

double MedianMilliseconds(const Model& model, const std::vector<ffi::Tensor>& inputs, int repeat) {
  std::vector<double> times;
  for (int i = 0; i < repeat; ++i) {
    auto start = std::chrono::steady_clock::now();
    model.Run(inputs);
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + repeat / 2, times.end());
  return times[static_cast<size_t>(repeat / 2)];
}

void Main(int argc, char** argv) {
  Arguments arguments = Parse(argc, argv);
  json::Object metadata = ReadMetadata(arguments.folder + "/mod.json");
  std::vector<ffi::Tensor> inputs = ReadInputs(metadata, arguments);
  Model model(arguments.folder + "/mod.so");
  std::vector<ffi::Tensor> outputs = model.Run(inputs);
  for (size_t i = 0; i < outputs.size(); ++i) {
    tvmq::WriteNpy(arguments.output_dir + "/" + std::to_string(i) + ".npy", outputs[i]);
  }
  if (arguments.repeat)
    std::printf("median of %d runs: %.3f ms\n", arguments.repeat,
                MedianMilliseconds(model, inputs, arguments.repeat));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Main(argc, argv);
    return 0;
  } catch (const ffi::Error& error) {
    std::cerr << "tvmq-run: error: " << error.message() << std::endl;
  } catch (const std::exception& error) {
    std::cerr << "tvmq-run: error: " << error.what() << std::endl;
  }
  return 1;
}
