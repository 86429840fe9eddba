"""What this machine has: memory, GPUs, disk and cores, found without torch.

Each fact has a probe of its own, so that a test can say what the machine is like.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness.support.cpu import available_cores

SMI = (
    "nvidia-smi",
    "--query-gpu=index,uuid,name,memory.free,memory.total",
    "--format=csv,noheader,nounits",
)
SMI_SECONDS = 20
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that torch would see. Sizes in bytes."""

    name: str
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class Disk:
    """Where a folder is, or will be.

    Attributes:
        free: bytes that may be written.
        device: the file system; folders with the same share what is free.
    """

    path: Path
    free: int
    device: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What a run can use.

    Attributes:
        memory: bytes that can be had without swapping; None where that cannot be found out.
        gpu_unused: why a GPU that is there would not be used; "" otherwise.
    """

    memory: int | None
    gpus: tuple[Gpu, ...]
    cores: int
    gpu_unused: str = ""

    @property
    def gpu(self) -> Gpu | None:
        """The GPU that would be used: the first."""
        return self.gpus[0] if self.gpus else None


def find() -> Machine:
    """This machine."""
    gpus, unused = visible(installed_gpus(), os.environ), ""
    if gpus and not torch_has_cuda():
        gpus, unused = (), "the installed torch is the build without CUDA"
    return Machine(available_memory(), gpus, available_cores(), unused)


def available_memory(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int | None:
    """Bytes that can be had without swapping: what the kernel says, within a container's limit.

    On a system without /proc all of the machine's memory, for want of better.
    """
    try:
        fields = dict(
            line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line
        )
        found = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return _physical_memory()
    limit = _left_in_container(cgroup)
    return found if limit is None else min(found, limit)


def installed_gpus(run: Callable[[], str] | None = None) -> tuple[tuple[str, str, Gpu], ...]:
    """The GPUs of nvidia-smi as (index, uuid, GPU); none where there is no such program."""
    try:
        lines = (run or _nvidia_smi)().splitlines()
    except (OSError, subprocess.SubprocessError):
        return ()
    found = []
    for line in lines:
        try:
            index, uuid, name, free, whole = (part.strip() for part in line.split(","))
            found.append((index, uuid, Gpu(name, int(free) << 20, int(whole) << 20)))
        except ValueError:  # "[N/A]", or a driver's complaint
            continue
    return tuple(found)


def visible(
    gpus: tuple[tuple[str, str, Gpu], ...], environment: Mapping[str, str]
) -> tuple[Gpu, ...]:
    """Those that CUDA_VISIBLE_DEVICES leaves to a program, in its order.

    As CUDA reads it: indices or beginnings of uuids, up to the first that is neither.
    """
    wanted = environment.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return tuple(gpu for _, _, gpu in gpus)
    found: list[Gpu] = []
    for word in filter(None, map(str.strip, wanted.split(","))):
        match = [gpu for index, uuid, gpu in gpus if word == index or _begins(uuid, word)]
        if not match:
            break
        found.append(match[0])
    return tuple(found)


def torch_has_cuda(version: Callable[[str], str] = metadata.version) -> bool:
    """Whether the installed torch could use a GPU, by its version; True where there is none yet."""
    try:
        return not version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return True


def disk(folder: Path) -> Disk:
    """The disk a folder is on; it need not exist yet.

    Raises:
        OSError: nothing above it can be looked at.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return Disk(folder, shutil.disk_usage(there).free, there.stat().st_dev)


def _left_in_container(cgroup: Path) -> int | None:
    """Bytes until the limit of this control group (version 2); None without one.

    Pages of files that nobody uses count as used there, and are given up when they are needed.
    """
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _begins(uuid: str, word: str) -> bool:
    return word.startswith("GPU-") and uuid.startswith(word)


def _nvidia_smi() -> str:
    return subprocess.run(
        SMI, capture_output=True, text=True, check=True, timeout=SMI_SECONDS
    ).stdout
