"""Check before any work that each node can write parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from harness.errors import OutputError
from harness.models.cluster.probe import PROBE_SECONDS, Node
from harness.models.cluster.waiting import result
from skills.annotate.parts.folder import PartsFolder


def check_nodes(
    nodes: Iterable[Node], folder: PartsFolder, run: str, check: Callable[[], None]
) -> None:
    """Check with a task on each node that the folder is shared, can be written, and has space.

    Args:
        check: called while waiting; may raise.

    Raises:
        OutputError: naming each node that cannot write parts, with its reason.
    """
    import ray

    examine = ray.remote(_problem)
    pending, problems = {}, []
    with folder.marked(run):
        for node in nodes:
            there = {"ray.io/node-id": node.id}
            task = examine.options(num_cpus=0, max_retries=0, label_selector=there)
            pending[node] = task.remote(folder, run).future()
        for node, future in pending.items():
            try:
                problem = result(future, check, PROBE_SECONDS)
            except (TimeoutError, ray.exceptions.RayError) as exc:
                problem = f"gives no answer: {type(exc).__name__}"
            problems += [f"node {node.name} {problem}"] * bool(problem)
    if problems:
        raise OutputError(
            "; ".join(problems), hint="Save to a folder or URL that all nodes can write to."
        )


def _problem(folder: PartsFolder, run: str) -> str:
    return folder.problem(run)
