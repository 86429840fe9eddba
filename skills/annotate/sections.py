"""Look for moves that an abstract does not state in the sections of its paper, with `--sections`.

A section is annotated as an abstract is, and only the moves that are looked for are taken. They are
stored under "sections", each with its section, so that the moves themselves, their anchors and
their checks remain about the abstract.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from harness.models.backends.base import OnText
from harness.models.served import ServedModel
from skills.annotate.generate import Prepared, annotate
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper, Section
from skills.nanda.sentences import split_sentences

MOVES: Mapping[str, tuple[str, ...]] = {
    "limitation": ("limitation",),
    "conclusion": ("limitation", "implication"),
}
"""The moves that are looked for in each kind of section."""
MOST_WORDS = 350
"""Words that are read of a section, about those of a long abstract."""

Make = Callable[[Paper], Prepared]


def annotate_paper(
    prepared: Prepared, model: ServedModel, make: Make, on_text: OnText | None = None
) -> dict[str, Any]:
    """Annotate a paper, and look for missing moves in its sections, if it has any.

    Args:
        make: prepares the request for a section, in the form of a paper.

    Raises:
        Whatever `generate.annotate` raises.
    """
    record = annotate(prepared, model, on_text)
    framework = prepared.form.framework
    found: dict[str, Any] = {}
    for section, moves in _wanted(prepared.paper, framework):
        missing = [m for m in moves if record[m] == framework.not_stated and m not in found]
        if missing:
            request = make(_as_paper(section, prepared.paper))
            if section.kind in missing:  # a section on limitations has one
                request = request.stating(section.kind)
            model.check_fits(request.request)
            own = annotate(request, model, on_text)
            found |= {m: _entry(section, own, m) for m in missing if own[m] != framework.not_stated}
            record = {**record, "provenance": _with_cost(record["provenance"], own["provenance"])}
    if not prepared.paper.sections:
        return record
    made = record.pop("provenance")
    return {**record, "sections": found, "provenance": made}


def _wanted(paper: Paper, framework: Framework) -> Iterator[tuple[Section, list[str]]]:
    """Yield the sections, and the moves of the framework that each may have."""
    for kind, moves in MOVES.items():
        for section in paper.sections:
            if section.kind == kind:
                yield section, [move for move in moves if move in framework.names]


def _as_paper(section: Section, paper: Paper) -> Paper:
    """Return the beginning of a section as the abstract of a paper of the same title."""
    kept, words = list[str](), 0
    for sentence in split_sentences(section.text):
        words += len(sentence.split())
        if kept and words > MOST_WORDS:
            break
        kept.append(sentence)
    text = " ".join(" ".join(kept).split()[:MOST_WORDS])
    return replace(paper, abstract=text, sections=())


def _entry(section: Section, own: Mapping[str, Any], move: str) -> dict[str, Any]:
    """Return what is stored of a move that was found in a section."""
    checks = own["checks"]
    unknown = [
        text
        for what in ("numbers", "names")
        for text in checks[f"unsupported_{what}"].get(move, ())
    ]
    return {
        "section": section.heading,
        "page": section.page,
        "text": own[move],
        "source": checks["source"][move]["text"],
        "support": checks["support"][move],
        **({"unsupported": unknown} if unknown else {}),
    }


def _with_cost(provenance: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return a provenance with the tokens and seconds of another one added."""
    tokens = {name: n + other["tokens"][name] for name, n in provenance["tokens"].items()}
    seconds = round(provenance["seconds"] + other["seconds"], 3)
    return {**provenance, "tokens": tokens, "seconds": seconds}
