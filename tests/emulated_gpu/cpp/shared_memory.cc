#include "shared_memory.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "device.h"
#include "errors.h"
#include "statistics.h"
#include "warpgroup.h"

namespace tvmq_emulated {

namespace {

constexpr unsigned kDynamic = 256 << 10, kStatic = 64 << 10;  // static memory lies behind the dynamic one
constexpr uint16_t kSeveralLanes = 0xFFFF, kSeveralWarps = 0xFFFE;

// Epochs and steps tell whether a barrier, or a warp-collective instruction, came between.
struct Byte {
  uint32_t write_epoch, write_step, read_epoch, read_step;
  uint16_t writer, reader;
  uint8_t reader_warp;
  bool on_its_way;
  uint16_t unused;  // no gaps, so that records can be compared

  bool operator==(const Byte& other) const { return memcmp(this, &other, sizeof *this) == 0; }
};
static_assert(sizeof(Byte) == 24, "no gaps");

alignas(1024) char memory[kDynamic + kStatic];
// A word has one record, until a part of it is touched: then each byte has one, until they are alike again.
Byte words[(kDynamic + kStatic) / 4], bytes_of[kDynamic + kStatic];
bool split[(kDynamic + kStatic) / 4];
unsigned dynamic_end = 0, static_end = kDynamic;
std::map<int, unsigned> declarations;  // offsets of the static arrays

size_t Offset(const void* shared) { return static_cast<size_t>(static_cast<const char*>(shared) - memory); }

std::string Name(size_t offset) {
  if (offset < kDynamic) return Format("byte %zu of shared memory", offset);
  return Format("byte %zu of static shared memory", offset - kDynamic);
}

// Whether something of `thread` at an earlier step comes before what the thread that runs does now.
bool Ordered(const Thread& thread, unsigned other_warp, uint32_t step) {
  return other_warp == thread.warp() && step != warp_steps[thread.warp()];
}

// What happens to the records of some bytes.
template <bool kWrites, class Function>
void Visit(const void* shared, unsigned bytes, Function function) {
  size_t offset = Offset(shared), end = offset + bytes;
  while (offset < end) {
    size_t word = offset / 4;
    if (offset % 4 == 0 && end - offset >= 4) {
      if (!split[word]) {
        function(words[word], offset);
      } else {
        for (size_t i = offset; i < offset + 4; ++i) function(bytes_of[i], i);
        const Byte* each = &bytes_of[offset];
        // Who read bytes is in order with who writes them now, and need not be kept.
        if (kWrites || (each[0] == each[1] && each[0] == each[2] && each[0] == each[3])) {
          words[word] = each[0];
          split[word] = false;
        }
      }
      offset += 4;
      continue;
    }
    if (!split[word]) {
      std::fill_n(&bytes_of[4 * word], 4, words[word]);
      split[word] = true;
    }
    function(bytes_of[offset], offset);
    ++offset;
  }
}

void Move(void* to, const void* from, unsigned bytes) {
  switch (bytes) {
    case 1:
      memcpy(to, from, 1);
      break;
    case 2:
      memcpy(to, from, 2);
      break;
    case 4:
      memcpy(to, from, 4);
      break;
    case 8:
      memcpy(to, from, 8);
      break;
    case 16:
      memcpy(to, from, 16);
      break;
    default:
      memcpy(to, from, bytes);
  }
}

void CheckWritten(const Thread& thread, size_t offset, const Byte& byte, bool by_warp) {
  if (byte.on_its_way) {
    FailOf(thread, "reads " + Name(offset) +
                       Format(", to which an asynchronous copy of thread %u is on its way", byte.writer));
  }
  if (byte.write_epoch < first_epoch) FailOf(thread, "reads " + Name(offset) + ", which nobody wrote");
  if (byte.write_epoch == epoch && (by_warp || byte.writer != thread.number) &&
      !Ordered(thread, byte.writer / kWarp, byte.write_step)) {
    if (by_warp && byte.writer == thread.number) {
      FailOf(thread, "reads " + Name(offset) + " for its warp, and wrote it without a warp barrier between");
    }
    FailOf(thread, "reads " + Name(offset) +
                       Format(", which thread %u wrote without a barrier between", byte.writer));
  }
}

void CheckFree(const Thread& thread, size_t offset, const Byte& byte) {
  if (byte.on_its_way) {
    FailOf(thread, "writes " + Name(offset) +
                       Format(", to which an asynchronous copy of thread %u is on its way", byte.writer));
  }
  if (byte.write_epoch == epoch && byte.writer != thread.number &&
      !Ordered(thread, byte.writer / kWarp, byte.write_step)) {
    FailOf(thread, "writes " + Name(offset) +
                       Format(", which thread %u wrote without a barrier between", byte.writer));
  }
  if (byte.read_epoch != epoch || byte.reader == thread.number) return;
  if (byte.reader == kSeveralWarps)
    FailOf(thread, "writes " + Name(offset) + ", which several warps read without a barrier between");
  if (Ordered(thread, byte.reader_warp, byte.read_step)) return;
  if (byte.reader == kSeveralLanes) {
    FailOf(thread, "writes " + Name(offset) +
                       Format(", which lanes of warp %u read without a barrier between", byte.reader_warp));
  }
  FailOf(thread,
         "writes " + Name(offset) + Format(", which thread %u read without a barrier between", byte.reader));
}

void SetReader(const Thread& thread, Byte& byte, bool by_warp) {
  uint32_t step = warp_steps[thread.warp()];
  uint16_t reader = by_warp ? kSeveralLanes : thread.number;
  if (byte.read_epoch == epoch) {
    if (byte.reader == kSeveralWarps) return;
    if (byte.reader_warp != thread.warp()) {
      reader = kSeveralWarps;
    } else if (byte.read_step == step && byte.reader != reader) {
      reader = kSeveralLanes;
    }
  }
  byte.read_epoch = epoch;
  byte.read_step = step;
  byte.reader = reader;
  byte.reader_warp = thread.warp();
}

void SetWriter(const Thread& thread, Byte& byte) {
  byte.write_epoch = epoch;
  byte.write_step = warp_steps[thread.warp()];
  byte.writer = thread.number;
}

}  // namespace

void BeginShared(unsigned dynamic_bytes) {
  dynamic_end = dynamic_bytes;
  static_end = kDynamic;
  declarations.clear();
  memset(memory, 0xCD, dynamic_bytes);
}

void ForgetShared() {
  for (Byte& byte : bytes_of) byte.on_its_way = false;
  for (Byte& word : words) word.on_its_way = false;
}

unsigned SharedOffset(const void* shared) { return Offset(shared); }

void CheckShared(const Thread& thread, const char* what, const void* shared, unsigned bytes,
                 unsigned alignment) {
  size_t offset = Offset(shared);
  if (offset >= sizeof memory) {
    FailOf(thread, Format("%s: address %p of %u bytes is not in shared memory", what, shared, bytes));
  }
  unsigned end = offset < kDynamic ? dynamic_end : static_end;
  if (offset + bytes > end) {
    FailOf(thread, Format("%s: bytes %zu to %zu are outside of the block's %u bytes of %s shared memory",
                          what, offset % kDynamic, offset % kDynamic + bytes - 1, end % kDynamic,
                          offset < kDynamic ? "dynamic" : "static"));
  }
  if (offset % alignment != 0) {
    FailOf(thread, Format("%s: ", what) + Name(offset) + Format(" is not aligned to %u bytes", alignment));
  }
}

void NoteRead(const Thread& thread, const void* shared, unsigned bytes) {
  Visit<false>(shared, bytes, [&](Byte& byte, size_t offset) {
    CheckWritten(thread, offset, byte, false);
    SetReader(thread, byte, false);
  });
}

void NoteWarpRead(const Thread& thread, const void* shared, unsigned bytes) {
  Visit<false>(shared, bytes, [&](Byte& byte, size_t offset) {
    CheckWritten(thread, offset, byte, true);
    SetReader(thread, byte, true);
  });
}

void NoteWrite(const Thread& thread, const void* shared, unsigned bytes) {
  Visit<true>(shared, bytes, [&](Byte& byte, size_t offset) {
    CheckFree(thread, offset, byte);
    SetWriter(thread, byte);
  });
}

void NoteDeparture(const Thread& thread, const void* shared, unsigned bytes) {
  NoteWrite(thread, shared, bytes);
  memset(memory + Offset(shared), 0xCD, bytes);
  Visit<true>(shared, bytes, [](Byte& byte, size_t) { byte.on_its_way = true; });
}

void NoteArrival(const Thread& thread, const void* shared, unsigned bytes) {
  Visit<true>(shared, bytes, [&](Byte& byte, size_t) {
    byte.on_its_way = false;
    SetWriter(thread, byte);
  });
}

void SharedLoad(void* local, const void* shared, unsigned bytes) {
  CheckShared(*running, "shared_load", shared, bytes, bytes);
  NoteRead(*running, shared, bytes);
  Move(local, shared, bytes);
  if (counting) CountAccess(SHARED_LOAD, *running, __builtin_return_address(0), shared, bytes);
}

void SharedStore(void* shared, const void* local, unsigned bytes) {
  CheckShared(*running, "shared_store", shared, bytes, bytes);
  NoteWrite(*running, shared, bytes);
  NoteOrdinaryWrite(*running);
  Move(shared, local, bytes);
  if (counting) CountAccess(SHARED_STORE, *running, __builtin_return_address(0), shared, bytes);
}

void* DynamicShared() { return memory; }

void* StaticShared(int declaration, unsigned bytes, unsigned alignment) {
  auto found = declarations.find(declaration);
  if (found == declarations.end()) {
    unsigned first = (static_end + alignment - 1) / alignment * alignment;
    unsigned total = first + bytes - kDynamic + dynamic_end;
    if (first + bytes - kDynamic > kShared || total > SharedLimit()) {
      Fail(Format("declares %u bytes of shared memory, more than a block can have", total));
    }
    found = declarations.emplace(declaration, first).first;
    static_end = first + bytes;
    memset(memory + first, 0xCD, bytes);
  }
  return memory + found->second;
}

}  // namespace tvmq_emulated
