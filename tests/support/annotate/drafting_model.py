"""A small annotator of the form `tagged`, whose drafts and decisions are scripted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.models.backends.base import Reply, Request
from harness.testing import FakeModel
from skills.nanda.framework import Framework, nanda


def completion(moves: Mapping[str, str], framework: Framework | None = None) -> str:
    """Return the completion of a tuned model; the other moves are not stated."""
    used = framework or nanda()
    lines = (f"{one.label}: {moves.get(one.name, used.not_stated)}" for one in used.moves)
    return "\n".join(("<annotation>", *lines))


class DraftingModel(FakeModel):
    """Answers with `drafts` in turn, and decides with the probability that a move is stated.

    Args:
        drafts: the moves of each answer that is not a decision; the last one is repeated. A text is
            an answer as it is.
        stated: the probability by label ("Limitation"); None for an engine that reports none.
    """

    def __init__(
        self,
        *drafts: Mapping[str, str] | str,
        stated: Mapping[str, float] | None = None,
        framework: Framework | None = None,
    ) -> None:
        super().__init__(self._answer, takes_grammar=True)
        self.drafts: Sequence[str] = [
            one if isinstance(one, str) else completion(one, framework) for one in drafts
        ]
        self.stated = stated
        self.decided: list[str] = []
        """The label of each decision."""
        self.asked: list[Request] = []
        """The requests of whole answers."""

    def _answer(self, request: Request) -> Reply | str:
        if not request.top_logprobs:
            self.asked.append(request)
            return self.drafts[min(len(self.asked), len(self.drafts)) - 1]
        label = request.prefill.rpartition("\n")[2].removesuffix(":")
        self.decided.append(label)
        if self.stated is None:
            return Reply(" Not", "length", 10, 1, 0.0)
        found = self.stated.get(label, 0.5)
        tokens = {" Not": math.log(1 - found), " The": math.log(found)}
        return Reply(" Not", "length", 10, 1, 0.0, logprobs=(tokens,))
