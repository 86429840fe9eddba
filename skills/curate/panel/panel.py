"""The panel as data: its personas, their questions, and the meaning of the answers.

`shipped()` returns the panel of personas.yaml, `load` that of another file. Each message begins
with what all personas judge, the abstract and the annotation, and ends with the question of one of
them: a server evaluates the beginning once for all.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from harness.errors import InputError
from harness.models.backends.base import Message
from harness.support.reading import yaml_models
from skills.nanda.framework import Framework, sha256_of
from skills.nanda.paper import Paper
from skills.nanda.text import sanitize

PERSONAS = Path(__file__).with_name("personas.yaml")
SOURCE = "_source"
"""The suffix of a placeholder for the sentence that a move comes from."""

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Persona(_Strict):
    """One member of the panel.

    Attributes:
        name: lower-case letters and hyphens; its column in tables.
        criterion: the statement it checks.
        why: why it is on the panel, for people.
        ask: its question, the end of the message. It may quote moves: {claim}, and {claim_source}
            for the sentence of the abstract that the claim comes from.
        threshold: the score from which its vote passes unless thresholds were calibrated.
        reads: unused: moves and limit of the judge mode "reading", which was removed. Panel files
            may still have it, and it is part of `Panel.digest`, so that stored votes remain valid.
    """

    name: str = Field(pattern=r"^[a-z]+(-[a-z]+)*$")
    title: Text
    criterion: Text
    why: Text
    ask: Text
    threshold: float
    reads: Mapping[str, Any] | None = None


class Panel(_Strict):
    """Personas, and what they have in common.

    Attributes:
        system: the system message.
        shared: the beginning of the user message, with {abstract} and {annotation}.
        answers: the answers, one token each, with their values.
        prefills: beginnings of the reply; that with the most probable answers is used.
        reading: unused, see `Persona.reads`.
        explain: the question for the reason why a persona did not pass an annotation, with its
            {criterion}.
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
        if len(set(self.names)) < len(self.names):
            raise ValueError("two personas have the same name")
        if len({answer.strip().casefold() for answer in self.answers}) < len(self.answers):
            raise ValueError("two answers differ only in blanks or case")
        if (found := {*_placeholders(self.shared)}) != {"abstract", "annotation"}:
            names = ", ".join(f"{{{name}}}" for name in sorted(found)) or "none"
            raise ValueError(f"`shared` needs {{abstract}} and {{annotation}}, and has {names}")
        low, high = self.scale
        for persona in self.personas:
            list(_placeholders(persona.ask + self._why(persona)))  # raises for a single brace
            if not low <= persona.threshold <= high:
                raise ValueError(f"{persona.name}: threshold is not within {low:g} to {high:g}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(persona.name for persona in self.personas)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The default thresholds."""
        return tuple(persona.threshold for persona in self.personas)

    @property
    def scale(self) -> tuple[float, float]:
        """The lowest and the highest score."""
        return min(self.answers.values()), max(self.answers.values())

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of everything that affects a vote; thresholds and explanations do not."""
        asked = {persona.name: persona.ask for persona in self.personas}
        read = {
            persona.name: [persona.reads.get("moves"), persona.reads.get("least")]
            for persona in self.personas
            if persona.reads
        }
        parts = [self.system, self.shared, dict(self.answers), asked]
        return sha256_of([*parts, self.reading, read] if read else parts)

    def question(
        self,
        paper: Paper,
        moves: Mapping[str, str],
        framework: Framework,
        persona: Persona,
        *,
        why: bool = False,
    ) -> tuple[Message, ...]:
        """Return the messages that put a persona's question about an annotation.

        Abstract and annotation are sanitized: they cannot close a tag or act as special tokens.

        Args:
            why: ask for the reason why it did not pass the annotation instead.
        """
        from skills.nanda.checks import source_sentence

        shown = {name: sanitize(moves.get(name, "")) or "(empty)" for name in framework.names}
        annotation = "\n".join(f"{move.label}: {shown[move.name]}" for move in framework.moves)
        shared = self.shared.format(abstract=sanitize(paper.abstract), annotation=annotation)
        end = self._why(persona) if why else persona.ask
        for name in _placeholders(end):
            if name not in shown:
                text = moves.get(name.removesuffix(SOURCE), "")
                shown[name] = sanitize(source_sentence(paper.abstract, text)["text"])
        user = f"{shared}\n\n{end.format_map(shown)}"
        return Message("system", self.system), Message("user", user)

    def check_moves(self, framework: Framework, path: Path = PERSONAS) -> None:
        """Check that the framework has all moves that the questions quote.

        Args:
            path: the panel's file, for the message.

        Raises:
            InputError: naming persona and move.
        """
        for persona in self.personas:
            for name in _placeholders(persona.ask + self._why(persona)):
                move = name.removesuffix(SOURCE)
                if move not in framework.names:
                    raise InputError(
                        f"the persona {persona.name} asks about {move!r}, which is not a move of "
                        f"the framework {framework.name}",
                        where=str(path),
                        hint="`--personas FILE` names a panel that asks about its moves.",
                    )

    def _why(self, persona: Persona) -> str:
        return self.explain.replace("{criterion}", persona.criterion)


@functools.cache
def shipped() -> Panel:
    """Return the panel that ships with the skill."""
    return load(PERSONAS)


def load(path: Path) -> Panel:
    """Read a panel from a file in the format of personas.yaml.

    Raises:
        InputError: naming file and line.
    """
    return yaml_models.load(path, Panel, InputError)


def _placeholders(template: str) -> Iterator[str]:
    parsed = string.Formatter().parse(template)
    return (name for _, name, _, _ in parsed if name is not None)
