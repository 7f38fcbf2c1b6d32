// tvmq-run: runs a package's model on a board that has no Python.
//
//   tvmq-run FOLDER --input NAME=FILE.npy ... --output-dir FOLDER [--repeat N]
//
// FOLDER holds the package's members, mod.so and mod.json. Output number i is written to i.npy in the
// output folder, which is made where there is none. With --repeat, the model runs once to warm up and then
// N times, and the median time of a run is printed.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "npy.h"
#include "tvmq.h"

namespace {

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

// Reads the inputs in the model's order and compares their dtypes with what the model expects.
std::vector<tvmq::Array> ReadInputs(const tvmq::Model& model, const Arguments& arguments) {
  std::vector<tvmq::Array> arrays;
  std::map<std::string, std::string> left = arguments.inputs;
  for (const tvmq::TensorInfo& expected : model.inputs()) {
    auto given = left.find(expected.name);
    if (given == left.end()) throw std::runtime_error("no --input for '" + expected.name + "'");
    tvmq::Array array = tvmq::ReadNpy(given->second);
    std::string input = "input '" + expected.name + "'";
    if (array.dtype != expected.dtype) {
      throw std::runtime_error(input + " has dtype " + array.dtype + "; expected " + expected.dtype);
    }
    arrays.push_back(std::move(array));
    left.erase(given);
  }
  if (!left.empty()) throw std::runtime_error("the model has no input '" + left.begin()->first + "'");
  return arrays;
}

size_t Count(const std::vector<int64_t>& shape) {
  size_t count = 1;
  for (int64_t extent : shape) count *= static_cast<size_t>(extent);
  return count;
}

double MedianMilliseconds(const std::function<void()>& run, int repeat) {
  std::vector<double> times;
  for (int i = 0; i < repeat; ++i) {
    auto start = std::chrono::steady_clock::now();
    run();
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + repeat / 2, times.end());
  return times[static_cast<size_t>(repeat / 2)];
}

void MakeFolder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) throw std::runtime_error("cannot make the folder " + path + ": " + error.message());
}

void Main(int argc, char** argv) {
  Arguments arguments = Parse(argc, argv);
  tvmq::Model model(arguments.folder);
  std::vector<tvmq::Array> inputs = ReadInputs(model, arguments);
  std::vector<const void*> from;
  std::vector<std::vector<int64_t>> shapes;
  for (const tvmq::Array& array : inputs) {
    from.push_back(array.data.data());
    shapes.push_back(array.shape);
  }
  model.InputsOf(shapes);
  MakeFolder(arguments.output_dir);
  std::vector<tvmq::Array> outputs;
  for (const tvmq::TensorInfo& info : model.outputs()) {
    outputs.push_back({info.dtype, {}, std::vector<char>(info.bytes)});
  }
  auto place = [&](size_t index, const std::vector<int64_t>& shape) -> void* {
    const tvmq::TensorInfo& most = model.outputs()[index];
    tvmq::Array& output = outputs[index];
    if (Count(most.shape)) output.data.resize(most.bytes / Count(most.shape) * Count(shape));
    output.shape = shape;
    return output.data.data();
  };
  tvmq::Session session(model, 0);
  auto run = [&] { session.Run(from, shapes, place); };
  run();
  for (size_t i = 0; i < outputs.size(); ++i) {
    tvmq::WriteNpy(arguments.output_dir + "/" + std::to_string(i) + ".npy", outputs[i]);
  }
  if (arguments.repeat)
    std::printf("median of %d runs: %.3f ms\n", arguments.repeat, MedianMilliseconds(run, arguments.repeat));
}

}  // namespace

int main(int argc, char** argv) {
  // The program is alone on its board: TVM may bind threads to cores.
  setenv("TVM_BIND_THREADS", "1", 0);
  try {
    Main(argc, argv);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "tvmq-run: error: " << error.what() << std::endl;
  }
  return 1;
}
