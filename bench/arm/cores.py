"""The cores that are modelled: which CPU QEMU plays, and which pipeline of LLVM's stands for it."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import unknown


@dataclass(frozen=True)
class Core:
    """A core of a board.

    Attributes
    ----------
    name : as users type it.
    cpu : ``-mcpu`` of tvmq's target.
    pipeline : ``-mcpu`` of LLVM's model.
    emulated : ``-cpu`` of QEMU: one with exactly the instructions of the core that kernels are chosen by.
    part : its part number, as ``/proc/cpuinfo`` has it.
    release : the numbers of ``rNpM``; an a55 has the dot product from r1 on.
    gigahertz : clocks of boards that have it.
    cache_kib : its last cache, KiB: what misses it goes to memory.
    """

    name: str
    cpu: str
    pipeline: str
    emulated: str
    part: int
    release: tuple[int, int]
    gigahertz: tuple[float, ...]
    cache_kib: int

    @property
    def target(self) -> str:
        """tvmq's target string, of one thread."""
        return f"llvm -mtriple=aarch64-linux-gnu -mcpu={self.cpu} -num-cores=1"


CORES: dict[str, Core] = {
    row.name: row
    for row in (
        Core("a53", "cortex-a53", "cortex-a53", "cortex-a53", 0xD03, (0, 4), (1.4,), 512),
        # QEMU 7.2 has no a55; an n1 has its dot product, and no more that kernels ask for.
        Core("a55", "cortex-a55", "cortex-a55", "neoverse-n1", 0xD05, (2, 0), (1.4, 2.0), 512),
        Core("a72", "cortex-a72", "cortex-a72", "cortex-a72", 0xD08, (0, 3), (1.8,), 1024),
        # LLVM has the a57's pipeline for the a76; the n1 is its sibling for servers.
        Core("a76", "cortex-a76", "neoverse-n1", "cortex-a76", 0xD0B, (4, 1), (2.4,), 2048),
        Core("n2", "neoverse-n2", "neoverse-n2", "max,sve-max-vq=1", 0xD49, (0, 0), (3.0,), 8192),
        Core("v1", "neoverse-v1", "neoverse-v1", "max,sve-max-vq=2", 0xD40, (1, 1), (2.6,), 8192),
    )
}


def get_core(name: str) -> Core:
    """Return the row of that name; raises ``TvmqError`` for an unknown one."""
    if name not in CORES:
        raise unknown("core", name, CORES)
    return CORES[name]
