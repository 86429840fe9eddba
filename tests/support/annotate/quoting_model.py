"""A small annotator of the form `quotes`, with scripted confidences."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from harness.models.backend import OnText, Reply, Request
from harness.testing import FakeModel
from skills.nanda.framework import nanda
from skills.nanda.quotes import Quote, written


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
        [abstract] = (one.content for one in request.messages if one.role == "user")
        quoted, _, number = abstract.partition(" for ")[0].rpartition(" ")
        self.papers.append(int(number))
        span = (0, len(f"{quoted} {number}"))
        quote = Quote(
            text=abstract[slice(*span)], spans=(span,), confidence=self.sure.get(int(number), 0.99)
        )
        return Reply(written(dict.fromkeys(nanda().names, quote)), "stop", 10, 0, 0.01)
