"""A small annotator of the form `quotes`, with scripted confidences."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from harness.models.backends.base import OnText, Reply, Request
from harness.testing import FakeModel
from skills.nanda.forms.quotes import written
from skills.nanda.framework import nanda


class QuotingModel(FakeModel):
    """Quotes the first words of `annotate_workspace.ABSTRACT` as every move.

    Args:
        sure: the confidence of all moves by the N of "method N"; others have .99.
    """

    def __init__(self, sure: Mapping[int, float]) -> None:
        super().__init__()
        self.digests = {"fake": "2" * 64}
        self.sure = sure
        self.papers: list[int] = []

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        abstract = request.messages[0].content
        quoted, _, number = abstract.partition(" for ")[0].rpartition(" ")
        self.papers.append(int(number))
        span = (0, len(f"{quoted} {number}"))
        stated = dict.fromkeys(nanda().names, abstract[slice(*span)])
        confidence = dict.fromkeys(stated, self.sure.get(int(number), 0.99))
        text = written(stated, dict.fromkeys(stated, span), confidence, {})
        return Reply(text, "stop", 10, 0, 0.01)
