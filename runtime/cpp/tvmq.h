// Runs a package within a C++ application that knows nothing of TVM.
//
//   tvmq::Model model("folder");                  // mod.so and mod.json of the package: code and weights,
//   once tvmq::Session session(model);                 // what one run at a time needs; as many as there are
//   threads session.Run({image.data()}, {scores.data()});
//
// Every function that fails throws std::runtime_error with one line.
#ifndef TVMQ_RUNTIME_TVMQ_H_
#define TVMQ_RUNTIME_TVMQ_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tvmq {

// An input or an output.
struct TensorInfo {
  std::string name;
  std::string dtype;  // as NumPy calls it: "float32", "int8", "bool", ...
  std::vector<int64_t> shape;
  size_t bytes;
  std::map<size_t, std::string> open;  // axes that may be shorter than in `shape`, and what they are called
  std::vector<int64_t> range;          // of an input of indices: the least and the greatest; empty of others
};

// A loaded package. It never changes: any number of threads may use one model. Copies are the same model.
class Model {
 public:
  // Loads a folder that holds the package's members: `tar -xf model.tar`, or a bundle. The kernels that it
  // will run are bound to no processor, unless the environment variable TVM_BIND_THREADS says so; call this
  // before threads that read the environment start.
  explicit Model(const std::string& folder);

  const std::vector<TensorInfo>& inputs() const;
  const std::vector<TensorInfo>& outputs() const;

  // What the inputs are when they have these shapes: those of the model, but for open axes. Throws for
  // others.
  std::vector<TensorInfo> InputsOf(const std::vector<std::vector<int64_t>>& shapes) const;

 private:
  friend class Session;
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

// The state of a run. One thread at a time may use a session; several sessions of a model run at once, and
// share its weights, but for those of a GPU, which each session has there. The model may go first.
class Session {
 public:
  // `threads` run the kernels, the one that calls Run among them. With 1 no other thread is made. With 0 TVM
  // decides: as many as TVM_NUM_THREADS says, else as there are fast cores. TVM keeps a pool for each calling
  // thread, as large as the first session that runs there asks for, and a process that has one must not fork.
  explicit Session(const Model& model, int threads = 1);
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  // Runs once. `inputs` and `outputs` have a pointer for each of the model's, in order, to memory of its
  // `bytes`: the values in C order. Inputs that start at a multiple of 64 bytes are read where they lie,
  // others are copied first. Of a package for a GPU all are copied there, and the outputs back.
  void Run(const std::vector<const void*>& inputs, const std::vector<void*>& outputs);

  // Runs once on inputs of these shapes, which a model with open axes takes. `place` returns the memory for
  // an output, by its number and the shape that it turned out to have.
  using Place = std::function<void*(size_t, const std::vector<int64_t>&)>;
  void Run(const std::vector<const void*>& inputs, const std::vector<std::vector<int64_t>>& shapes,
           const Place& place);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tvmq

#endif  // TVMQ_RUNTIME_TVMQ_H_
