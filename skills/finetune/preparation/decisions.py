"""Find the first token of each move's text, which decides whether the move is stated.

These are eight tokens of about two hundred, and most of the loss of each is which word a text
starts with. So a recipe can weight the decision itself (`skills.finetune.run.recipe.Decisions`):
whether the token is the first one of "Not stated." or another. A stated move whose text also starts
with that token ("Not much was known ...") is left out, since a later token decides there.
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
        UsageError: `decisions` names a move that the framework does not have.
    """

    framework: Framework
    decisions: Decisions

    def __post_init__(self) -> None:
        for name in self.decisions.stated:
            if name not in self.framework.names:
                raise UsageError(
                    f"decisions.stated names {name!r}, which is not a move of "
                    f"{self.framework.name}",
                    hint=f"The moves are {', '.join(self.framework.names)}.",
                )

    def places(self, completion: str) -> list[tuple[int, float, bool]]:
        """Return each move's text position, the decision's weight, and whether it is stated.

        There are none in a completion that is not an annotation, or with a weight of 0.
        """
        form = TaggedForm(self.framework)
        try:
            moves = form.parse(completion)
        except UnusableReply:
            return []
        found = []
        for name, place in form.places(completion).items():
            text = moves.get(name)  # None for a label before the tags
            stated = text != self.framework.not_stated
            if text and (weight := self._weight(name, stated)):
                found.append((place, weight, stated))
        return found

    def _weight(self, name: str, stated: bool) -> float:
        return self.decisions.weight * (self.decisions.stated.get(name, 1.0) if stated else 1.0)
