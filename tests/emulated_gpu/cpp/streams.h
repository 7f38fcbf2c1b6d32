// Streams do at once what they are asked for, unless they capture: then it goes into a graph.
#pragma once

#include <functional>
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

}  // namespace tvmq_emulated
