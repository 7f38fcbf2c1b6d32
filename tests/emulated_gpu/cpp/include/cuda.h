// Generated sources include <cuda.h>; what they need of it is in kernel.h.
