"""Training runs over a tiny base: prepared rows, and a run over them.

`python finetune_training.py BASE OUT CHANGES DYING` trains in a process of its own that ends itself
 by SIGKILL: DYING is "step:N" for the begin of a step, or "save:N" for when the files of a
checkpoint are written and not yet sealed; CHANGES are those of `work_in`, as JSON. Under torchrun,
the last rank does so. With "resume" or "no" as DYING, it resumes, or trains to the end.
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from harness.api.skill import Call
from harness.runs.run_log import Run
from harness.terminal.console import Screen
from harness.testing import FakeModel, fake_models, fake_settings
from skills.finetune import ranks
from skills.finetune.model.bases import open_base
from skills.finetune.plugin import Finetune
from skills.finetune.recipe import Recipe, overridden
from skills.finetune.run_folder import RunDir, StageContext
from skills.finetune.training.callbacks import TrainingCallbacks
from skills.finetune.training.processes import follow_rank_0
from skills.finetune.training.train import train
from skills.nanda.framework import nanda

END = 2
"""The end token of SmolLM2."""
SMALL: Mapping[str, Any] = {
    "quantization.compute": "float32",
    "quantization.kind": "none",
    "adapter.r": 4,
    "adapter.dropout": 0.1,
    "adapter.targets": "all-linear",
    "training.batch": 2,
    "training.accumulation": 2,
    "training.epochs": 2,
    "training.learning_rate": 1e-2,
    "training.checkpointing": False,
    "training.max_length": 64,
    "training.save_steps": 2,
    "training.eval_steps": 2,
    "training.log_steps": 1,
}
"""Ten rows give five batches and three steps per epoch, the last with one batch; six steps."""


def work_in(
    folder: Path,
    base: Path,
    changes: Mapping[str, Any] | None = None,
    err: Any = None,
    processes: int | None = None,
    sharding: Literal["fsdp"] | None = None,
    resume: Path | bool | None = None,
) -> StageContext:
    """Return a run in `folder` with the settings of SMALL, overridden by `changes`."""
    recipe = overridden(Recipe(), {**SMALL, "base": str(base), **(changes or {})})
    out = RunDir.of(folder, recipe)
    out.make()
    call = Call(
        text="",
        options=Finetune.Options(
            processes=processes,
            sharding=sharding,
            resume=resume is True,
            checkpoint=resume if isinstance(resume, Path) else None,
        ),
        models=fake_models(FakeModel()),
        screen=Screen(io.StringIO(), err or io.StringIO()),
        log=Run(),
        settings=fake_settings(folder),
    )
    return StageContext(call, recipe, out, nanda())


def rows_of(number: int, seed: int = 0, longest: int = 40) -> list[dict[str, Any]]:
    """Return invented rows as `prepare` writes them."""
    chance = random.Random(seed)
    rows = []
    for place in range(number):
        length = chance.randint(8, longest)
        rows.append(
            {
                "id": f"row-{place}",
                "source": "gold",
                "weight": (1.0, 0.5)[place % 2],
                "input_ids": [*(chance.randrange(10, 900) for _ in range(length - 1)), END],
                "completion_start": chance.randint(2, length - 2),
            }
        )
    return rows


def prepared_in(
    context: StageContext, rows: Sequence[Mapping[str, Any]], dev: Sequence[Any] = ()
) -> StageContext:
    """Return the run with these rows prepared."""
    folder = context.run_dir.prepared
    folder.mkdir(parents=True, exist_ok=True)
    for name, kept in (("train", rows), ("dev", dev)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    base = open_base(context)
    facts = {
        "base": base.name,
        "base_digest": base.digest,
        "tokenizer_sha256": "a" * 64,
        "template_sha256": "b" * 64,
        "eos_token_id": END,
        "pad_token_id": END,
    }
    (folder / "prepared.json").write_text(json.dumps(facts))
    return context


def run_in(
    folder: Path,
    base: Path,
    changes: Mapping[str, Any] | None = None,
    resume: Path | bool | None = None,
    dev: int = 3,
    processes: int | None = None,
    sharding: Literal["fsdp"] | None = None,
) -> StageContext:
    """Train on ten rows in `folder`, and return the run."""
    import torch

    torch.set_num_threads(1)  # several threads would wait for each other on busy cores
    context = work_in(folder, base, changes, None, processes, sharding, resume)
    prepared_in(context, rows_of(10), rows_of(dev, seed=1))
    context.run_dir.forget("train")  # otherwise, the same inputs would not be trained again
    train(context)
    return context


def patched_at(hook: str, step: int, act: Callable[[], object]) -> None:
    """Run a function before a callback of the trainer, at one step."""
    original = getattr(TrainingCallbacks, hook)

    def patched(self: TrainingCallbacks, args: Any, state: Any, control: Any, **more: Any) -> Any:
        if state.global_step == step:
            act()
        return original(self, args, state, control, **more)

    setattr(TrainingCallbacks, hook, patched)


def messages_of(context: StageContext) -> str:
    """Return the messages of a run."""
    assert isinstance(context.call.screen.err, io.StringIO)
    return context.call.screen.err.getvalue()


if __name__ == "__main__":
    base, out, changes, dying = sys.argv[1:]
    where, _, step = dying.partition(":")
    if step and ranks.rank() == ranks.world() - 1:
        hook = {"step": "on_step_begin", "save": "on_save"}[where]
        patched_at(hook, int(step), lambda: os.kill(os.getpid(), signal.SIGKILL))
    if ranks.is_main():
        with ranks.leading():
            run_in(Path(out), Path(base), json.loads(changes), resume=dying == "resume")
    else:
        follow_rank_0()
