"""Kill parts of a cluster during jobs and count lost rows, or measure the overhead.

    python bench/cluster.py [--kills 20] [--rows 200] [--only actor,node,head,driver,writing]
    python bench/cluster.py --overhead [--rows 2000]
    python bench/cluster.py --scaling

Two Ray nodes are started on this machine, with a fake model that takes 50 ms for a paper and
records the paper. During a job, one part is killed (SIGKILL) at a random moment: an actor, a node,
the head, the driver (the process that runs the line), or the driver while it writes the target.
Then the line is repeated up to three times until it succeeds, on a new cluster if the head was
killed. Prints for each part the number of rows that are lost, doubled, and generated again. Exits
with 1 if a row is lost or doubled, or if more rows are generated again than the cluster has slots.

--overhead uses a model that answers immediately, and prints the driver's CPU time per row without
and with the cluster. --scaling uses a model that takes 200 ms, and prints the speed on 1, 2, 4 and
8 actors with one slot each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

ROOT = Path(__file__).resolve().parent.parent
SUPPORT = ROOT / "tests" / "support"
FOLDERS = (SUPPORT / name for name in ("annotate", "cluster", "processes"))
sys.path[:0] = map(str, (ROOT, SUPPORT, *FOLDERS))

from agent_process import environment_of, start_agent  # noqa: E402
from annotate_workspace import Workspace, paper, write_table  # noqa: E402
from ray_nodes import RayNodes  # noqa: E402

from harness.testing import FAKE_REGISTRY  # noqa: E402

SLOTS = 2 * 2 * 2
"""Number of slots: two nodes with two actors each, and two slots per actor."""
PARTS = ("actor", "node", "head", "driver", "writing")
LONGEST = 300
"""Seconds after which a process counts as hanging."""


@dataclass
class Campaign:
    """Jobs over one table on a cluster; in each job, one part of the cluster is killed."""

    folder: Path
    rows: int
    chance: random.Random
    nodes: RayNodes = field(init=False)

    def __post_init__(self) -> None:
        (self.folder / "registry.yaml").write_text(FAKE_REGISTRY)
        write_table(self.folder / "papers.csv", *map(paper, range(self.rows)))
        self.build()

    def build(self) -> None:
        """Start the cluster."""
        self.nodes = RayNodes()
        self.nodes.start_head()
        self.nodes.add_node()

    def start(self) -> Popen[str]:
        """Start the job as a separate process, the driver."""
        own = environment_of(self.folder) | self.nodes.access
        own |= {"HARNESS_FAKE_LOG": str(self.log), "HARNESS_FAKE_SECONDS": "0.05"}
        line = f"/annotate papers.csv save to out.jsonl --cpus 1 --on {self.nodes.address}"
        return start_agent(self.folder, line, own)

    @property
    def log(self) -> Path:
        return self.folder / "generated"

    def generated(self) -> Counter[str]:
        """Return how often the model has generated each paper, by paper id."""
        text = self.log.read_text() if self.log.exists() else ""
        return Counter(line.split()[1] for line in text.splitlines())

    def forget(self) -> None:
        """Remove the database, the target and the record of generated papers."""
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        for path in (self.log, self.folder / "out.jsonl"):
            path.unlink(missing_ok=True)

    def kill(self, part: str, driver: Popen[str]) -> None:
        """Kill a part at a random moment of a job; "writing" kills the driver while it saves."""
        if part == "writing":
            while driver.poll() is None and not [*self.folder.glob(".out.jsonl*")]:
                time.sleep(0.001)
        else:
            due = self.chance.randrange(self.rows // 10, self.rows * 3 // 4)
            while driver.poll() is None and self.generated().total() < due:
                time.sleep(0.01)
        if part == "actor":
            actors = self.nodes.workers("NodeModel")
            self.chance.choice(actors).kill() if actors else None
        elif part in ("node", "head"):
            self.nodes.kill(self.nodes.nodes[1 if part == "node" else 0])
        else:
            driver.kill()

    def repair(self, part: str) -> None:
        """Replace a killed node, or the whole cluster if the head was killed."""
        if part == "node":
            self.nodes.nodes.pop(1)
            self.nodes.add_node()
        elif part == "head":
            self.nodes.stop()
            self.build()

    def once(self, part: str) -> tuple[int, int, int]:
        """Kill a part in a job; return the number of rows lost, doubled, and generated again."""
        self.forget()
        driver = self.start()
        self.kill(part, driver)
        _, stderr = driver.communicate(timeout=LONGEST)
        self.repair(part)
        for _ in range(3):
            driver = self.start()
            _, stderr = driver.communicate(timeout=LONGEST)
            if driver.returncode == 0:
                break
        assert driver.returncode == 0, stderr
        lines = (self.folder / "out.jsonl").read_text(encoding="utf-8").splitlines()
        found = Counter(json.loads(line)["arxiv_id"] for line in lines)
        twice = self.generated().total() - self.rows
        return self.rows - len(found), found.total() - len(found), twice


def kills(rows: int, count: int, parts: tuple[str, ...], chance: random.Random) -> bool:
    """Kill each part `count` times, and print the result; return True if no job has a fault."""
    well = True
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), rows, chance)
        try:
            for part in parts:
                found = [campaign.once(part) for _ in range(count)]
                lost, doubled, twice = zip(*found, strict=True)
                print(
                    f"{part} killed {count} times, {rows} rows: {sum(lost)} lost, {sum(doubled)} "
                    f"doubled; generated again: {min(twice)} to {max(twice)} ({SLOTS} slots)",
                    flush=True,
                )
                well &= not any(lost) and not any(doubled) and max(twice) <= SLOTS
        finally:
            campaign.nodes.stop()
    return well


@contextlib.contextmanager
def cluster(cpus: int) -> Iterator[RayNodes]:
    """Yield a cluster of one node; the environment of this process gets its token."""
    nodes = RayNodes(cpus)
    os.environ |= nodes.access
    try:
        nodes.start_head()
        yield nodes
    finally:
        nodes.stop()


def measured(rest: str, rows: int) -> tuple[float, float]:
    """Run a job in this process; return its CPU seconds per row, and its wall seconds in total.

    Args:
        rest: the options of the line.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        work = Workspace(Path(folder))
        work.rows(*range(rows))
        before = time.process_time()
        outcome = work.annotate(f"save to out.jsonl {rest}")
        used = time.process_time() - before
        summary = outcome.result.summary
        assert summary is not None
        assert summary["done"] == rows, work.stderr
        work.app.close()
        return used / rows, summary["seconds"]


def overhead(rows: int) -> None:
    """Print the driver's CPU time per row, without and with a cluster."""
    with cluster(2) as nodes:
        on = f"--on {nodes.address} --cpus 1"
        for rest in ("", on):  # warm up: the first runs import modules
            measured(rest, 20)
        empty, _ = measured(on, 1)
        for _ in range(3):
            here, _ = measured("--workers 4", rows)
            there, _ = measured(on, rows)
            there -= empty / rows  # leave out the time to start the actors
            print(
                f"{rows} rows, CPU of the driver: here {here * 1000:.1f} ms a row, on the cluster "
                f"{there * 1000:.1f} ms, difference {(there - here) * 1000:.1f} ms",
                flush=True,
            )


def scaling() -> None:
    """Print the rows per second with 1 to 8 actors."""
    os.environ["HARNESS_FAKE_SECONDS"] = "0.2"
    first = 0.0
    with cluster(8) as nodes:
        for actors in (1, 2, 4, 8):
            rows = 60 * actors
            rest = f"--on {nodes.address} --cpus 1 --slots 1 --actors {actors}"
            _, seconds = measured(rest, rows)
            first = first or rows / seconds
            speed = rows / seconds
            print(f"{actors} actors: {speed:.2f} rows/s, {speed / first:.2f} times", flush=True)


def main() -> int:
    about, _, _ = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--overhead", action="store_true")
    parser.add_argument("--scaling", action="store_true")
    options = parser.parse_args()
    if options.overhead:
        overhead(options.rows or 2000)
    elif options.scaling:
        scaling()
    else:
        parts = tuple(options.only.split(","))
        chance = random.Random(options.seed)
        return int(not kills(options.rows or 200, options.kills, parts, chance))
    return 0


if __name__ == "__main__":
    sys.exit(main())
