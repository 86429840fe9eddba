"""Measure the tokens and the time that /curate saves by prompts that begin with the same text.

    python bench/curate.py [--papers 12] [--block 4] [--table FILE] [--model NAME]

(a) paper by paper, as /curate does: five personas judge a paper one after another in one slot,
    which keeps the text of the paper from prompt to prompt
(b) persona by persona: the same requests, in an order that reuses no text of a paper

The instructions at the beginning of all prompts are reused in both orders. The orders alternate by
block of papers, so that changes of the machine's speed affect both. The time to load the model is
not counted.

Prints for each order the number of prompt tokens that were sent, the number of prompt tokens that
the engine evaluated, the generated tokens, and the seconds. Targets: (a) evaluates at most 35% of
the sent tokens, and five prompts in (a) take less time than 2.5 prompts in (b).
"""

from __future__ import annotations

import argparse
import io
import itertools
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from harness import settings as settings_module  # noqa: E402
from harness.cli.app import App  # noqa: E402
from harness.models.pool import (  # noqa: E402
    Choice,
    Models,
    ServedModel,
)
from harness.runs.frontend import Frontend  # noqa: E402
from harness.terminal.console import Screen  # noqa: E402
from skills.corpus.db.connection import open_corpus  # noqa: E402
from skills.corpus.tables.columns import Columns  # noqa: E402
from skills.curate import items, panel  # noqa: E402
from skills.curate.curator import Judge, Vote  # noqa: E402
from skills.curate.items import Item  # noqa: E402
from skills.curate.panel import Persona, choose_form  # noqa: E402
from skills.nanda.framework import nanda  # noqa: E402

TABLE = ROOT.parent / "shared" / "data" / "gold_train.csv"
PERSONAS = 5
MOST_TOKENS, MOST_TIME = 0.35, 2.5


@dataclass(slots=True)
class Order:
    """The totals of the requests in one order, (a) or (b)."""

    name: str
    sent: int = 0
    evaluated: int = 0
    generated: int = 0
    requests: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    def add(self, votes: Iterable[Vote], generated: int, seconds: float, cpu: float) -> None:
        for vote in votes:
            self.sent += vote.prompt_tokens
            self.evaluated += vote.prompt_tokens - vote.cached_tokens
            self.requests += 1
        self.generated += generated
        self.seconds += seconds
        self.cpu += cpu


def main() -> None:
    parser = argparse.ArgumentParser(
        description="measure the savings by a shared beginning of prompts"
    )
    parser.add_argument("--papers", type=int, default=12)
    parser.add_argument("--block", type=int, default=4)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--model", help="a model of the registry to use instead of the judge")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        judge, found = opened(Path(folder), options)
        ways = Order("(a) paper by paper"), Order("(b) persona by persona")
        for number, start in enumerate(range(0, len(found), options.block)):
            block = found[start : start + options.block]
            for way in ways if number % 2 == 0 else reversed(ways):
                before = counts(judge)
                votes = voted(judge, block, by_paper=way is ways[0])
                now = counts(judge)
                way.add(votes, now[0] - before[0], now[1] - before[1], now[2] - before[2])
            print(f"{start + len(block)} papers", *(f"{w.seconds:.0f} s" for w in ways), flush=True)
    show(ways[0], ways[1])


def opened(folder: Path, options: argparse.Namespace) -> tuple[Judge, list[Item]]:
    """Return a loaded judge with one slot, and annotations that pass the gates."""
    settings = replace(settings_module.from_environment(), data_dir=folder)
    app = App(settings, Frontend("test"), Screen(io.StringIO(), io.StringIO()))
    models = Models(app.pool, Choice(options.model))
    model: ServedModel = models.run("judge", lambda model: model)
    with open_corpus(folder / "corpus.db") as db:
        source = items.from_table(db, options.table, Columns(), nanda(), None)
    found = list(itertools.islice((i for i in source.items if not i.findings), options.papers))
    form = choose_form(panel.shipped(), model, nanda(), found)
    served = model.resolution.chosen.serve.label
    print(f"{model.resolution.resolved}, {served}; {form}")
    return Judge(panel.shipped(), model, nanda(), form), found


def counts(judge: Judge) -> tuple[int, float, float]:
    """Return the number of tokens generated so far, the wall clock and the CPU clock."""
    return judge.model.usage.completion_tokens, time.perf_counter(), time.process_time()


def voted(judge: Judge, block: list[Item], *, by_paper: bool) -> list[Vote]:
    """Return the votes of all personas on a block of papers, in order (a) or (b)."""
    if by_paper:
        return [vote for item in block for vote in judge.votes(item, 0)]
    personas: tuple[Persona, ...] = judge.panel.personas
    return [judge.vote(item, persona, 0) for persona in personas for item in block]


def show(shared: Order, separate: Order) -> None:
    head = (
        f"{'sent':>9}{'evaluated':>11}{'share':>7}{'generated':>11}{'seconds':>9}{'a prompt':>10}"
    )
    print(f"\n{'':24}{head}")
    for way in (shared, separate):
        each = way.seconds / way.requests
        print(
            f"{way.name:24}{way.sent:>9,}{way.evaluated:>11,}{way.evaluated / way.sent:>7.0%}"
            f"{way.generated:>11,}{way.seconds:>9.1f}{each:>9.2f}s"
        )
    tokens = shared.evaluated / separate.sent
    prompts = PERSONAS * shared.seconds / separate.seconds
    by_cpu = PERSONAS * shared.cpu / separate.cpu
    print(f"\ntokens evaluated of five separate prompts: {tokens:.0%} (at most {MOST_TOKENS:.0%})")
    print(f"time of a panel in separate prompts: {prompts:.2f} (less than {MOST_TIME})")
    print(f"the same by this process's CPU time, which other work disturbs less: {by_cpu:.2f}")


if __name__ == "__main__":
    main()
