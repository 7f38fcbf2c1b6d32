#include "device.h"

#include <cstdlib>

namespace tvmq_emulated {

namespace {
int capability = 0;
}

void ReadCapability() {
  const char* text = getenv("TVMQ_EMULATED_GPU_CAPABILITY");
  double value = text == nullptr ? 0 : atof(text);
  capability = value < 1 ? 80 : static_cast<int>(value * 10 + 0.5);
}

int Capability() {
  if (capability == 0) ReadCapability();
  return capability;
}

unsigned SharedLimit() {
  Capability();
  if (capability >= 90) return 227 << 10;
  if (capability == 86 || capability == 89) return 99 << 10;
  if (capability == 80 || capability == 87) return 163 << 10;
  if (capability == 75) return 64 << 10;
  if (capability == 70 || capability == 72) return 96 << 10;
  return kShared;
}

}  // namespace tvmq_emulated
