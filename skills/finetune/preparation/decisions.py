"""Find the tokens that decide whether a move is stated.

These are few of about two hundred, and most of the loss of a move's first token is which word a
text starts with. So a recipe can weight the decisions (`skills.finetune.run.recipe.Decisions`):
whether the token is that of a move that is not stated, or another. A stated move whose text also
starts with that token ("Not much was known ...") is left out, since a later token decides there.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import UsageError
from skills.finetune.run.recipe import Decisions
from skills.nanda.forms import Decision, TaggedForm, UnusableReply
from skills.nanda.framework import Framework


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

    def of(self, completion: str) -> list[tuple[Decision, float]]:
        """Return the decisions of a completion with their weights.

        There are none in a completion that is not an annotation; those with a weight of 0 are left
        out.
        """
        try:
            found = [*TaggedForm(self.framework).decisions(completion)]
        except UnusableReply:
            return []
        weighted = ((one, self._weight(one)) for one in found)
        return [(one, weight) for one, weight in weighted if weight]

    def _weight(self, decision: Decision) -> float:
        settings = self.decisions
        factor = settings.stated.get(decision.move, 1.0) if decision.stated else 1.0
        return settings.weight * factor
