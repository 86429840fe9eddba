"""A rank of a training that does not train: it fails, or reports a step and waits.

torchrun --nproc-per-node 2 -m stub_rank        # STUB is fail or wait
"""

from __future__ import annotations

import os
import sys
import time
from typing import IO

from harness.errors import SkillFailed
from skills.finetune.training import processes

ERROR = SkillFailed("the loss is not finite at step 1", hint="Use a lower learning rate.")


def follow() -> None:
    if os.environ["STUB"] == "fail":
        raise ERROR
    time.sleep(600)


def lead(out: IO[str]) -> None:
    if os.environ["STUB"] == "wait":
        processes._report(out, step=1, loss=1.0, tokens=1)
    follow()


if __name__ == "__main__":
    print("what a library prints on stdout", flush=True)
    processes._lead, processes.follow_rank_0 = lead, follow
    sys.exit(processes.main())
