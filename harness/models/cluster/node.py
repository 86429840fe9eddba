"""What a node of a cluster does for a job: check whether it can serve, and load the model."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import settings as settings_module
from harness._version import __version__
from harness.errors import HarnessError
from harness.models import executors
from harness.models.backends.base import Availability, Backend, Model, Reply, Request
from harness.models.repetition import LoopDetector
from harness.models.resolution import Candidate
from harness.models.schema import FileEntry
from harness.models.weights import FileStore
from harness.settings import CODE_ROOT
from harness.support import cpu

MakeBackends = Callable[[FileStore], Mapping[str, Backend]]
COPIES = 2
"""Copies of a download that a node needs room for: the wheel, and the file in it."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a node is sent: one serve entry with its files, and nothing else of the registry.

    Attributes:
        files: the registry's entries of the files that the serve entry names.
        code_root: the driver's folder of the code; files below it are found below the node's own.
        environment: HARNESS_ variables of the driver; those of the node come first.
        make_backends: returns the backends of a node; pickled by name.
        slots: number of concurrent generations; None for what the entry takes.
        threads: the CPUs that the actor is given.
    """

    candidate: Candidate
    files: Mapping[str, FileEntry]
    code_root: Path
    environment: Mapping[str, str]
    make_backends: MakeBackends
    slots: int | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Report:
    """A model that is loaded on a node; what must be equal on all of them is compared.

    Attributes:
        node: address and id of the node.
    """

    node: tuple[str, str]
    version: str
    digests: Mapping[str, str]
    slots: int
    context: int | None
    place: str
    takes_grammar: bool
    continues_prefill: bool

    @property
    def identity(self) -> tuple[str, Mapping[str, str], int]:
        """What must be equal on all nodes: it determines the answers, or the numbers of slots."""
        return self.version, self.digests, self.slots

    def __str__(self) -> str:
        files = ", ".join(f"{role} {digest[:12]}" for role, digest in self.digests.items())
        return f"node {self.node[0]}: nanda-harness {self.version}, {files}, {self.slots} slots"


def available(assignment: Assignment) -> Availability:
    """Return whether this node could serve: its files, its backend, and room in its cache."""
    store = _store(assignment)
    found = executors.probe(assignment.make_backends(store), assignment.candidate)
    if not found.available:
        return found
    serve = assignment.candidate.serve
    needed = COPIES * store.to_fetch(*serve.files.values())
    folder = _existing(store.cache_dir)
    free = shutil.disk_usage(folder).free
    if needed > free:
        return Availability(
            False, f"{needed / 1e6:.0f} MB are needed in {folder}, and {free / 1e6:.0f} MB are free"
        )
    if not os.access(folder, os.W_OK):
        return Availability(False, f"the cache {store.cache_dir} cannot be written")
    return found


def load(assignment: Assignment) -> Model:
    """Load the model of an assignment in this process. Raises as `executors.load`."""
    cpu.limit_cores(assignment.threads)
    backends = assignment.make_backends(_store(assignment))
    return executors.load(backends, assignment.candidate, assignment.slots)


class NodeModel:
    """The model of an assignment, loaded on first use; its methods may be called by many threads.

    Errors of the harness are returned, since Ray would wrap what is raised.
    """

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._model: Model | None = None
        self._loading = threading.Lock()
        self._stops: dict[int, threading.Event] = {}

    def placed(self) -> None:
        """Return at once: the actor has found a node."""

    def load(self) -> Report | HarnessError:
        """Load the model, and return what it is."""
        try:
            model = self._loaded()
            return Report(
                node=_this_node(),
                version=__version__,
                digests=dict(model.digests),
                slots=model.slots,
                context=model.context,
                place=str(getattr(model, "place", "")),
                takes_grammar=model.takes_grammar,
                continues_prefill=getattr(model, "continues_prefill", True),
            )
        except HarnessError as exc:
            return exc

    def generate(self, call: int, request: Request) -> Reply | Exception:
        """Answer a request; a reply that loops is stopped here.

        Args:
            call: identifies the call for `stop`.
        """
        stop = self._stops.setdefault(call, threading.Event())
        try:
            return self._loaded().generate(request, LoopDetector(None).add, stop)
        except (HarnessError, ValueError) as exc:
            return exc
        finally:
            del self._stops[call]

    def stop(self, call: int) -> None:
        """End a call of `generate`, which may not have begun."""
        self._stops.setdefault(call, threading.Event()).set()

    def count_tokens(self, request: Request) -> int | HarnessError | None:
        """Return the tokens of the prompt, as `Model.count_tokens`."""
        try:
            return self._loaded().count_tokens(request)
        except HarnessError as exc:
            return exc

    def _loaded(self) -> Model:
        with self._loading:
            if self._model is None:
                self._model = load(self._assignment)
            return self._model


def _this_node() -> tuple[str, str]:
    import ray

    return ray.util.get_node_ip_address(), ray.get_runtime_context().get_node_id()


def _store(assignment: Assignment) -> FileStore:
    for name, value in assignment.environment.items():
        os.environ.setdefault(name, value)
    files = {i: _moved(file, assignment.code_root) for i, file in assignment.files.items()}
    return FileStore(files, settings_module.from_environment().cache_dir, lambda _: None)


def _moved(file: FileEntry, code_root: Path) -> FileEntry:
    """Return the entry of a file that ships with the code, at the place of this node's code."""
    if not file._root.is_relative_to(code_root):
        return file
    moved = file.model_copy()
    moved._root = CODE_ROOT / file._root.relative_to(code_root)
    return moved


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if one.exists())
