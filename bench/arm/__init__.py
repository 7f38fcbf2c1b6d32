"""A yardstick for ARM boards where there is none: instructions counted under QEMU, times the pipelines of LLVM's models."""
