"""Read a panel of personas from a file, and request votes from a model.

`shipped()` returns the panel in personas.yaml; `load` reads the panel in another file. Each user
message begins with the abstract and the annotation, and ends with the question of a persona, so
that the beginning is evaluated only once for all personas.
"""

from __future__ import annotations

import functools
import json
import math
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator

from harness.errors import InputError, SkillFailed
from harness.models.backend import Message, Reply
from harness.models.served import ServedModel
from harness.support import yaml_files
from skills.curate.items import Item
from skills.curate.outputs import VoteForm
from skills.nanda.framework import Framework, sha256_of
from skills.nanda.paper import Paper
from skills.nanda.text import sanitize

PERSONAS = Path(__file__).with_name("personas.yaml")
SOURCE = "_source"
"""The suffix of a placeholder that stands for the sentence that a move comes from."""
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
FORM_ITEMS = 10
"""Maximum number of annotations on which the prefills are compared."""
TOP = 100
"""Number of alternatives requested for the first token of a reply.

Some servers return at most 20 alternatives. The probability of an answer that is not among the
alternatives is negligible.
"""
JSON_TOKENS = 24
"""Maximum number of tokens of a vote as JSON, such as {"answer": "4"}."""


class Persona(BaseModel, extra="forbid", frozen=True):
    """A member of the panel.

    Attributes:
        name: lower-case letters and hyphens; the name of the persona's column in tables.
        criterion: the statement that the persona checks.
        why: the reason why the persona is on the panel; messages do not contain it.
        ask: the question at the end of the message. The question may quote moves: {claim} is the
            claim, and {claim_source} is the sentence of the abstract that the claim comes from.
        threshold: the minimum score of a vote that passes, unless thresholds were calibrated.
        reads: unused. Panel files may have `reads`, and `Panel.digest` includes its values "moves"
            and "least", so that stored votes remain valid.
    """

    name: str = Field(pattern=r"^[a-z]+(-[a-z]+)*$")
    title: Text
    criterion: Text
    why: Text
    ask: Text
    threshold: float
    reads: Mapping[str, Any] | None = None


class Panel(BaseModel, extra="forbid", frozen=True):
    """A panel: personas, and the prompts and answers that they share.

    Attributes:
        system: the system message.
        shared: the beginning of the user message, with {abstract} and {annotation}.
        answers: the value of each answer; an answer is a single token.
        prefills: possible beginnings of the reply. `choose_form` selects the prefill after which
            the answers are most probable.
        reading: unused (see `Persona.reads`).
        explain: the question why a persona did not pass an annotation, with the placeholder
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
            list(_placeholders(persona.ask + self._why(persona)))  # fails for an unpaired brace
            if not low <= persona.threshold <= high:
                raise ValueError(f"{persona.name}: threshold is not within {low:g} to {high:g}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(persona.name for persona in self.personas)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The default thresholds, in the order of the personas."""
        return tuple(persona.threshold for persona in self.personas)

    @property
    def scale(self) -> tuple[float, float]:
        """The lowest and the highest score."""
        return min(self.answers.values()), max(self.answers.values())

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the prompts and the answers, which is part of the key of stored votes.

        The digest excludes thresholds, prefills and the question of `explain`. If a persona has
        `reads`, the digest includes `reading`, and the values "moves" and "least" of `reads`.
        """
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
        """Return the messages with a persona's question about an annotation.

        The abstract and the annotation are escaped, so that they cannot close a tag or form special
        tokens.

        Args:
            why: True for the question why the persona did not pass the annotation; False for the
                question that the persona votes on.
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
            path: the file of the panel, for the error message.

        Raises:
            InputError: a question quotes a move that the framework lacks.
        """
        for persona in self.personas:
            for name in _placeholders(persona.ask + self._why(persona)):
                move = name.removesuffix(SOURCE)
                if move not in framework.names:
                    raise InputError(
                        f"the persona {persona.name} asks about {move!r}, which is not a move of "
                        f"the framework {framework.name}",
                        where=str(path),
                        hint="`--personas FILE` names a panel for the moves of this framework.",
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
        InputError: the file is not valid; the message has the file and the line.
    """
    return yaml_files.load(path, Panel, InputError)


def _placeholders(template: str) -> Iterator[str]:
    parsed = string.Formatter().parse(template)
    return (name for _, name, _, _ in parsed if name is not None)


def form_sample(items: Sequence[Item]) -> Sequence[Item]:
    """Return the annotations on which the vote forms of a judge are measured.

    These are the first half of `items`, rounded up, but at most `FORM_ITEMS` annotations.
    """
    return items[: min(FORM_ITEMS, (len(items) + 1) // 2)]


def choose_form(
    panel: Panel,
    model: ServedModel,
    framework: Framework,
    items: Sequence[Item],
    tick: Callable[[str], None] = lambda _: None,
) -> VoteForm:
    """Measure the prefills of a panel with a model, and return the best vote form.

    The best prefill is the prefill after which the answers have the highest mean probability; of
    equally good prefills, the first is used. For each item, one persona votes once with every
    prefill. If a model cannot continue a prefill, only the empty prefill is measured. Items that
    are too long, or on which the judge fails, are skipped here; the later job reports them.

    Args:
        tick: called with the progress before each item.

    Returns:
        The form. Its kind is "json" if the server returns no token probabilities; its `mass` is
            None if no item could be measured.

    Raises:
        SkillFailed: the judge fails on every item that is not too long.
    """
    prefills = panel.prefills if model.continues_prefill else ("",)
    masses: dict[str, list[float]] = {prefill: [] for prefill in prefills}
    failed: SkillFailed | None = None
    for index, item in enumerate(items):
        tick(f"{index + 1:,} of {len(items):,}")
        persona = panel.personas[index % len(panel.personas)]
        messages = panel.question(item.paper, item.moves, framework, persona)
        try:
            replies = {
                prefill: request_vote(model, messages, panel, VoteForm("logprobs", prefill), 0)
                for prefill in prefills
            }
        except InputError:
            continue
        except SkillFailed as error:
            failed = error
            continue
        if not any(reply.logprobs for reply in replies.values()):
            return VoteForm("json")
        for prefill, reply in replies.items():
            form = VoteForm("logprobs", prefill)
            masses[prefill].append(math.fsum(answers_of(reply, panel, form).values()))
    measured = {prefill: round(fmean(found), 4) for prefill, found in masses.items() if found}
    if failed is not None and not measured:
        raise failed
    best = max(measured, key=lambda prefill: measured[prefill], default=prefills[0])
    return VoteForm("logprobs", best, measured.get(best), measured, len(masses[best]))


def request_vote(
    model: ServedModel,
    messages: tuple[Message, ...],
    panel: Panel,
    form: VoteForm,
    slot: int | None,
) -> Reply:
    """Send the question of a persona to a model, and return the reply in a vote form.

    Args:
        slot: the slot of the embedded engine, or None for any slot.
    """
    how: dict[str, Any] = {"max_tokens": 1, "prefill": form.prefill, "top_logprobs": TOP}
    if form.kind == "json":
        schema = {
            "type": "object",
            "properties": {"answer": {"type": "string", "enum": list(panel.answers)}},
            "required": ["answer"],
            "additionalProperties": False,
        }
        how = {"max_tokens": JSON_TOKENS, "json_schema": schema}
    request = model.request(messages=messages, temperature=0.0, slot=slot, **how)
    model.check_fits(request)
    return model.generate(request)


def answers_of(reply: Reply, panel: Panel, form: VoteForm) -> dict[str, float]:
    """Return the probability of each answer in a reply.

    In a reply as JSON, the given answer has the probability 1, and every other answer 0. In any
    other reply, the probability of an answer is the probability that the first token is the answer,
    without regard to case and surrounding blanks.
    """
    if form.kind == "json":
        try:
            found = json.loads(reply.text)
        except (ValueError, RecursionError):
            found = None
        given = found.get("answer") if isinstance(found, dict) else None
        return {answer: float(answer == given) for answer in panel.answers}
    # If the first token is only a part of a character, the reply has no logprobs for the token, and
    # the probability of each answer is 0.
    first = reply.logprobs[0] if reply.logprobs else {}
    return {
        answer: math.fsum(
            math.exp(logprob)
            for token, logprob in first.items()
            if token.strip().casefold() == answer.strip().casefold()
        )
        for answer in panel.answers
    }
