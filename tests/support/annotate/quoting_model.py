"""A small annotator that quotes, with scripted probabilities."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any

from harness.models.backends.base import OnText, Reply, Request
from harness.testing import FakeModel


class QuotingModel(FakeModel):
    """Quotes "method N" of `annotate_workspace.ABSTRACT`, with the given probability of a sentence.

    Args:
        sure: the probability by N; others have .99.
        takes_grammar: False for an engine that gives no confidences.
    """

    def __init__(self, sure: Mapping[int, float], *, takes_grammar: bool = True) -> None:
        super().__init__(takes_grammar=takes_grammar)
        self.digests = {"fake": "2" * 64}
        self.sure = sure
        self.papers: list[int] = []

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        if not request.top_logprobs:
            return Reply("]: method", "stop", 10, 2, 0.01)
        text = "".join(message.content for message in request.messages)
        number = int(text.rpartition("method ")[2].split()[0])
        self.papers.append(number)
        sure = self.sure.get(number, 0.99)
        opening = {" [": math.log(sure), ":": math.log(1 - sure)}
        probabilities: Any = (opening, {"1": 0.0})
        return Reply(" [1", "length", 10, 2, 0.01, logprobs=probabilities)
