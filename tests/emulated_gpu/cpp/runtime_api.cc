// The functions of libcudart.so.13 that TVM calls.
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "device.h"
#include "memory.h"
#include "properties.h"
#include "streams.h"

using namespace tvmq_emulated;

namespace {

using Clock = std::chrono::steady_clock;

struct Event {
  Clock::time_point time;
};

enum CopyKind { HOST_TO_HOST, HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE, BY_ADDRESS };

Code CopyMemory(void* to, const void* from, size_t bytes, int kind) {
  if (bytes == 0) return SUCCESS;
  bool to_device = kind == HOST_TO_DEVICE || kind == DEVICE_TO_DEVICE;
  bool from_device = kind == DEVICE_TO_HOST || kind == DEVICE_TO_DEVICE;
  if (to_device && !Inside(to, bytes)) {
    return Error(INVALID_VALUE, Format("a copy of %zu bytes to the device ", bytes) + Outside(to, bytes));
  }
  if (from_device && !Inside(from, bytes)) {
    return Error(INVALID_VALUE, Format("a copy of %zu bytes from the device ", bytes) + Outside(from, bytes));
  }
  memmove(to, from, bytes);
  return SUCCESS;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

// ---- The device ----

int cudaGetDeviceCount(int* count) {
  *count = 1;
  return SUCCESS;
}

int cudaGetDevice(int* device) {
  *device = 0;
  return SUCCESS;
}

int cudaSetDevice(int device) {
  return device == 0 ? SUCCESS : Error(INVALID_VALUE, "there is one emulated GPU, 0");
}

int cudaDeviceGetAttribute(int* value, int attribute, int device) {
  *value = Attribute(attribute);
  return cudaSetDevice(device);
}

int cudaGetDeviceProperties(Properties* properties, int device) {
  *properties = DeviceProperties();
  return cudaSetDevice(device);
}

// ---- Errors ----

const char* cudaGetErrorName(int code) { return ErrorText(code); }
const char* cudaGetErrorString(int code) { return ErrorText(code); }
int cudaGetLastError() { return SUCCESS; }
int cudaPeekAtLastError() { return SUCCESS; }

// ---- Memory ----

int cudaMalloc(void** memory, size_t bytes) {
  if (Code code = RefuseWhileCapturing("memory is allocated")) return code;
  *memory = Allocate(bytes);
  return *memory == nullptr ? Error(OUT_OF_MEMORY, Format("no memory for %zu bytes", bytes)) : SUCCESS;
}

int cudaFree(void* memory) {
  if (Code code = RefuseWhileCapturing("memory is freed")) return code;
  if (memory == nullptr || Free(memory)) return SUCCESS;
  return Error(INVALID_VALUE, Format("%p was not allocated, or is free", memory));
}

int cudaMallocHost(void** memory, size_t bytes) {
  *memory = malloc(bytes);
  return *memory == nullptr ? Error(OUT_OF_MEMORY, Format("no memory for %zu bytes", bytes)) : SUCCESS;
}

int cudaFreeHost(void* memory) {
  free(memory);
  return SUCCESS;
}

int cudaMemGetInfo(size_t* left, size_t* total) {
  *left = *total = kMemory;
  return SUCCESS;
}

int cudaMemcpyAsync(void* to, const void* from, size_t bytes, int kind, Stream* stream) {
  return Submit(stream, [=] { return CopyMemory(to, from, bytes, kind); });
}

int cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, Stream* stream) {
  return cudaMemcpyAsync(to, from, bytes, DEVICE_TO_DEVICE, stream);
}

// ---- Streams and events ----

int cudaStreamCreate(Stream** stream) {
  *stream = new Stream;
  return SUCCESS;
}

int cudaStreamCreateWithFlags(Stream** stream, unsigned) { return cudaStreamCreate(stream); }

int cudaStreamDestroy(Stream* stream) {
  delete stream;
  return SUCCESS;
}

int cudaStreamSynchronize(Stream*) { return RefuseWhileCapturing("a stream is waited for"); }
int cudaStreamWaitEvent(Stream*, Event*, unsigned) { return SUCCESS; }

int cudaEventCreate(Event** event) {
  *event = new Event;
  return SUCCESS;
}

int cudaEventDestroy(Event* event) {
  delete event;
  return SUCCESS;
}

int cudaEventRecord(Event* event, Stream*) {
  event->time = Clock::now();
  return SUCCESS;
}

int cudaEventSynchronize(Event*) { return SUCCESS; }

int cudaEventElapsedTime(float* milliseconds, Event* from, Event* to) {
  *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
  return SUCCESS;
}

// ---- Graphs ----

int cudaStreamBeginCapture(Stream* stream, int) {
  Capture(stream);
  return SUCCESS;
}

int cudaStreamEndCapture(Stream* stream, Graph** graph) {
  *graph = EndCapture(stream);
  return SUCCESS;
}

int cudaGraphInstantiate(Graph** runnable, Graph* graph, unsigned long long) {
  *runnable = new Graph(*graph);
  return SUCCESS;
}

int cudaGraphLaunch(Graph* graph, Stream*) {
  for (Work& work : graph->work) {
    if (Code code = work()) return code;
  }
  return SUCCESS;
}

int cudaGraphDestroy(Graph* graph) {
  delete graph;
  return SUCCESS;
}

int cudaGraphExecDestroy(Graph* graph) { return cudaGraphDestroy(graph); }

}  // extern "C"
#pragma GCC visibility pop
