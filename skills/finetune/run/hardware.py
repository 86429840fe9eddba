"""Memory, GPU, cores and disk of this machine."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.support.process import available_cores, low_spin_openmp

COMPUTE = ("bfloat16", "float16", "float32")
"""The compute types of a recipe."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as torch sees it. Sizes in bytes."""

    name: str
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of a folder.

    Attributes:
        free: bytes that can be written.
        device: id of the file system; folders with the same id share the free space.
    """

    path: Path
    free: int
    device: int


@dataclass(frozen=True, slots=True)
class Machine:
    """Resources for a run.

    Attributes:
        memory: bytes available without swapping.
        gpus: the GPUs that training would use, if any: one for each process.
        gpu_unused: why the installed torch cannot use a GPU, or "".
        fast: the compute types that are not emulated, of float32 and the two of 16 bits.
        processes: how many processes train, and share the memory if there is no GPU.
        is_sharded: the base is divided among the processes.
    """

    memory: int
    gpus: tuple[Gpu, ...]
    cores: int
    gpu_unused: str = ""
    fast: tuple[str, ...] = COMPUTE
    processes: int = 1
    is_sharded: bool = False

    @property
    def shards(self) -> int:
        """How many parts the base is divided into."""
        return self.processes if self.is_sharded else 1

    @property
    def gpu(self) -> Gpu | None:
        return self.gpus[0] if self.gpus else None

    @property
    def free(self) -> int:
        """Free bytes of memory for each process, of the device that trains."""
        return min((gpu.free for gpu in self.gpus), default=self.memory // self.processes)


def available_memory() -> int:
    """Return the bytes of memory available without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def find(processes: int = 1, *, is_sharded: bool = False) -> Machine:
    """Return the resources of this machine. Without torch, GPUs are not detected."""
    gpus, unused = _gpus(processes)
    cores, fast = available_cores(), fast_compute()
    return Machine(available_memory(), gpus, cores, unused, fast, processes, is_sharded)


@low_spin_openmp()
def fast_compute() -> tuple[str, ...]:
    """Return the compute types that are fast on the device that trains; without torch, all.

    On a CPU without AVX-512, oneDNN computes bfloat16 in plain loops, which took 9 times as long
    as float32 forwards and 47 times backwards (400 x 576 by 576 x 1536, an EPYC with AVX2).
    """
    if importlib.util.find_spec("torch") is None:
        return COMPUTE
    import torch

    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return COMPUTE if native else ("float16", "float32")
    is_wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return ("bfloat16", "float32") if is_wide else ("float32",)


@low_spin_openmp()
def _gpus(processes: int) -> tuple[tuple[Gpu, ...], str]:
    """Return at most as many GPUs as there are processes, and why there is none, or ""."""
    if importlib.util.find_spec("torch") is None:
        return (), ""
    import torch

    if torch.cuda.is_available():
        count = min(processes, torch.cuda.device_count())
        cuda = torch.cuda
        return tuple(Gpu(cuda.get_device_name(n), *cuda.mem_get_info(n)) for n in range(count)), ""
    no_cuda = torch.version.cuda is None
    return (), "the installed torch is a build without CUDA" if no_cuda else ""


def disk(folder: Path) -> Disk:
    """Return the file system of a folder, which need not exist yet."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    return Disk(folder, shutil.disk_usage(existing).free, existing.stat().st_dev)


def in_words(size: float) -> str:
    """Format bytes for display: "98.4 MB", "15.2 GB"."""
    for unit, one in (("GB", 1e9), ("MB", 1e6)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"
