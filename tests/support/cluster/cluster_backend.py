"""A plugin for nodes of a cluster: the backend "fake", which writes down what it generates.

Its models are "annotator", and others, which judge.

HARNESS_FAKE_LOG      the file that gets the process and the number of each abstract, and the slot
HARNESS_FAKE_SECONDS  the time that an answer takes
HARNESS_FAKE_DIGEST   "of the process" gives each process a model with another digest
HARNESS_FAKE_FAULT    the number of an abstract that gets no usable answer
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from pathlib import Path

from annotate_workspace import Annotator
from curate_workspace import alternatives

from harness import ServeEntry, hookimpl
from harness.api.hookspecs import RegisterBackend
from harness.models.backend import Availability, OnText, Reply, Request
from harness.testing import FakeModel


class LoggedAnnotator(Annotator):
    """Annotates "method N", and writes process and N down before."""

    def __init__(self, slots: int) -> None:
        super().__init__(float(os.environ.get("HARNESS_FAKE_SECONDS", "0")), slots=slots)
        if os.environ.get("HARNESS_FAKE_DIGEST") == "of the process":
            self.digests = {"fake": hashlib.sha256(str(os.getpid()).encode()).hexdigest()}

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        _log(request, r"method (\d+)")
        fault = os.environ.get("HARNESS_FAKE_FAULT")
        if fault and f"method {fault} " in request.messages[1].content:
            return Reply("no annotation", "stop", 1, 1, 0.0)
        return super().generate(request, on_text, cancel)


class Judge(FakeModel):
    """Gives the best vote to every annotation of curate_workspace.py."""

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        _log(request, r"On 1(\d+) deliveries")
        return Reply("x", "stop", 100, 1, 0.1, 60, (alternatives(5.0),))


def _log(request: Request, about: str) -> None:
    text = next(m.content for m in reversed(request.messages) if m.role == "user")
    number = re.search(about, text)
    if (log := os.environ.get("HARNESS_FAKE_LOG")) and number:
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {int(number[1])} {request.slot}\n")


class Backend:
    name = "fake"

    def probe(self, entry: ServeEntry) -> Availability:
        return Availability(True)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> FakeModel:
        slots = slots or entry.slots or 2
        return LoggedAnnotator(slots) if entry.model == "annotator" else Judge(slots=slots)


@hookimpl
def register_backends(register: RegisterBackend) -> None:
    register(Backend())
