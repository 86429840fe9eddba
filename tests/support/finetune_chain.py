"""The whole of /finetune on SmolLM2-135M: rows that are soon learnt, and the lines of a run.

What is learnt is always the same short annotation, so that a few steps are enough to have it said
without any grammar; the abstracts are invented.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import settings
from harness.cli.app import App
from harness.runs.runner import Frontend, Outcome
from harness.settings import CODE_ROOT
from harness.terminal.console import Screen
from harness.testing import fake_settings
from skills.finetune.deploy.registry_file import file_of
from skills.finetune.run.run_dir import MANIFEST
from skills.finetune.training.metrics import NAME as METRICS
from skills.finetune.training.metrics import Metrics

LEARNT = {
    "claim": "Ledgers help.",
    "evidence": "A study shows it.",
    "method": "Calls are replayed.",
    "scope": "Tools alone.",
    "limitation": "Not stated.",
    "comparison": "Plain logs are slower.",
    "implication": "Replay belongs in frameworks.",
    "novelty": "Steps are replayed.",
}
THINGS = ("agents", "parsers", "solvers", "planners", "crawlers", "linters", "routers")
FAULTS = ("loops", "lost calls")
ABSTRACT = (
    "We look at clocks that fail by drift. A ledger of clocks records what they do, and a study of "
    "drift shows who was right about it. Clocks are everywhere, and few are looked at while they "
    "run; of those that are, most are right."
)
"""A paper that is none of the rows."""
DEV_ROWS, BATCH, EPOCHS = 2, 2, 2
STEPS = EPOCHS * math.ceil((len(THINGS) * len(FAULTS) - DEV_ROWS) / BATCH)
OPTIONS = (
    f"--preset smollm2-cpu --batch {BATCH} --epochs {EPOCHS} --learning-rate 4e-3 "
    "--set training.warmup=0 --set training.save_steps=2 --set training.eval_steps=2 "
    "--set training.log_steps=1 --set training.keep=1 --set export.num_predict=160"
)
NOBODY = "http://127.0.0.1:9"
"""Where no Ollama answers."""
SCRIPT = CODE_ROOT / "skills" / "finetune" / "finetune_annotate.py"


def as_learnt(record: Mapping[str, Any]) -> int:
    """How many moves of an annotation are to the letter what all rows say, which nobody else says.

    Of all eight that is too much to ask: other processors round otherwise.
    """
    return sum(record[name] == said for name, said in LEARNT.items() if said != "Not stated.")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes in one: several wait for each other where the cores are busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class Chain:
    """A user with folders of their own, but for the cache, where the base is unpacked already."""

    folder: Path
    app: App = field(init=False)

    def __post_init__(self) -> None:
        own = replace(fake_settings(self.folder), cache_dir=settings.from_environment().cache_dir)
        self.app = App(own, Frontend("test"), Screen(io.StringIO(), io.StringIO()))

    @property
    def data(self) -> Path:
        return self.folder / "train.jsonl"

    @property
    def dev(self) -> Path:
        return self.folder / "dev.jsonl"

    @property
    def out(self) -> Path:
        return self.folder / "ft"

    @property
    def registered(self) -> Path:
        """The file of the registered model."""
        return file_of(self.app.settings.user_registry, "nanda-annotator")

    def run(self, line: str) -> tuple[Outcome, str]:
        """Dispatch a line; what came of it, and what it said on stderr."""
        self.app.screen.err = io.StringIO()
        outcome = self.app.dispatch(line)
        return outcome, self.app.screen.err.getvalue()

    def stages(self, line: str) -> tuple[dict[str, Any], str]:
        """Dispatch a run of stages; their facts, and what it said."""
        outcome, said = self.run(line)
        assert outcome.result.code == 0, said
        found: dict[str, Any] = outcome.result.data["stages"]
        return found, said

    def steps(self) -> list[int]:
        """The steps that metrics.jsonl has a loss of."""
        return [line["step"] for line in Metrics(self.out / METRICS).read() if "loss" in line]

    def manifest(self, stage: str) -> dict[str, Any]:
        """The entry of a stage in the folder's manifest."""
        entry: dict[str, Any] = json.loads((self.out / MANIFEST).read_text())["stages"][stage]
        return entry

    @property
    def begin(self) -> str:
        """The line that begins the run."""
        return f'/finetune "{self.data}" --dev "{self.dev}" {OPTIONS} --out "{self.out}"'

    def make_data(self) -> None:
        """The data set and the rows that measure, by /finetune dataset."""
        rows = [_row(thing, fault) for thing in THINGS for fault in FAULTS]
        for path, some in ((self.dev, rows[:DEV_ROWS]), (self.data, rows[DEV_ROWS:])):
            table = path.with_suffix(".csv")
            with table.open("w", newline="") as file:
                writer = csv.DictWriter(file, [*rows[0]])
                writer.writeheader()
                writer.writerows(some)
            # They are much alike, and each is a paper of its own here.
            outcome, _ = self.run(
                f'/finetune dataset --gold "{table}" --max-similarity 1 save to "{path}"'
            )
            assert outcome.result.summary["rows"] == len(some)

    def kill_at(self, checkpoint: str, seconds: float = 300) -> str:
        """Train by the lesson's command in a process of its own, and kill that once it has saved.

        Returns: what the process said.
        """
        words = [str(self.data), "--dev", str(self.dev), "--out", str(self.out), *OPTIONS.split()]
        own = self.app.settings
        environment = {
            **os.environ,
            "HARNESS_DATA": str(own.data_dir),
            "HARNESS_CONFIG": str(own.config_dir),
            "OLLAMA_HOST": NOBODY,
            "OMP_NUM_THREADS": "1",  # as `one_thread`
        }
        log = self.folder / "killed.log"
        with (
            log.open("wb") as file,
            subprocess.Popen(
                [sys.executable, SCRIPT, *words],
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                cwd=self.folder,
            ) as process,
        ):
            try:
                given_up = time.monotonic() + seconds
                while not (self.out / checkpoint).is_dir():
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < given_up, log.read_text()
                    time.sleep(0.05)
            finally:
                process.kill()
        assert process.returncode == -signal.SIGKILL
        return log.read_text()


def _row(thing: str, fault: str) -> dict[str, str]:
    """An annotated paper."""
    abstract = (
        f"We look at {thing} that fail by {fault}. A ledger of {thing} records what they do, and a "
        f"study of {fault} shows who was right about it."
    )
    name = f"{thing}-{fault}".replace(" ", "-")
    return {"paper_id": name, "title": name, "abstract": abstract, **LEARNT}
