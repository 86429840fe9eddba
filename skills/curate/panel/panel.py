"""The panel as data: who sits on it, what each is asked, and how an answer is read.

`shipped()` is the panel of personas.yaml, `load` that of another such file. One message begins with
what all personas judge, the abstract and the annotation, and ends with what one of them asks: a
server evaluates the beginning once for all.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from harness.errors import InputError
from harness.models.backends.base import Message
from harness.support import yaml_models
from skills.nanda.framework import Framework, sha256_of
from skills.nanda.paper import Paper
from skills.nanda.sanitize import defuse

PERSONAS = Path(__file__).with_name("personas.yaml")
SOURCE = "_source"
"""What a placeholder ends in that stands for the sentence a move comes from."""

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reads(_Strict):
    """Unused: what a persona read in the judge mode that was removed.

    A panel file may still have it, and it is a part of `Panel.digest`: votes that were stored under
    such a panel stay valid.
    """

    moves: tuple[str, ...] = Field(min_length=1)
    least: float
    threshold: float


class Persona(_Strict):
    """One seat of the panel.

    Attributes:
        name: lower-case letters and hyphens; its column in tables.
        criterion: what it checks, as a statement that is true or not.
        why: why it sits on the panel, for people.
        ask: the end of the message. It may quote moves: {claim}, and {claim_source} for the
            sentence of the abstract that the claim comes from.
        threshold: the score of an answer from which it passes, as long as none was calibrated.
        reads: unused, see `Reads`.
    """

    name: str = Field(pattern=r"^[a-z]+(-[a-z]+)*$")
    title: Text
    criterion: Text
    why: Text
    ask: Text
    threshold: float
    reads: Reads | None = None


class Panel(_Strict):
    """Personas, and what they have in common. Five ship.

    Attributes:
        system: the system message.
        shared: the beginning of the user's message, with {abstract} and {annotation}.
        answers: the answers of one token, and what each is worth.
        prefills: beginnings of the reply, of which the one is taken after which most of the
            probability lies on the answers.
        reading: unused, see `Reads`.
        explain: asked of a persona that did not pass an annotation, with its {criterion}.
    """

    version: Text
    system: Text
    shared: Text
    answers: Mapping[str, float] = Field(min_length=2)
    prefills: tuple[str, ...] = Field(min_length=1)
    reading: Text = "{abstract}"
    explain: Text
    personas: tuple[Persona, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [persona.name for persona in self.personas]
        if len(set(names)) < len(names):
            raise ValueError("two personas have one name")
        if len({answer.strip().casefold() for answer in self.answers}) < len(self.answers):
            raise ValueError("two answers differ in blanks or case alone")
        _check_template("shared", self.shared, {"abstract", "annotation"})
        for persona in self.personas:
            for template in (persona.ask, self._why(persona)):
                list(_placeholders(template))  # raises where a brace stands alone
        low, high = min(self.answers.values()), max(self.answers.values())
        for persona in self.personas:
            if not low <= persona.threshold <= high:
                raise ValueError(f"{persona.name}: threshold is not within {low:g} to {high:g}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(persona.name for persona in self.personas)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The fixed defaults."""
        return tuple(persona.threshold for persona in self.personas)

    @property
    def scale(self) -> tuple[float, float]:
        """The least and the greatest score."""
        return min(self.answers.values()), max(self.answers.values())

    @functools.cached_property
    def digest(self) -> str:
        """sha256 of all that makes a vote: thresholds and explanations change none."""
        asked = {persona.name: persona.ask for persona in self.personas}
        read = {
            one.name: [list(one.reads.moves), one.reads.least] for one in self.personas if one.reads
        }
        parts = [self.system, self.shared, dict(self.answers), asked]
        return sha256_of([*parts, self.reading, read] if read else parts)

    def ask(
        self,
        paper: Paper,
        moves: Mapping[str, str],
        framework: Framework,
        persona: Persona,
    ) -> tuple[Message, ...]:
        """The messages by which one persona is asked about an annotation.

        Nothing of the abstract or the annotation can act as more than text in them.
        """
        return self._messages(paper, moves, framework, persona.ask)

    def ask_why(
        self,
        paper: Paper,
        moves: Mapping[str, str],
        framework: Framework,
        persona: Persona,
    ) -> tuple[Message, ...]:
        """The messages by which a persona is asked why it did not pass an annotation."""
        return self._messages(paper, moves, framework, self._why(persona))

    def check_moves(self, framework: Framework, path: Path = PERSONAS) -> None:
        """Refuse a framework that lacks a move which a persona asks about.

        Args:
            path: the panel's file, for the message.

        Raises:
            InputError: naming persona and move.
        """
        for persona in self.personas:
            asked = _placeholders(f"{persona.ask} {self._why(persona)}")
            for name in asked:
                move = name.removesuffix(SOURCE)
                if move not in framework.names:
                    raise InputError(
                        f"the persona {persona.name} asks about {move!r}, which is no move of the "
                        f"framework {framework.name}",
                        where=str(path),
                        hint="`--personas FILE` names a panel that asks about its moves.",
                    )

    def _why(self, persona: Persona) -> str:
        return self.explain.replace("{criterion}", persona.criterion)

    def _messages(
        self, paper: Paper, moves: Mapping[str, str], framework: Framework, end: str
    ) -> tuple[Message, ...]:
        shown = {name: defuse(moves.get(name, "")) or "(empty)" for name in framework.names}
        annotation = "\n".join(f"{move.label}: {shown[move.name]}" for move in framework.moves)
        shared = self.shared.format(abstract=defuse(paper.abstract), annotation=annotation)
        tail = end.format_map(_quoted(end, paper, moves, shown))
        return Message("system", self.system), Message("user", f"{shared}\n\n{tail}")


@functools.cache
def shipped() -> Panel:
    """The panel that ships with the skill."""
    return load(PERSONAS)


def load(path: Path) -> Panel:
    """A panel from a file in the form of personas.yaml.

    Raises:
        InputError: naming file and line.
    """
    return yaml_models.load(path, Panel, InputError)


def _quoted(
    end: str, paper: Paper, moves: Mapping[str, str], shown: Mapping[str, str]
) -> dict[str, str]:
    """What the placeholders of a persona's question stand for."""
    from skills.nanda.checks import source_sentence

    found: dict[str, str] = {}
    for name in _placeholders(end):
        if name in shown:
            found[name] = shown[name]
        else:
            move = name.removesuffix(SOURCE)
            found[name] = defuse(source_sentence(paper.abstract, moves.get(move, ""))["text"])
    return found


def _check_template(name: str, template: str, wanted: set[str]) -> None:
    found = {*_placeholders(template)}
    if wanted - found:
        raise ValueError(f"`{name}` has no {' or no '.join(f'{{{w}}}' for w in sorted(wanted))}")
    if more := found - wanted:
        raise ValueError(f"`{name}` has {{{min(more)}}}, which stands for nothing there")


def _placeholders(template: str) -> Iterator[str]:
    parsed = string.Formatter().parse(template)
    return (name for _, name, _, _ in parsed if name is not None)
