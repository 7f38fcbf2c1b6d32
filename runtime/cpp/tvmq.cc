#include "tvmq.h"

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/dtype.h>
#include <tvm/ffi/extra/json.h>
#include <tvm/ffi/extra/module.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <future>
#include <iterator>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <utility>

#include "gpu.h"
#include "machine.h"

namespace tvmq {
namespace {

namespace ffi = tvm::ffi;
namespace json = tvm::ffi::json;

constexpr int64_t kFormat = 2;       // of mod.json, that this source knows
constexpr int kPooledAllocator = 2;  // of TVM's memory manager
constexpr size_t kAlignment = 64;    // bytes; generated code may assume it of every tensor
constexpr int kListedCpus = -3;      // TVM's name for "on any of these", the processors in its third argument

// While a session captures a CUDA graph, in its first run, CUDA lets no other thread of the process launch,
// allocate or wait; it holds this for itself, all others share it.
std::shared_mutex capturing;

// Calls the function; what TVM throws becomes one line, behind `where`.
template <typename Function>
auto OneLine(const std::string& where, const Function& function) {
  try {
    return function();
  } catch (const ffi::Error& error) {
    std::string message = error.message();
    throw std::runtime_error(where + message.substr(0, message.find('\n')));
  }
}

// Of the calling thread, for all kernels that it runs from now on.
void UseThreads(int threads) {
  static thread_local int configured = 0;
  if (threads == 0 || threads == configured) return;
  // TVM never has more threads than processors are listed; binding, for which the list is meant, is off.
  ffi::Array<ffi::String> cpus;
  for (int i = 0; i < threads; ++i) cpus.push_back("0");
  ffi::Function::GetGlobalRequired("runtime.config_threadpool")(kListedCpus, threads, cpus);
  configured = threads;
}

ffi::Function Get(const ffi::Module& module, const char* name) {
  auto function = module->GetFunction(name);
  if (!function) throw std::runtime_error(std::string("mod.so has no function ") + name);
  return *function;
}

ffi::Module NewMachine(const ffi::Module& executable, bool on_gpu) {
  auto machine = Get(executable, "vm_load_executable")().cast<ffi::Module>();
  auto initialize = Get(machine, "vm_initialization");
  int cpu = kDLCPU, gpu = kDLCUDA;
  if (on_gpu) {
    initialize(gpu, 0, kPooledAllocator, cpu, 0, kPooledAllocator);
  } else {
    initialize(cpu, 0, kPooledAllocator);
  }
  return machine;
}

json::Object ReadMetadata(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  auto metadata = json::Parse(text).cast<json::Object>();
  auto format = metadata["format"].cast<int64_t>();
  if (format > kFormat) {
    throw std::runtime_error(path + " has package format " + std::to_string(format) +
                             "; this program reads up to " + std::to_string(kFormat));
  }
  return metadata;
}

// Throws where the package cannot run on this machine, in the words of runtime/metadata.py.
void RefuseOtherMachines(const json::Object& metadata, const std::string& folder) {
  std::string arch = metadata["arch"].cast<ffi::String>();
  if (arch != Architecture()) {
    throw std::runtime_error(folder + " is compiled for " + arch + "; this machine is " + Architecture());
  }
  std::vector<std::string> needed;
  for (const auto& name : metadata["cpu_features"].cast<json::Array>()) {
    needed.push_back(name.cast<ffi::String>());
  }
  std::vector<std::string> missing = MissingFeatures(needed);
  if (missing.empty()) return;
  auto target = metadata["target"].cast<json::Object>();
  if (target.count("host")) target = target["host"].cast<json::Object>();  // of a GPU
  std::string cpu = target.count("mcpu") ? std::string(target["mcpu"].cast<ffi::String>()) : arch;
  throw std::runtime_error(folder + " is compiled for " + cpu + "; this machine's CPU lacks " +
                           Joined(missing));
}

size_t BytesOf(const TensorInfo& info) {
  int64_t elements = 1;
  for (int64_t extent : info.shape) elements *= extent;
  return ffi::GetDataSize(elements, ffi::StringToDLDataType(info.dtype));
}

using Dimensions = std::map<std::string, std::pair<int64_t, int64_t>>;

// The least and the greatest size of each open dimension.
Dimensions ReadDimensions(const json::Object& metadata) {
  Dimensions dimensions;
  if (!metadata.count("dimensions")) return dimensions;
  for (const auto& [name, ends] : metadata["dimensions"].cast<json::Object>()) {
    auto range = ends.cast<json::Array>();
    dimensions[name.cast<ffi::String>()] = {range[0].cast<int64_t>(), range[1].cast<int64_t>()};
  }
  return dimensions;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::vector<TensorInfo> ReadTensors(const json::Object& metadata, const char* field) {
  std::vector<TensorInfo> tensors;
  for (const auto& item : metadata[field].cast<json::Array>()) {
    auto tensor = item.cast<json::Object>();
    TensorInfo info{tensor["name"].cast<ffi::String>(), tensor["dtype"].cast<ffi::String>(), {}, 0, {}, {}};
    for (const auto& extent : tensor["shape"].cast<json::Array>()) {
      info.shape.push_back(extent.cast<int64_t>());
    }
    if (tensor.count("open")) {
      for (const auto& [axis, name] : tensor["open"].cast<json::Object>()) {
        info.open[std::stoul(axis.cast<ffi::String>())] = name.cast<ffi::String>();
      }
    }
    if (tensor.count("range")) {
      for (const auto& limit : tensor["range"].cast<json::Array>()) {
        info.range.push_back(limit.cast<int64_t>());
      }
    }
    info.bytes = BytesOf(info);
    tensors.push_back(std::move(info));
  }
  return tensors;
}

// A tensor's memory that belongs to somebody else. No kernel writes to an input.
struct Borrowed {
  void* data;
  void AllocData(DLTensor* tensor) { tensor->data = data; }
  void FreeData(DLTensor*) {}
};

ffi::ShapeView ShapeOf(const TensorInfo& info) { return {info.shape.data(), info.shape.size()}; }

// The caller's memory as a tensor.
ffi::Tensor OnHost(const TensorInfo& info, const void* data) {
  return ffi::Tensor::FromNDAlloc(Borrowed{const_cast<void*>(data)}, ShapeOf(info),
                                  ffi::StringToDLDataType(info.dtype), DLDevice{kDLCPU, 0});
}

// Memory for an input that is not aligned, allocated when it is first needed.
class Room {
 public:
  // `most` are all that it will ever be asked for.
  const void* Copy(const void* data, size_t bytes, size_t most) {
    // aligned_alloc wants a multiple of the alignment, and more than nothing.
    if (!memory_) memory_.reset(std::aligned_alloc(kAlignment, (most / kAlignment + 1) * kAlignment));
    if (!memory_) throw std::bad_alloc();
    return std::memcpy(memory_.get(), data, bytes);
  }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_;
};

template <typename Index>
void RefuseBeyond(const TensorInfo& info, const void* data) {
  const Index* indices = static_cast<const Index*>(data);
  for (size_t i = 0; i < info.bytes / sizeof(Index); ++i) {
    if (indices[i] < info.range[0] || indices[i] > info.range[1]) {
      throw std::runtime_error("input '" + info.name + "' has the value " + std::to_string(indices[i]) +
                               "; expected indices from " + std::to_string(info.range[0]) + " to " +
                               std::to_string(info.range[1]));
    }
  }
}

// Throws for an index beyond its table, in the words of runtime/inputs.py.
void RefuseIndices(const TensorInfo& info, const void* data) {
  if (info.range.empty()) return;
  if (info.dtype == "int64") RefuseBeyond<int64_t>(info, data);
  if (info.dtype == "int32") RefuseBeyond<int32_t>(info, data);
}

void RefuseCount(const char* what, size_t found, size_t expected) {
  if (found != expected) {
    throw std::runtime_error(std::to_string(found) + " " + what + " given; the model has " +
                             std::to_string(expected));
  }
}

}  // namespace

struct Model::Impl {
  ffi::Module executable;
  bool on_gpu;
  std::vector<TensorInfo> inputs;
  std::vector<TensorInfo> outputs;
  Dimensions dimensions;
  std::vector<ffi::Tensor> weights;  // compressed ones, unpacked; given to each run behind the inputs

  std::vector<TensorInfo> InputsOf(const std::vector<std::vector<int64_t>>& shapes) const;
};

// In the words of runtime/dimensions.py.
std::vector<TensorInfo> Model::Impl::InputsOf(const std::vector<std::vector<int64_t>>& shapes) const {
  RefuseCount("shapes", shapes.size(), inputs.size());
  std::vector<TensorInfo> sized = inputs;
  std::map<std::string, std::pair<int64_t, std::string>> known;  // size, and the input that has it
  for (size_t i = 0; i < sized.size(); ++i) {
    TensorInfo& info = sized[i];
    std::string input = "input '" + info.name + "'";
    if (shapes[i].size() == info.shape.size()) {
      for (const auto& [axis, name] : info.open) {
        int64_t size = info.shape[axis] = shapes[i][axis];
        std::string has = input + " has " + std::to_string(size) + " in dimension " + std::to_string(axis) +
                          " (" + name + ")";
        auto [low, high] = dimensions.at(name);
        if (size < low || size > high) {
          throw std::runtime_error(has + "; this package takes " + std::to_string(low) + " to " +
                                   std::to_string(high));
        }
        auto [first, is_new] = known.emplace(name, std::make_pair(size, info.name));
        if (first->second.first != size) {
          throw std::runtime_error(has + ", and input '" + first->second.second + "' has " +
                                   std::to_string(first->second.first) + " there; they must agree");
        }
      }
    }
    if (shapes[i] != info.shape) {
      throw std::runtime_error(input + " has shape " + ShapeText(shapes[i]) + "; expected " +
                               ShapeText(info.shape));
    }
    info.bytes = BytesOf(info);
  }
  return sized;
}

Model::Model(const std::string& folder) {
  impl_ = OneLine(folder + ": ", [&] {
    setenv("TVM_BIND_THREADS", "0", 0);
    auto metadata = ReadMetadata(folder + "/mod.json");
    RefuseOtherMachines(metadata, folder);
    bool on_gpu = metadata.count("gpu") != 0;
    if (on_gpu) RequireGpu(metadata["gpu"].cast<json::Object>(), folder);
    auto impl = std::make_shared<Impl>(Impl{ffi::Module::LoadFromFile(folder + "/mod.so"),
                                            on_gpu,
                                            ReadTensors(metadata, "inputs"),
                                            ReadTensors(metadata, "outputs"),
                                            ReadDimensions(metadata),
                                            {}});
    std::shared_lock<std::shared_mutex> lock(capturing);
    auto machine = NewMachine(impl->executable, impl->on_gpu);
    if (auto load = machine->GetFunction("load_weights")) {
      // In a thread of its own, because the number of threads is a thing of the thread.
      auto weights = std::async(std::launch::async, [&] {
        UseThreads(1);
        return (*load)().cast<ffi::Array<ffi::Tensor>>();
      });
      for (const ffi::Tensor& weight : weights.get()) impl->weights.push_back(weight);
    }
    return impl;
  });
}

const std::vector<TensorInfo>& Model::inputs() const { return impl_->inputs; }
const std::vector<TensorInfo>& Model::outputs() const { return impl_->outputs; }
std::vector<TensorInfo> Model::InputsOf(const std::vector<std::vector<int64_t>>& shapes) const {
  return impl_->InputsOf(shapes);
}

struct Session::Impl {
  std::shared_ptr<const Model::Impl> model;
  int threads;
  ffi::Module machine;
  ffi::Function main;
  std::vector<Room> rooms;
  std::vector<ffi::Tensor> on_gpu;  // the inputs' places there
  bool has_run = false;

  // The caller's memory as a tensor, or a copy of it where it is not aligned or belongs on the GPU.
  ffi::Tensor Input(size_t index, const TensorInfo& info, const void* data) {
    RefuseIndices(info, data);
    if (model->on_gpu) {
      CopyTensor(OnHost(info, data), on_gpu[index]);
      return on_gpu[index];
    }
    if (reinterpret_cast<uintptr_t>(data) % kAlignment != 0) {
      data = rooms[index].Copy(data, info.bytes, model->inputs[index].bytes);
    }
    return OnHost(info, data);
  }

  void Output(size_t index, const ffi::Tensor& tensor, const Place& place) const {
    TensorInfo info = model->outputs[index];
    info.shape.assign(tensor.shape().begin(), tensor.shape().end());
    void* data = place(index, info.shape);
    if (model->on_gpu) {
      CopyTensor(tensor, OnHost(info, data));
      return WaitForGpu();
    }
    const DLTensor* found = tensor.GetDLTensorPtr();
    std::memcpy(data, static_cast<const char*>(found->data) + found->byte_offset, BytesOf(info));
  }
};

Session::Session(const Model& model, int threads) {
  if (threads < 0)
    throw std::runtime_error("a session on " + std::to_string(threads) + " threads; expected 0 or more");
  OneLine("", [&] {
    bool on_gpu = model.impl_->on_gpu;
    std::shared_lock<std::shared_mutex> lock(capturing);
    auto machine = NewMachine(model.impl_->executable, on_gpu);
    impl_ = std::make_unique<Impl>(Impl{model.impl_, threads, machine, Get(machine, "main"), {}, {}, false});
    impl_->rooms.resize(model.inputs().size());
    for (const TensorInfo& info : model.inputs()) {
      if (on_gpu) impl_->on_gpu.push_back(EmptyOnGpu(ShapeOf(info), ffi::StringToDLDataType(info.dtype)));
    }
  });
}

Session::~Session() {
  std::shared_lock<std::shared_mutex> lock(capturing);
  impl_.reset();
}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

void Session::Run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs) {
  RefuseCount("outputs", outputs.size(), impl_->model->outputs.size());
  std::vector<std::vector<int64_t>> shapes;
  for (const TensorInfo& info : impl_->model->inputs) shapes.push_back(info.shape);
  Run(inputs, shapes, [&](size_t index, const std::vector<int64_t>&) { return outputs[index]; });
}

void Session::Run(const std::vector<const void*>& inputs, const std::vector<std::vector<int64_t>>& shapes,
                  const Place& place) {
  RefuseCount("inputs", inputs.size(), impl_->model->inputs.size());
  std::vector<TensorInfo> sized = impl_->model->InputsOf(shapes);
  OneLine("", [&] {
    UseThreads(impl_->threads);
    std::shared_lock<std::shared_mutex> shared(capturing, std::defer_lock);
    std::unique_lock<std::shared_mutex> alone(capturing, std::defer_lock);
    if (impl_->model->on_gpu && !impl_->has_run) {
      alone.lock();
    } else {
      shared.lock();
    }
    std::vector<ffi::Tensor> tensors;
    for (size_t i = 0; i < inputs.size(); ++i) tensors.push_back(impl_->Input(i, sized[i], inputs[i]));
    std::vector<ffi::AnyView> views(tensors.begin(), tensors.end());
    views.insert(views.end(), impl_->model->weights.begin(), impl_->model->weights.end());
    ffi::Any result;
    impl_->main.CallPacked(ffi::PackedArgs(views.data(), static_cast<int32_t>(views.size())), &result);
    impl_->has_run = true;
    if (auto tensor = result.as<ffi::Tensor>()) return impl_->Output(0, *tensor, place);
    auto found = result.cast<ffi::Array<ffi::Tensor>>();
    for (size_t i = 0; i < found.size(); ++i) impl_->Output(i, found[i], place);
  });
}

}  // namespace tvmq
