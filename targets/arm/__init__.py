"""ARM: what LLVM makes of portable loops, for NEON."""
