"""A complete /finetune run with SmolLM2-135M on rows that are learnt quickly.

All rows have the same short annotation, so that a few steps are enough to generate it without a
grammar; the abstracts are invented.
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
from harness.runs.frontend import Frontend, Outcome
from harness.settings import CODE_ROOT
from harness.terminal.console import Screen
from harness.testing import fake_settings
from skills.finetune.export.register import file_of
from skills.finetune.run_folder import MANIFEST
from skills.finetune.training.callbacks import Metrics
from skills.finetune.training.checkpoints import METRICS

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
    "drift shows who was right about it. Calls of tools are replayed in steps, and plain logs are "
    "slower. Clocks are everywhere, and few are looked at while they run."
)
"""A paper that is not in the rows."""
DEV_ROWS, BATCH, EPOCHS = 2, 2, 2
STEPS = EPOCHS * math.ceil((len(THINGS) * len(FAULTS) - DEV_ROWS) / BATCH)
OPTIONS = (
    f"--preset smollm2-cpu --batch {BATCH} --epochs {EPOCHS} --learning-rate 4e-3 "
    "--set training.warmup=0 --set training.save_steps=2 --set training.eval_steps=6 "
    "--set training.log_steps=1 --set training.keep=1 --set export.num_predict=160"
)
NOBODY = "http://127.0.0.1:9"
"""An address without an Ollama server."""
SCRIPT = CODE_ROOT / "skills" / "finetune" / "finetune_annotate.py"


def as_learnt(record: Mapping[str, Any]) -> int:
    """Return how many moves of an annotation equal those of the rows.

    Not all eight have to: results differ in rounding between processors.
    """
    return sum(record[name] == text for name, text in LEARNT.items() if text != "Not stated.")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread: several wait for each other on busy cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class Chain:
    """A user with separate folders, except for the cache, which has the unpacked base."""

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
        return file_of(self.app.settings.user_registry, "ft")

    def run(self, line: str) -> tuple[Outcome, str]:
        """Dispatch a line; return its outcome and its messages."""
        self.app.screen.err = io.StringIO()
        outcome = self.app.dispatch(line)
        return outcome, self.app.screen.err.getvalue()

    def stages(self, line: str) -> tuple[dict[str, Any], str]:
        """Dispatch a line that performs stages; return their facts and the messages."""
        outcome, messages = self.run(line)
        assert outcome.result.code == 0, messages
        found: dict[str, Any] = outcome.result.data["stages"]
        return found, messages

    def steps(self) -> list[int]:
        """Return the steps with a loss in metrics.jsonl."""
        return [line["step"] for line in Metrics(self.out / METRICS).read() if "loss" in line]

    def manifest(self, stage: str) -> dict[str, Any]:
        """Return the entry of a stage in the manifest."""
        entry: dict[str, Any] = json.loads((self.out / MANIFEST).read_text())["stages"][stage]
        return entry

    @property
    def begin(self) -> str:
        """The line that starts the run."""
        return f'/finetune "{self.data}" --dev "{self.dev}" {OPTIONS} --out "{self.out}"'

    def make_data(self) -> None:
        """Write the data set and the dev rows with /finetune dataset."""
        rows = [_row(thing, fault) for thing in THINGS for fault in FAULTS]
        for path, some in ((self.dev, rows[:DEV_ROWS]), (self.data, rows[DEV_ROWS:])):
            table = path.with_suffix(".csv")
            with table.open("w", newline="") as file:
                writer = csv.DictWriter(file, [*rows[0]])
                writer.writeheader()
                writer.writerows(some)
            # The abstracts are similar, but each counts as a separate paper here.
            outcome, _ = self.run(
                f'/finetune dataset --gold "{table}" --max-similarity 1 save to "{path}"'
            )
            assert outcome.result.summary["rows"] == len(some)

    def kill_at(self, checkpoint: str, seconds: float = 300) -> str:
        """Train with the lesson's script in another process, and kill it after a checkpoint.

        Returns: the output of the process.
        """
        words = [str(self.data), "--dev", str(self.dev), "--out", str(self.out), *OPTIONS.split()]
        own = self.app.settings
        environment = {
            **os.environ,
            "HARNESS_DATA": str(own.data_dir),
            "HARNESS_CONFIG": str(own.config_dir),
            "OLLAMA_HOST": NOBODY,
            "OMP_NUM_THREADS": "1",  # as the fixture `one_thread` does
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
    """Return an annotated paper."""
    abstract = (
        f"We look at {thing} that fail by {fault}. A ledger of {thing} records what they do, and a "
        f"study of {fault} shows who was right about it."
    )
    name = f"{thing}-{fault}".replace(" ", "-")
    return {"paper_id": name, "title": name, "abstract": abstract, **LEARNT}
