// A plugin of qemu-user: how often each block of instructions ran, and what it read and wrote.
//
//   qemu-aarch64 -plugin counts.so,out=FILE[,cache=KIB] PROGRAM ...
//
// A block is one that QEMU translates as a whole: it ends at a branch, at a page's end, or after 512
// instructions. FILE gets a line a block, when the program ends, of fields with tabs between them:
//
//   address  mapped file  offset in it  executions  bytes read  bytes written  lines filled  lines flushed
//   code
//
// The code is the instructions' bytes; numbers are hexadecimal. The last four numbers are zero unless there
// is a cache (KIB, a power of two): 16 ways, lines of 64 bytes, the least recently used one goes. Its fills
// and flushes are the traffic of a memory behind it. Programs are taken to run on one thread: others would
// share counters and cache.
#include <inttypes.h>
#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu_plugin.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = 1;

enum { kWays = 16, kLineBits = 6, kPath = 4096 };

typedef struct {
  uint64_t low, high, offset;
  char* path;
} Mapping;

typedef struct {
  uint64_t address;
  size_t instructions;
  const char* path;  // of the file that is mapped there; "" where there is none
  uint64_t offset;
  uint64_t executions, read, written, filled, flushed;
  size_t size;
  uint8_t* code;
} Block;

typedef struct {
  uint64_t line;  // 0: an empty way
  bool is_dirty;
} Way;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void* blocks;  // the tree of tsearch
static Mapping* mappings;
static size_t mappings_count;
static FILE* out;
static Way* ways;  // [sets, kWays], the most recently used first
static uint64_t sets;  // a power of two

// The paths of former readings stay: blocks point to them.
static void ReadMappings(void) {
  FILE* file = fopen("/proc/self/maps", "r");
  if (!file) return;
  mappings_count = 0;
  char line[kPath + 128];
  while (fgets(line, sizeof line, file)) {
    Mapping new = {0};
    int path = 0;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %*s %*s %n", &new.low, &new.high, &new.offset,
               &path) < 3)
      continue;
    line[strcspn(line, "\n")] = 0;
    new.path = strdup(line[path] == '/' ? line + path : "");
    mappings = realloc(mappings, (mappings_count + 1) * sizeof *mappings);
    mappings[mappings_count++] = new;
  }
  fclose(file);
}

static const Mapping* FindMapping(uint64_t host) {
  for (int is_fresh = 0; is_fresh < 2; ++is_fresh) {
    for (size_t i = 0; i < mappings_count; ++i)
      if (mappings[i].low <= host && host < mappings[i].high) return &mappings[i];
    ReadMappings();
  }
  return NULL;
}

static int Compare(const void* left, const void* right) {
  const Block *a = left, *b = right;
  if (a->address != b->address) return a->address < b->address ? -1 : 1;
  return (a->instructions > b->instructions) - (a->instructions < b->instructions);
}

static Block* NewBlock(const struct qemu_plugin_tb* tb, const Block* key) {
  Block* block = malloc(sizeof *block);
  *block = *key;
  uint64_t host = (uint64_t)qemu_plugin_insn_haddr(qemu_plugin_tb_get_insn(tb, 0));
  const Mapping* mapping = FindMapping(host);
  block->path = mapping ? mapping->path : "";
  block->offset = mapping ? host - mapping->low + mapping->offset : 0;
  for (size_t i = 0; i < block->instructions; ++i) {
    struct qemu_plugin_insn* instruction = qemu_plugin_tb_get_insn(tb, i);
    size_t size = qemu_plugin_insn_size(instruction);
    block->code = realloc(block->code, block->size + size);
    memcpy(block->code + block->size, qemu_plugin_insn_data(instruction), size);
    block->size += size;
  }
  return block;
}

// Looks a line up, and brings it in where it is missing.
static void Touch(Block* block, uint64_t line, bool is_store) {
  Way* set = ways + (line & (sets - 1)) * kWays;
  size_t at = 0;
  while (at < kWays - 1 && set[at].line != line) ++at;
  Way way = set[at];
  if (way.line != line) {
    block->filled += 1;
    block->flushed += way.is_dirty;
    way = (Way){line, false};
  }
  way.is_dirty |= is_store;
  memmove(set + 1, set, at * sizeof *set);
  set[0] = way;
}

static void OnAccess(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t address, void* data) {
  (void)cpu;
  Block* block = data;
  bool is_store = qemu_plugin_mem_is_store(info);
  uint64_t size = 1ull << qemu_plugin_mem_size_shift(info);
  *(is_store ? &block->written : &block->read) += size;
  uint64_t first = address >> kLineBits, last = (address + size - 1) >> kLineBits;
  for (uint64_t line = first; line <= last; ++line) Touch(block, line, is_store);
}

static void OnTranslation(qemu_plugin_id_t id, struct qemu_plugin_tb* tb) {
  (void)id;
  Block key = {.address = qemu_plugin_tb_vaddr(tb), .instructions = qemu_plugin_tb_n_insns(tb)};
  pthread_mutex_lock(&lock);
  // The same code is translated again when QEMU's buffer was full.
  void* found = tfind(&key, &blocks, Compare);
  if (!found) found = tsearch(NewBlock(tb, &key), &blocks, Compare);
  pthread_mutex_unlock(&lock);
  Block* block = *(Block**)found;
  qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &block->executions, 1);
  for (size_t i = 0; ways && i < block->instructions; ++i)
    qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), OnAccess, QEMU_PLUGIN_CB_NO_REGS,
                                     QEMU_PLUGIN_MEM_RW, block);
}

static void Print(const void* node, VISIT visit, int depth) {
  (void)depth;
  if (visit != postorder && visit != leaf) return;  // each node once
  const Block* block = *(Block* const*)node;
  if (!block->executions) return;
  fprintf(out, "%" PRIx64 "\t%s", block->address, block->path);
  uint64_t numbers[] = {block->offset,  block->executions, block->read,
                        block->written, block->filled,     block->flushed};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; ++i) fprintf(out, "\t%" PRIx64, numbers[i]);
  fputc('\t', out);
  for (size_t i = 0; i < block->size; ++i) fprintf(out, "%02x", block->code[i]);
  fputc('\n', out);
}

static void OnExit(qemu_plugin_id_t id, void* data) {
  (void)id, (void)data;
  twalk(blocks, Print);
  fclose(out);
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc,
                                           char** argv) {
  (void)info;
  for (int i = 0; i < argc; ++i) {
    if (!strncmp(argv[i], "out=", 4)) out = fopen(argv[i] + 4, "w");
    if (!strncmp(argv[i], "cache=", 6)) {
      sets = strtoull(argv[i] + 6, NULL, 10) * 1024 >> kLineBits;
      sets /= kWays;
      ways = calloc(sets * kWays, sizeof *ways);
    }
  }
  if (!out) {
    fprintf(stderr, "counts: error: out=FILE is missing, or cannot be written\n");
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, OnTranslation);
  qemu_plugin_register_atexit_cb(id, OnExit, NULL);
  return 0;
}
