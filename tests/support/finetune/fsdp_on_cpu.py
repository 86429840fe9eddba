"""FSDP on CPUs: the harness and accelerate refuse it there, and torch computes it.

    torchrun --nproc-per-node 2 fsdp_on_cpu.py BASE OUT CHANGES RESUME

trains on ten rows without dev rows: on CPUs, bitsandbytes packs the weights in another way when it
evaluates, which those that FSDP gathers do not survive. CHANGES are those of `work_in`, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from finetune_training import run_in

from skills.finetune import ranks
from skills.finetune.model import resources
from skills.finetune.training.processes import follow_rank_0


def allow() -> None:
    """Lift both refusals."""
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    original = AcceleratorState.__init__

    def with_plugin(self: Any, *args: Any, fsdp_plugin: Any = None, **more: Any) -> None:
        original(self, *args, fsdp_plugin=fsdp_plugin, **more)
        if fsdp_plugin is not None:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = with_plugin
    resources.check_processes = lambda recipe, machine: None


if __name__ == "__main__":
    base, out, changes, resume = sys.argv[1:]
    allow()
    if ranks.is_main():
        with ranks.leading():
            settings = json.loads(changes)
            run_in(Path(out), Path(base), settings, resume == "resume", dev=0, sharding="fsdp")
    else:
        follow_rank_0()
