// Asynchronous copies from global to shared memory: they arrive when their group is waited for.
#pragma once

#include "block.h"

namespace tvmq_emulated {

void ArriveAll(Thread& thread);

// Of Machine.
void CopyAsync(void* shared, const void* global, unsigned bytes);
void CopyCommit();
void CopyWait(int groups);

}  // namespace tvmq_emulated
