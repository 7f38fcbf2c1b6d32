// What a launch did, counted as a GPU's profiler does: by warps. Off until asked for.
//
// Lanes of a warp run apart here, so an access of a warp is put together afterwards: the n-th executions of one call site.
#pragma once

#include "block.h"

namespace tvmq_emulated {

extern bool counting;

void BeginStatistics();
void EndStatistics();
void CountBlock();  // when the block has run

void CountWarp(Kind kind, const Thread& thread);
void CountCollective(Kind kind, const Thread& thread);
// Of one thread; an access of shared memory where there is an address.
void CountAccess(Kind kind, const Thread& thread, const void* site, const void* shared, unsigned bytes);
void CountSectors(Kind kind, const Thread& thread, const void* site, const void* global, unsigned bytes);
// Eight rows of a matrix of ldmatrix.
void CountMatrix(Kind kind, Thread* const* rows);

}  // namespace tvmq_emulated
