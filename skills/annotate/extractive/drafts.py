"""Draft a paper's moves: the model's answer and samples of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harness.errors import LoopingReply
from harness.models.backends.base import OnText, Reply, Request
from harness.models.served import ServedModel
from skills.nanda.forms.base import Form, UnusableReply

SAMPLES = 3
"""Further answers with `--effort best`."""
TEMPERATURE = 0.7
"""Of those answers."""


@dataclass
class Drafts:
    """What a model wrote about one abstract.

    Attributes:
        request: the request of the paper.
        answers: the moves of each valid answer by name; the first one is the model's annotation.
        replies: all replies but the first answer's.
    """

    form: Form
    model: ServedModel
    request: Request
    answers: list[Mapping[str, str]]
    replies: list[Reply] = field(default_factory=list)

    def sample(self, abstract: str, on_text: OnText | None = None) -> None:
        """Add `SAMPLES` answers at `TEMPERATURE`; one that is invalid or loops is left out."""
        for number in range(1, SAMPLES + 1):
            seed = self.request.seed + number
            with contextlib.suppress(UnusableReply, LoopingReply):
                reply = self._generate(on_text, temperature=TEMPERATURE, seed=seed)
                self.answers.append(self.form.read(reply, abstract))

    def _generate(self, on_text: OnText | None = None, **fields: object) -> Reply:
        reply = self.model.generate(replace(self.request, **fields), on_text)  # type: ignore[arg-type]
        self.replies.append(reply)
        return reply
