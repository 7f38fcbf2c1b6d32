"""A yardstick for ARM without boards: instructions counted under QEMU, cycles by LLVM's models of the cores."""
