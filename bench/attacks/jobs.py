"""Kill /finetune at each stage, and nodes of a cluster during /annotate.

killed-stages needs the finetune extra, and lost-nodes the ray extra. If the extra is not installed,
the area prints a message and makes no tries.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agent_process import environment_of, start_agent
from annotate_workspace import paper, write_table

from bench.attack import CACHE
from harness.testing import FAKE_REGISTRY

STAGES = ("prepare", "train", "merge", "gguf", "quantize", "modelfile", "register")
DELAY = 3.0
"""Maximum seconds for which a stage runs before it is killed."""
PAPERS = 60
VICTIMS = ("node", "actor", "node", "actor")
SECONDS = 300.0


def _lacks(area: str, *modules: str) -> bool:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        print(f"{area}: skipped, since {', '.join(missing)} is not installed", file=sys.stderr)
    return bool(missing)


def stages(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Kill a run once in each stage; repeated lines must continue and complete the run."""
    if _lacks("killed-stages", "torch", "transformers"):
        return
    from finetune_base import tiny_base
    from finetune_chain import NOBODY, OPTIONS, Chain

    os.environ["HARNESS_CACHE"] = str(CACHE)
    base, chain = tiny_base(folder / "tiny"), Chain(folder)
    chain.make_data()
    environment = {**os.environ, "OLLAMA_HOST": NOBODY, "OMP_NUM_THREADS": "1"}
    begin = f'/finetune "{chain.data}" --dev "{chain.dev}" {OPTIONS} --base "{base}"'

    def run(killed_at: str, delay: float) -> tuple[int, str]:
        """Start or continue the run in a process; return its exit code and its messages.

        Args:
            killed_at: the stage in which the process is killed; "" for none.
            delay: seconds from the beginning of the stage until the kill.
        """
        unfinished = any(chain.out.glob("checkpoint-*")) and killed_at in STAGES[:2]
        line = f'/finetune "{chain.out}" --resume' if unfinished else f'{begin} --out "{chain.out}"'
        process = start_agent(folder, line, environment)
        assert process.stderr is not None
        said = ""
        for message in process.stderr:
            said += message
            if killed_at and message.startswith(f"{killed_at}: ") and "unchanged" not in message:
                time.sleep(delay)
                process.kill()
        process.communicate()
        return process.returncode, said

    for stage in STAGES:
        delay = rng.choice((0.0, rng.uniform(0, DELAY)))
        code, said = run(stage, delay)
        ended = code in (0, -9) and "Traceback" not in said
        yield None if ended else f"before {stage}: code {code}: {said[-300:]}"
    code, said = run("", 0)
    code, said = run("", 0) if code == 0 else (code, said)
    wrong = [f"code {code}: {said[-300:]}"] * (code != 0)
    wrong += [f"{name} is done again" for name in STAGES if f"{name}: unchanged" not in said]
    wrong += [f"{path.name} is left over" for path in chain.out.glob(".*")]
    with contextlib.suppress(OSError, ValueError):
        made = json.loads((chain.out / "manifest.json").read_text())["stages"]
        wrong += [f"{name} is not recorded" for name in STAGES if name not in made]
    steps = chain.steps()
    wrong += ["a step is lost or doubled"] * (steps != [*range(1, len(steps) + 1)])
    yield "; ".join(wrong) or None
    chain.app.close()


def nodes(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Kill a node or an actor during a job on two nodes; no paper may be lost or doubled."""
    if _lacks("lost-nodes", "ray"):
        return
    from ray_nodes import RayNodes

    log = folder / "generated"
    os.environ |= {"HARNESS_FAKE_LOG": str(log), "HARNESS_FAKE_SECONDS": "0.3"}
    cluster = RayNodes()
    try:
        cluster.start_head()
        cluster.add_node()
        for number, victim in enumerate(VICTIMS):
            place = folder / f"{number}"
            place.mkdir()
            (place / "registry.yaml").write_text(FAKE_REGISTRY)
            write_table(place / "papers.csv", *map(paper, range(PAPERS)))
            log.unlink(missing_ok=True)
            yield _lost(cluster, place, log, victim, rng)
    finally:
        cluster.stop()


def _lost(cluster: Any, place: Path, log: Path, victim: str, rng: random.Random) -> str | None:
    extra = cluster.add_node() if victim == "node" else None
    line = f"/annotate papers.csv save to out.jsonl --on {cluster.address}"
    process = start_agent(place, line, environment_of(place) | cluster.access)
    after, began = rng.randrange(1, PAPERS // 2), time.monotonic()
    while process.poll() is None and len(_generated(log)) < after:
        if time.monotonic() - began > SECONDS:
            process.kill()
        time.sleep(0.05)
    if extra is not None:
        cluster.kill(extra)
    else:
        for actor in cluster.workers("NodeModel")[:1]:
            actor.kill()
    _, stderr = process.communicate(timeout=SECONDS)
    if process.returncode:
        return f"{victim} killed after {after}: code {process.returncode}: {stderr[-300:]}"
    rows = [json.loads(one)["arxiv_id"] for one in (place / "out.jsonl").read_text().splitlines()]
    wrong = ["rows are lost, doubled or in another order"] * (
        rows != [paper(number)["arxiv_id"] for number in range(PAPERS)]
    )
    again = _generated(log).total() - PAPERS
    wrong += [f"{again} papers were annotated again"] * (again > 4)
    return f"{victim} killed after {after}: {'; '.join(wrong)}" if wrong else None


def _generated(log: Path) -> Counter[int]:
    lines = log.read_text().splitlines() if log.exists() else []
    return Counter(int(line.split()[1]) for line in lines)


AREAS: dict[str, Callable[[Path, random.Random], Iterator[str | None]]] = {
    "killed-stages": stages,
    "lost-nodes": nodes,
}
