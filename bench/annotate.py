"""Compare the job runner with the bare engine, with the same model and requests.

    python bench/annotate.py [--rows 64] [--block 16] [--slots N] [--table FILE]
    python bench/annotate.py --server URL
    python bench/annotate.py --memory [ROWS ...]
    python bench/annotate.py --on ray

(a) the job: /annotate TABLE save to FILE, run by the application, with its database
(b) a loop that sends the requests to the same engine, one per slot at a time, and writes nothing
(c) a loop that sends the same requests one after another

(b) and (c) repeat the requests of (a), including repairs. The three alternate by block of rows, so
that changes of the machine's speed affect all of them. The time to load the model is not counted.
Prints papers per minute, papers per minute of CPU time of one core, completion tokens per second,
the ratio to (b), the overhead of (a) per row, and the peak memory.

--server compares the embedded engine with an OpenAI-compatible server at URL (".../v1") that serves
the same weights, such as llama.cpp's llama-server built for this CPU. Both answer the requests of
eight rows with 96 tokens each, with and without the JSON schema. As many threads as the engine has
slots send the requests.

--on ray compares jobs in this process with jobs on one Ray actor on this machine. Both annotate the
same rows, alternate by block, and have the same slots and threads. The CPU time of a job includes
this process and all processes of Ray. Starting Ray and loading the models are not counted.

--memory runs bench/job_memory.py with jobs of ROWS invented rows, by default 1,000, 10,000 and
100,000 rows.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from harness import settings as settings_module  # noqa: E402
from harness.cli.app import App  # noqa: E402
from harness.models.backend import Reply, Request  # noqa: E402
from harness.models.backends.openai import OpenAIBackend  # noqa: E402
from harness.models.pool import (  # noqa: E402
    Choice,
    ModelPool,
    Models,
)
from harness.models.registry import ServeEntry  # noqa: E402
from harness.runs.frontend import Frontend  # noqa: E402
from harness.terminal.console import Screen  # noqa: E402
from skills.nanda.framework import nanda  # noqa: E402

TABLE = ROOT.parent / "shared" / "data" / "gold_train.csv"


@dataclass(slots=True)
class Arm:
    """The totals of one compared arm, such as "(a) job"."""

    name: str
    seconds: float = 0.0
    cpu: float = 0.0
    rows: int = 0
    tokens: int = 0

    def add(self, seconds: float, rows: int, tokens: int, cpu: float = 0.0) -> None:
        self.seconds += seconds
        self.cpu += cpu
        self.rows += rows
        self.tokens += tokens


def main() -> None:
    parser = argparse.ArgumentParser(description="compare the job runner with the bare engine")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--block", type=int, default=16)
    parser.add_argument("--slots", type=int)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--server")
    parser.add_argument("--memory", type=int, nargs="*", metavar="ROWS")
    parser.add_argument("--on", choices=["ray"])
    options = parser.parse_args()
    if options.memory is not None:
        script = Path(__file__).with_name("job_memory.py")
        subprocess.run([sys.executable, script, *map(str, options.memory)], check=True)
    elif options.on:
        compare_ray(options)
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
                started, used = time.perf_counter(), time.process_time()
                tokens = ways[way]()
                seconds, cpu = time.perf_counter() - started, time.process_time() - used
                arms[way].add(seconds, len(block), tokens, cpu)
            print(f"{start + len(block)} rows", *(f"{a.seconds:.0f} s" for a in arms), flush=True)
        show(arms, bench.slots)
        bench.app.close()


def compare_ray(options: argparse.Namespace) -> None:
    with options.table.open(newline="", encoding="utf-8") as file:
        rows = list(itertools.islice(csv.DictReader(file), options.rows))
    here, there = arms = [Arm("here"), Arm("on Ray")]
    resting = 0.0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.slots)
        with on_ray(bench) as pool:
            pools = {here.name: bench.app.pool, there.name: pool}
            for number, start in enumerate(range(0, len(rows), options.block)):
                block = rows[start : start + options.block]
                for arm in arms if number % 2 == 0 else arms[::-1]:
                    bench.app.models._pool = pools[arm.name]
                    started, mine, of_ray, own = time.perf_counter(), *cpu_seconds()
                    tokens = bench.job(block)
                    seconds, cpu = time.perf_counter() - started, cpu_seconds()
                    used = cpu[0] - mine + (cpu[1] - of_ray if arm is there else 0)
                    resting += cpu[2] - own if arm is there else 0
                    arm.add(seconds, len(block), tokens, used)
                print(
                    f"{start + len(block)} rows", *(f"{a.cpu:.0f} s CPU" for a in arms), flush=True
                )
            bench.app.models._pool = pools[here.name]
        bench.app.close()
    print(f"\n{'':<10}{'papers/min':>12}{'of CPU':>8}{'ratio':>8}{'tokens':>9}")
    for arm in arms:
        rate = arm.rows / arm.cpu
        print(
            f"{arm.name:<10}{arm.rows / arm.seconds * 60:>12.2f}{rate * 60:>8.2f}"
            f"{rate * here.cpu / here.rows:>8.3f}{arm.tokens:>9}"
        )
    over = (there.cpu - here.cpu) / here.rows
    print(f"Ray takes {over * 1000:+.0f} ms of CPU a row more, with {bench.slots} slots each;")
    print(f"its own processes, which also run at rest, {resting:.1f} s in {there.seconds:.0f} s")


@contextlib.contextmanager
def on_ray(bench: Bench) -> Iterator[ModelPool]:
    """Start Ray with one actor that has the model and slots of `bench`; yield its model pool."""
    from harness.models.cluster.address import Address, Placement
    from harness.models.cluster.executor import RayExecutor
    from harness.plugins.loader import node_backends

    registry = bench.app.registry
    placement = Placement(Address("own"), actors=1)
    executor = RayExecutor(placement, lambda: registry.files, node_backends, print, lambda: None)
    pool = ModelPool(registry, bench.app.pool.backends, executor=executor)
    try:
        Models(pool).run("annotate", lambda model: model, slots=bench.slots)
        yield pool
    finally:
        pool.close()
        executor.close()


def cpu_seconds() -> tuple[float, float, float]:
    """Return the CPU seconds of this process, of all processes of Ray, and of Ray's services.

    The processes of Ray are its services and its workers, which run the code of the harness.
    """
    import psutil

    of_ray = own = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            of_ray += times.user + times.system
            if not process.cmdline()[:1] or not process.cmdline()[0].startswith("ray::"):
                own += times.user + times.system
    return time.process_time(), of_ray, own


ADAPTER = "smollm2-135m-instruct + nanda-annotator-lora"
"""Name of the model that --server measures; a server can load the same weights."""


class Bench:
    """The application with a loaded model, in a temporary folder.

    Args:
        model: the model to use instead of the default model.
    """

    def __init__(self, folder: Path, slots: int | None, model: str | None = None) -> None:
        settings = replace(
            settings_module.from_environment(),
            data_dir=folder / "data",
            config_dir=folder / "config",
            user_registry=folder / "config" / "registry.yaml",
            registry_required=False,
        )
        self.folder = folder
        self.app = App(settings, Frontend("test"), Screen(io.StringIO(), io.StringIO()))
        self.models = Models(self.app.pool, Choice(model))
        served = self.models.run("annotate", lambda model: model, slots=slots)
        self.model, self.slots = served.model, served.slots
        print(f"{served.resolution.resolved}, {served.resolution.chosen.serve.label}, ", end="")
        self.sent: list[Request] = []
        self.workers = f"--workers {self.slots} "
        print(f"{self.slots} slots")

    def requests(self, block: list[dict[str, str]]) -> list[Request]:
        """Return the requests of /annotate for these rows, without repairs."""
        from skills.annotate.annotator import Annotator
        from skills.nanda.paper import Paper

        papers = [Paper("id", str(i), "", row["abstract"]) for i, row in enumerate(block)]
        return self.models.run(
            "annotate",
            lambda m: [Annotator(m, nanda()).prepare(paper).request for paper in papers],
        )

    def job(self, block: list[dict[str, str]]) -> int:
        """Annotate a block of rows as a job, and return the number of completion tokens."""
        table, target = self.folder / "block.csv", self.folder / "block.jsonl"
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(block[0]))
            writer.writeheader()
            writer.writerows(block)
        generate = self.model.generate

        def recorded(request: Request, *others: Any) -> Reply:
            self.sent.append(request)
            return generate(request, *others)

        with (
            tempfile.TemporaryDirectory() as corpus,
            mock.patch.object(self.model, "generate", recorded),
        ):
            how = f"{self.workers}--db {corpus}/corpus.db --force"
            outcome = self.app.dispatch(f"/annotate {table} {how} save to {target}")
        summary = outcome.result.summary
        assert summary is not None
        if summary["failed"]:
            print(f"  {summary['errors']}")
        return int(summary["tokens"]["completion"])

    def bare(self, slots: int) -> int:
        """Repeat the requests of the job on the bare engine; return the completion tokens."""
        with ThreadPoolExecutor(slots) as executor:
            replies = executor.map(self.model.generate, self.sent)
            return sum(reply.completion_tokens for reply in replies)


def compare_server(options: argparse.Namespace) -> None:
    with options.table.open(newline="", encoding="utf-8") as file:
        rows = list(itertools.islice(csv.DictReader(file), 8))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.slots, ADAPTER)
        entry = ServeEntry(backend="openai", model="default", url=options.server)
        models = {"embedded": bench.model, "server": OpenAIBackend().load(entry, bench.slots)}
        print(f"{'':<16}{'embedded':>14}{'server':>14}{'ratio':>8}   tokens/s, two runs each")
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
    head = f"{'papers/min':>12}{'of CPU':>8}{'tokens/s':>10}{'tokens':>9}{'ratio to (b)':>14}"
    print(f"\n{'':<24}{head}")
    for arm in arms:
        ratio = (arm.rows / arm.seconds) / (bare.rows / bare.seconds)
        print(
            f"{arm.name:<24}{arm.rows / arm.seconds * 60:>12.2f}{arm.rows / arm.cpu * 60:>8.2f}"
            f"{arm.tokens / arm.seconds:>10.1f}{arm.tokens:>9}{ratio:>14.3f}"
        )
    over = (job.seconds - bare.seconds) / job.rows
    print(f"(a) takes {over * 1000:+.0f} ms a row over (b), with {slots} slots")
    print(f"peak memory of this process: {peak():.0f} MB")


def peak() -> float:
    """Return the peak resident memory in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
