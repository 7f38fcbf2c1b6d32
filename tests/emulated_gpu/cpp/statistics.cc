#include "statistics.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>

#include "errors.h"
#include "shared_memory.h"

namespace tvmq_emulated {

bool counting = false;

namespace {

struct Access {
  unsigned lane;
  uint64_t address;
};

// One execution of one access by one warp.
struct Group {
  unsigned bytes;
  std::vector<Access> accesses;
};

struct Counts {
  std::string kernel;
  uint64_t instructions[KINDS] = {}, inline_instructions[3] = {};
  uint64_t wavefronts[KINDS] = {}, conflicts[KINDS] = {};  // of shared memory
  uint64_t sectors[KINDS] = {};                            // of global memory
};

using Key = std::tuple<unsigned, Kind, const void*, bool>;  // warp, kind, call site, whether in global memory

std::vector<Counts> launches;
Counts now;
std::map<Key, std::vector<Group>> groups;           // by execution
std::map<std::pair<Key, unsigned>, unsigned> next;  // which execution is a lane's next

// Wavefronts that a part of a warp needs: the most different words that lie in one bank.
unsigned Wavefronts(const Access* accesses, size_t count, unsigned bytes) {
  std::set<uint64_t> words[32];
  unsigned most = 0;
  for (size_t i = 0; i < count; ++i) {
    for (uint64_t word = accesses[i].address / 4; word <= (accesses[i].address + bytes - 1) / 4; ++word) {
      words[word % 32].insert(word);
    }
  }
  for (const auto& bank : words) most = std::max<unsigned>(most, bank.size());
  return most;
}

void CountShared(Kind kind, const Group& group) {
  // 8 and 16 bytes a lane are served in halves and quarters of a warp.
  unsigned lanes = group.bytes == 16 ? 8 : group.bytes == 8 ? 16 : 32;
  for (unsigned first = 0; first < kWarp; first += lanes) {
    std::vector<Access> part;
    for (const Access& access : group.accesses) {
      if (access.lane / lanes == first / lanes) part.push_back(access);
    }
    if (part.empty()) continue;
    unsigned wavefronts = Wavefronts(part.data(), part.size(), group.bytes);
    now.wavefronts[kind] += wavefronts;
    now.conflicts[kind] += wavefronts - 1;
  }
}

void CountGlobal(Kind kind, const Group& group) {
  std::set<uint64_t> sectors;
  for (const Access& access : group.accesses) sectors.insert(access.address / 32);
  now.sectors[kind] += sectors.size();
}

void Add(Kind kind, const Thread& thread, const void* site, bool global, uint64_t address, unsigned bytes) {
  Key key(thread.warp(), kind, site, global);
  unsigned execution = next[{key, thread.lane()}]++;
  auto& all = groups[key];
  if (all.size() <= execution) all.resize(execution + 1);
  all[execution].bytes = bytes;
  all[execution].accesses.push_back({thread.lane(), address});
}

void Append(std::string& text, const char* name, const uint64_t* counts) {
  text += Format(", \"%s\": {", name);
  bool first = true;
  for (int kind = 0; kind < KINDS; ++kind) {
    if (counts[kind] == 0) continue;
    text += Format("%s\"%s\": %llu", first ? "" : ", ", KindName(static_cast<Kind>(kind)),
                   static_cast<unsigned long long>(counts[kind]));
    first = false;
  }
  text += "}";
}

std::string Text() {
  std::string text = "[";
  for (const Counts& counts : launches) {
    if (text.size() > 1) text += ",\n";
    text += "{\"kernel\": \"" + counts.kernel + "\"";
    Append(text, "instructions", counts.instructions);
    static const char* const names[] = {"dp4a", "popcount", "round_to_int"};
    text.pop_back();
    for (int i = 0; i < 3; ++i) {
      if (counts.inline_instructions[i] == 0) continue;
      text += Format("%s\"%s\": %llu", text.back() == '{' ? "" : ", ", names[i],
                     static_cast<unsigned long long>(counts.inline_instructions[i]));
    }
    text += "}";
    Append(text, "wavefronts", counts.wavefronts);
    Append(text, "conflicts", counts.conflicts);
    Append(text, "sectors", counts.sectors);
    text += "}";
  }
  return text + "]";
}

}  // namespace

void BeginStatistics() {
  if (!counting) return;
  now = Counts();
  now.kernel = launch->kernel->name;
  groups.clear();
  next.clear();
}

void EndStatistics() {
  if (counting) launches.push_back(now);
}

void CountBlock() {
  if (!counting) return;
  for (const auto& [key, executions] : groups) {
    Kind kind = std::get<1>(key);
    bool global = std::get<3>(key);
    for (const Group& group : executions) {
      if (global) {
        CountGlobal(kind, group);
      } else if (group.bytes != 0) {
        CountShared(kind, group);
      }
      if (!(global && kind == COPY_ASYNC)) ++now.instructions[kind];  // a copy is in both memories
    }
  }
  groups.clear();
  next.clear();
  for (unsigned first = 0; first < thread_count; first += kWarp) {
    for (int i = 0; i < 3; ++i) {
      unsigned long long most = 0;
      for (unsigned j = first; j < std::min(thread_count, first + kWarp); ++j) {
        most = std::max(most, threads[j]->view.counts[i]);
      }
      now.inline_instructions[i] += most;
    }
  }
}

void CountWarp(Kind kind, const Thread&) { ++now.instructions[kind]; }

void CountCollective(Kind kind, const Thread& thread) {
  if (counting && thread.lane() == 0) ++now.instructions[kind];
}

void CountAccess(Kind kind, const Thread& thread, const void* site, const void* shared, unsigned bytes) {
  Add(kind, thread, site, false, shared == nullptr ? 0 : SharedOffset(shared), bytes);
}

void CountSectors(Kind kind, const Thread& thread, const void* site, const void* global, unsigned bytes) {
  Add(kind, thread, site, true, reinterpret_cast<uint64_t>(global), bytes);
}

void CountMatrix(Kind kind, Thread* const* rows) {
  Access accesses[8];
  for (unsigned i = 0; i < 8; ++i) accesses[i] = {i, SharedOffset(rows[i]->call.a)};
  unsigned wavefronts = Wavefronts(accesses, 8, 16);
  now.wavefronts[kind] += wavefronts;
  now.conflicts[kind] += wavefronts - 1;
}

// Starts counting anew, or ends it.
extern "C" __attribute__((visibility("default"))) void tvmq_emulated_count(int on) {
  counting = on != 0;
  launches.clear();
}

// The launches since, as JSON; the caller frees nothing, and reads before the next call.
extern "C" __attribute__((visibility("default"))) const char* tvmq_emulated_statistics() {
  static std::string text;
  text = Text();
  return text.c_str();
}

}  // namespace tvmq_emulated
