"""Where a completion decides whether a move is stated: the first token of each move's text.

These are eight tokens of some two hundred, and most of the loss of each is which word a text begins
with. So a recipe can weigh the decision itself (`recipe.Decisions`): of the token
that "Not stated." begins with, or not. A stated move whose text begins with that token too ("Not
much was known ...") is left out: whether it is stated is then decided by a later token.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import UsageError
from skills.finetune.run.recipe import Decisions
from skills.nanda.framework import Framework
from skills.nanda.reply_formats import TaggedForm, UnusableReply


@dataclass(frozen=True, slots=True)
class Decider:
    """Finds the decisions in completions.

    Raises:
        UsageError: `decisions` names a move that the framework lacks.
    """

    framework: Framework
    decisions: Decisions

    def __post_init__(self) -> None:
        for name in self.decisions.stated:
            if name not in self.framework.names:
                raise UsageError(
                    f"decisions.stated names {name!r}, which is no move of {self.framework.name}",
                    hint=f"The moves are {', '.join(self.framework.names)}.",
                )

    def places(self, completion: str) -> list[tuple[int, float, bool]]:
        """The first characters of the moves' texts, what each decision counts, and if it is stated.

        There are none in a completion that is no annotation, or where the recipe weighs none.
        """
        form = TaggedForm(self.framework)
        try:
            moves = form.parse(completion)
        except UnusableReply:
            return []
        found = []
        for name, place in form.places(completion).items():
            text = moves.get(name)  # there is none of a label that stands before the tags
            stated = text != self.framework.not_stated
            if text and (weight := self._weight(name, stated)):
                found.append((place, weight, stated))
        return found

    def _weight(self, name: str, stated: bool) -> float:
        return self.decisions.weight * (self.decisions.stated.get(name, 1.0) if stated else 1.0)
