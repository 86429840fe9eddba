"""The tokens that decide whether a move is stated: the first one of each move's text.

They are eight of some two hundred, and the loss of all others is what a model spends itself on. A
recipe can have them count more (`skills.finetune.recipe.Decisions`).
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import UsageError
from skills.finetune.recipe import Decisions
from skills.nanda.forms import TaggedForm, UnusableReply
from skills.nanda.framework import Framework


@dataclass(frozen=True, slots=True)
class Decider:
    """Finds them in completions.

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

    def places(self, completion: str) -> list[tuple[int, float]]:
        """The first characters of the moves' texts, and how many times as much they count.

        Those that count as any other token are left out, and so are completions that are no
        annotation.
        """
        form = TaggedForm(self.framework)
        try:
            moves = form.parse(completion)
        except UnusableReply:
            return []
        found = (
            (place, self._times(name, moves[name] != self.framework.not_stated))
            for name, place in form.places(completion).items()
            if moves[name]
        )
        return [(place, times) for place, times in found if times != 1]

    def _times(self, name: str, stated: bool) -> float:
        return self.decisions.weight * (self.decisions.stated.get(name, 1.0) if stated else 1.0)
