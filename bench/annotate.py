"""Compare the job runner with the bare engine: same model, same requests, one run.

    python bench/annotate.py [--rows 64] [--block 16] [--slots N] [--table FILE]
    python bench/annotate.py --efforts
    python bench/annotate.py --server URL
    python bench/annotate.py --memory

(a) the job: /annotate TABLE save to FILE, through the application, with its database
(b) a loop that keeps as many requests of the same engine running, and writes nothing
(c) the same requests, one after another
(b) and (c) repeat the requests of (a), repairs included. The three alternate by block of rows, so
that a drift in the speed of the machine affects all of them. Loading the model is not counted.
Prints papers per minute, completion tokens per second, the ratio to (b), the overhead of (a) per
row, and the peak memory.

--efforts compares jobs of the same rows, in turn by block: the model's own words, and quotes with
--effort fast and best. The share of prompt tokens that the engine evaluated, instead of finding
them in its cache, is printed for each.

--server compares the embedded engine with an OpenAI-compatible server at URL (".../v1") that has
the same weights, such as llama.cpp's llama-server built for this CPU: the requests of eight rows
through both backends, in as many threads as the engine has slots, 96 tokens each, with and without
the JSON schema.

--memory runs jobs of 100, 1,000 and 10,000 invented rows in separate processes, with a model that
answers at once, and prints the peak memory and the time of each.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from harness import settings as settings_module  # noqa: E402
from harness.cli.app import App  # noqa: E402
from harness.models.backends.base import OnText, Reply, Request  # noqa: E402
from harness.models.backends.llamacpp import LlamaCppModel, _body  # noqa: E402
from harness.models.backends.openai import OpenAIBackend  # noqa: E402
from harness.models.pool import Models  # noqa: E402
from harness.models.schema import ServeEntry  # noqa: E402
from harness.runs.frontend import Frontend  # noqa: E402
from harness.terminal.console import Screen  # noqa: E402
from harness.testing import FakeModel, fake_app  # noqa: E402
from skills.nanda.framework import nanda  # noqa: E402

TABLE = ROOT.parent / "shared" / "data" / "gold_train.csv"
SIZES = (100, 1_000, 10_000)


@dataclass(slots=True)
class Arm:
    """The totals of one way to do the work."""

    name: str
    seconds: float = 0.0
    rows: int = 0
    tokens: int = 0
    prompt: int = 0
    cached: int = 0

    def add(self, seconds: float, rows: int, tokens: int) -> None:
        self.seconds += seconds
        self.rows += rows
        self.tokens += tokens


def main() -> None:
    parser = argparse.ArgumentParser(description="compare the job runner with the bare engine")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--block", type=int, default=16)
    parser.add_argument("--slots", type=int)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--efforts", action="store_true")
    parser.add_argument("--server")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--fake", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fake:
        run_fake(options.fake)
    elif options.memory:
        compare_memory()
    elif options.efforts:
        compare_efforts(options)
    elif options.server:
        compare_server(options)
    else:
        compare_speed(options)


def compare_speed(options: argparse.Namespace) -> None:
    with options.table.open(newline="", encoding="utf-8") as file:
        rows = list(itertools.islice(csv.DictReader(file), options.rows))
    arms = [Arm("(a) job"), Arm("(b) bare loop"), Arm("(c) one after another")]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.slots)
        for number, start in enumerate(range(0, len(rows), options.block)):
            block = rows[start : start + options.block]
            bench.sent.clear()
            ways = [
                lambda block=block: bench.job(block),
                lambda: bench.bare(bench.slots),
                lambda: bench.bare(1),
            ]
            for way in (0, 1, 2) if number % 2 == 0 else (0, 2, 1):
                started = time.perf_counter()
                tokens = ways[way]()
                arms[way].add(time.perf_counter() - started, len(block), tokens)
            print(f"{start + len(block)} rows", *(f"{a.seconds:.0f} s" for a in arms), flush=True)
        show(arms, bench.slots)
        bench.app.close()


def compare_efforts(options: argparse.Namespace) -> None:
    with options.table.open(newline="", encoding="utf-8") as file:
        rows = list(itertools.islice(csv.DictReader(file), options.rows))
    ways = {
        "own words": "--wording abstractive ",
        "quotes, fast": "--wording extractive ",
        "quotes, best": "--wording extractive --effort best ",
    }
    arms = [Arm(name) for name in ways]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.slots)
        for number, start in enumerate(range(0, len(rows), options.block)):
            block = rows[start : start + options.block]
            for arm in arms if number % 2 == 0 else arms[::-1]:
                bench.replies.clear()
                started = time.perf_counter()
                tokens = bench.job(block, ways[arm.name])
                arm.add(time.perf_counter() - started, len(block), tokens)
                arm.prompt += sum(reply.prompt_tokens for reply in bench.replies)
                arm.cached += sum(reply.cached_tokens for reply in bench.replies)
            print(f"{start + len(block)} rows", *(f"{a.seconds:.0f} s" for a in arms), flush=True)
        bench.app.close()
    print(f"\n{'':<16}{'papers/min':>12}{'ratio':>8}{'tokens':>9}{'prompt':>9}{'evaluated':>11}")
    for arm in arms:
        rate = arm.rows / arm.seconds
        print(
            f"{arm.name:<16}{rate * 60:>12.2f}{rate * arms[0].seconds / arms[0].rows:>8.2f}"
            f"{arm.tokens:>9}{arm.prompt:>9}{(arm.prompt - arm.cached) / arm.prompt:>11.1%}"
        )


class Bench:
    """The application with a loaded model, in a temporary folder."""

    def __init__(self, folder: Path, slots: int | None) -> None:
        settings = replace(
            settings_module.from_environment(),
            data_dir=folder / "data",
            config_dir=folder / "config",
            user_registry=folder / "config" / "registry.yaml",
            registry_required=False,
        )
        self.folder = folder
        self.app = App(settings, Frontend("test"), Screen(io.StringIO(), io.StringIO()))
        models = Models(self.app.pool)
        served = models.run("annotate", lambda model: model, slots=slots)
        assert isinstance(served.model, LlamaCppModel), "not the embedded engine"
        self.model, self.slots = served.model, served.slots
        print(f"{served.resolution.resolved}, {served.resolution.chosen.serve.label}, ", end="")
        self.sent: list[Request] = []
        self.replies: list[Reply] = []
        self.workers = f"--workers {self.slots} "
        print(f"{self.slots} slots")

    def requests(self, block: list[dict[str, str]]) -> list[Request]:
        """Return the requests of /annotate for these rows, without repairs."""
        from skills.annotate.generate import prepare
        from skills.nanda.paper import Paper

        models = Models(self.app.pool)
        papers = [Paper("id", str(i), "", row["abstract"]) for i, row in enumerate(block)]
        return models.run(
            "annotate",
            lambda model: [prepare(paper, nanda(), model).request for paper in papers],
        )

    def job(self, block: list[dict[str, str]], given: str = "") -> int:
        """Annotate a block into a fresh database; returns the completion tokens.

        Args:
            given: options of /annotate.
        """
        table, target = self.folder / "block.csv", self.folder / "block.jsonl"
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(block[0]))
            writer.writeheader()
            writer.writerows(block)
        generate = self.model.generate

        def recorded(request: Request, *others: Any) -> Reply:
            self.sent.append(request)
            reply = generate(request, *others)
            self.replies.append(reply)
            return reply

        with (
            tempfile.TemporaryDirectory() as corpus,
            mock.patch.object(self.model, "generate", recorded),
        ):
            how = f"{self.workers}{given}--db {corpus}/corpus.db --force"
            outcome = self.app.dispatch(f"/annotate {table} {how} save to {target}")
        summary = outcome.result.summary
        assert summary is not None
        if summary["failed"]:
            print(f"  {summary['errors']}")
        return int(summary["tokens"]["completion"])

    def bare(self, slots: int) -> int:
        """Send the requests of the job directly to the engine, from `slots` threads."""
        server = self.model._running()

        def ask(request: Request) -> int:
            body = {**_body(request), "stream": False}
            for key in ("stream_options", "return_progress"):
                body.pop(key)
            return int(server.handle_chat_completions(body)["usage"]["completion_tokens"])

        with ThreadPoolExecutor(slots) as executor:
            return sum(executor.map(ask, self.sent))


def compare_server(options: argparse.Namespace) -> None:
    with options.table.open(newline="", encoding="utf-8") as file:
        rows = list(itertools.islice(csv.DictReader(file), 8))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.slots)
        entry = ServeEntry(backend="openai", model="default", url=options.server)
        models = {"embedded": bench.model, "server": OpenAIBackend().load(entry, bench.slots)}
        print(f"{'':<16}{'embedded':>14}{'server':>14}{'ratio':>8}   tokens/s, twice in turn")
        for name, held in (("under a schema", True), ("without", False)):
            requests = [
                replace(request, max_tokens=96, json_schema=request.json_schema if held else None)
                for request in bench.requests(rows)
            ]
            rates = {served: [0, 0.0] for served in models}
            for served in ("embedded", "server", "server", "embedded"):
                started = time.perf_counter()
                with ThreadPoolExecutor(bench.slots) as executor:
                    replies = list(executor.map(models[served].generate, requests))
                rates[served][0] += sum(reply.completion_tokens for reply in replies)
                rates[served][1] += time.perf_counter() - started
            own, other = (tokens / seconds for tokens, seconds in rates.values())
            print(f"{name:<16}{own:>14.1f}{other:>14.1f}{other / own:>8.2f}", flush=True)
        bench.app.close()


def show(arms: list[Arm], slots: int) -> None:
    job, bare = arms[:2]
    print(f"\n{'':<24}{'papers/min':>12}{'tokens/s':>10}{'tokens':>9}{'ratio to (b)':>14}")
    for arm in arms:
        ratio = (arm.rows / arm.seconds) / (bare.rows / bare.seconds)
        print(
            f"{arm.name:<24}{arm.rows / arm.seconds * 60:>12.2f}{arm.tokens / arm.seconds:>10.1f}"
            f"{arm.tokens:>9}{ratio:>14.3f}"
        )
    over = (job.seconds - bare.seconds) / job.rows
    print(f"(a) takes {over * 1000:+.0f} ms a row over (b), with {slots} slots")
    print(f"peak memory of this process: {peak():.0f} MB")


class Instant(FakeModel):
    """Answers at once with the words of the abstract."""

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        words = request.messages[1].content.split()
        moves = {name: " ".join(words[i : i + 12]) for i, name in enumerate(nanda().names)}
        return Reply(json.dumps(moves), "stop", len(words), 100, 0.0)


def run_fake(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "papers.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["arxiv_id", "title", "abstract"])
            for number in range(rows):
                text = " ".join(f"word{number * 7 % 1000 + i} of study {number}" for i in range(40))
                writer.writerow([f"{number}.x", f"Paper {number}", f"{text}."])
        app = fake_app(Path(folder), Instant(slots=4))
        started = time.perf_counter()
        app.dispatch(f"/annotate {table} save to {folder}/out.jsonl -o {folder}/out.csv")
        seconds = time.perf_counter() - started
        stderr: Any = app.screen.err
        assert f"{rows:,} done" in stderr.getvalue(), stderr.getvalue()
        print(json.dumps({"rows": rows, "MB": peak(), "seconds": seconds}))


def compare_memory() -> None:
    print(f"{'rows':>8}{'peak memory':>14}{'time':>10}{'a row':>10}")
    for rows in SIZES:
        command = [sys.executable, __file__, "--fake", str(rows)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        seconds = found["seconds"]
        print(f"{rows:>8,}{found['MB']:>11.1f} MB{seconds:>8.1f} s{seconds / rows * 1000:>7.1f} ms")


def peak() -> float:
    """Return the peak resident memory in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
