// Streams do at once what they are asked for, unless they capture: then it goes into a graph.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "errors.h"

namespace tvmq_emulated {

using Work = std::function<Code()>;

struct Graph {
  std::vector<Work> work;
};

struct Stream {
  Graph* captured = nullptr;  // while capturing
};

Code Submit(Stream* stream, Work work);
void Capture(Stream* stream);
Graph* EndCapture(Stream* stream);

// In the mode in which TVM captures, CUDA refuses to allocate and to wait, in any thread, and the default
// stream.
Code RefuseWhileCapturing(const std::string& what);

}  // namespace tvmq_emulated
