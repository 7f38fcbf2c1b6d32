#include "streams.h"

namespace tvmq_emulated {

Code Submit(Stream* stream, Work work) {
  // The default stream, and the one of each thread, are small numbers and no addresses.
  if (reinterpret_cast<size_t>(stream) <= 2 || stream->captured == nullptr) return work();
  stream->captured->work.push_back(std::move(work));
  return SUCCESS;
}

}  // namespace tvmq_emulated
