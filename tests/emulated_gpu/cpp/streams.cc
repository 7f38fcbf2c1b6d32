#include "streams.h"

#include <atomic>

namespace tvmq_emulated {

namespace {

std::atomic<int> captures{0};

// The default stream, and the one of each thread, are small numbers and no addresses.
bool IsDefault(Stream* stream) { return reinterpret_cast<size_t>(stream) <= 2; }

}  // namespace

Code Submit(Stream* stream, Work work) {
  if (IsDefault(stream)) {
    if (Code code = RefuseWhileCapturing("the default stream is used")) return code;
    return work();
  }
  if (stream->captured == nullptr) return work();
  stream->captured->work.push_back(std::move(work));
  return SUCCESS;
}

void Capture(Stream* stream) {
  stream->captured = new Graph;
  ++captures;
}

Graph* EndCapture(Stream* stream) {
  --captures;
  Graph* graph = stream->captured;
  stream->captured = nullptr;
  return graph;
}

Code RefuseWhileCapturing(const std::string& what) {
  return captures == 0 ? SUCCESS : Error(NOT_WHILE_CAPTURING, what + " while a stream captures");
}

}  // namespace tvmq_emulated
