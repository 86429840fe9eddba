"""Ranks, the processes of a training: the rank of this process, and messages between ranks.

torchrun starts a process for each rank, with RANK, LOCAL_RANK and WORLD_SIZE in its environment. In
a training with a single process, the rank is 0, and no messages are sent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from harness.errors import UsageError
from harness.support.process import low_spin_openmp

WAIT = timedelta(hours=2)
"""Maximum time for which ranks wait for each other: rank 0 may have to unpack a base first.

If a rank ends, the wait of the other ranks ends immediately with an error.
"""


def world() -> int:
    """Return the number of ranks."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """Return the rank of this process."""
    return int(os.environ.get("RANK", 0)) if world() > 1 else 0


def local_rank() -> int:
    """Return the rank of this process on this machine, which is also the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0)) if world() > 1 else 0


def is_main() -> bool:
    """Return True if this process has rank 0, which writes the files of the training."""
    return rank() == 0


def processes(wanted: int | None) -> int:
    """Return the number of processes of the training: from the launcher, or `wanted`, or 1.

    Args:
        wanted: the value of the option `--processes`.

    Raises:
        UsageError: a launcher and `wanted` are both given, or the number of processes that
            `accelerate launch` should start is unknown.
    """
    launched = world() if world() > 1 else _processes_of_accelerate()
    if wanted is not None and launched is not None:
        raise UsageError(
            f"--processes {wanted} is given under a launcher of {launched} processes",
            hint="Use either --processes or the launcher.",
        )
    return launched or wanted or 1


def is_sharded(wanted: str | None) -> bool:
    """Return True if FSDP divides the base among the ranks.

    `--sharding fsdp` and `accelerate launch --use_fsdp` have the same effect.

    Args:
        wanted: the value of the option `--sharding`.
    """
    return wanted == "fsdp" or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def on_this_machine(processes: int) -> int:
    """Return how many of the `processes` training processes run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", processes)) if world() > 1 else processes


@low_spin_openmp()  # this function may be the first to import torch
def join_ranks() -> None:
    """Connect this rank to the other ranks."""
    import torch
    from torch import distributed

    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(local_rank())
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=WAIT)


def leave_ranks() -> None:
    """Disconnect this rank from the other ranks."""
    if _is_joined():
        from torch import distributed

        distributed.destroy_process_group()


@contextmanager
def leading() -> Iterator[None]:
    """Connect the ranks of a launcher, and run the block in rank 0.

    The other ranks wait in `follow_rank_0`. If the block ends without a training, `broadcast("")`
    ends the wait. Without a launcher, there are no other ranks, and only the block is run.

    Raises:
        UsageError: the rank of this process is not 0.
    """
    if world() == 1:
        yield
        return
    if not is_main():
        raise UsageError(
            f"a launcher has started {world()} processes of this command",
            hint="Use `--processes`, or launch skills/finetune/finetune_annotate.py.",
        )
    join_ranks()
    yield
    if _is_joined():
        broadcast("")
        leave_ranks()


def broadcast(text: str = "") -> str:
    """Send the text of rank 0 to all ranks; return this text in every rank."""
    if world() == 1:
        return text
    import torch
    from torch import distributed

    texts = [text]
    distributed.broadcast_object_list(texts, device=torch.device("cpu"))
    return texts[0]


def summed(*values: float) -> tuple[float, ...]:
    """Return the sum of each value over all ranks."""
    if world() == 1:
        return values
    import torch
    from torch import distributed

    sums = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(sums)
    return tuple(sums.tolist())


def any_of(flag: bool) -> bool:
    """Return True if the flag is set in at least one rank."""
    return summed(flag)[0] > 0


def barrier() -> None:
    """Wait until all ranks have called this function."""
    summed(0)


def _is_joined() -> bool:
    from torch import distributed

    return bool(distributed.is_initialized())


def _processes_of_accelerate() -> int | None:
    """Return the number of processes that `accelerate launch --cpu` was told to start, or None.

    The result is None if accelerate did not start this process on a CPU, or was told to start one
    process. Without MPI, accelerate starts one process even if it was told to start several. The
    requested number is not in the environment, so it is read from the command line of accelerate.

    Raises:
        UsageError: the command line does not contain the number.
    """
    found = os.environ
    if found.get("ACCELERATE_USE_CPU") != "True" or "MASTER_PORT" not in found:
        return None
    import psutil

    try:
        words = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        words = []
    number = re.search(r"--num[-_]processes[= ](\d+)", " ".join(words))
    if number is None:
        raise UsageError(
            "accelerate launch has started only one of several processes",
            hint="`--processes N` of /finetune or `torchrun` starts several processes on a CPU.",
        )
    return int(number[1])
