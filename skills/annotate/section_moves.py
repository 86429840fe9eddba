"""Search the sections of a paper for moves that its abstract does not state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.models.backend import OnText
from skills.nanda.paper import Paper, Section
from skills.nanda.sentences import split_sentences

if TYPE_CHECKING:
    from skills.annotate.annotator import Annotator, Prepared

SECTION_MOVES: Mapping[str, tuple[str, ...]] = {
    "limitation": ("limitation",),
    "conclusion": ("limitation", "implication"),
}
"""The moves that each kind of section may state."""
MOST_WORDS = 350
"""Maximum number of words that are read from a section: the length of a long abstract."""


def with_sections(
    annotator: Annotator, prepared: Prepared, record: dict[str, Any], on_text: OnText | None
) -> dict[str, Any]:
    """Return a record with the new key "sections": moves that only sections of the paper state.

    A section is annotated like an abstract if it may state a move that the abstract and earlier
    sections do not state. The moves, anchors and checks of the abstract do not change; the tokens
    and seconds in the provenance then include the sections.

    Args:
        record: the annotation of the abstract.
    """
    framework = prepared.form.framework
    found: dict[str, Any] = {}
    kinds = list(SECTION_MOVES)
    for section in sorted(prepared.paper.sections, key=lambda one: kinds.index(one.kind)):
        missing = [
            move
            for move in SECTION_MOVES[section.kind]
            if record.get(move) == framework.not_stated and move not in found
        ]
        if not missing:
            continue
        own = annotator.prepare(_as_paper(section, prepared.paper))
        # A section of the kind "limitation" states a limitation; the request names this move.
        if section.kind in missing:
            own = replace(own, request=own.form.stating(own.request, [section.kind]))
        annotator.model.check_fits(own.request)
        made = annotator.annotate(own, on_text)
        stated = [move for move in missing if made[move] != framework.not_stated]
        found |= {move: _entry(section, made, move) for move in stated}
        cost = _with_cost(record["provenance"], made["provenance"])
        record = {**record, "provenance": cost}
    provenance = record.pop("provenance")
    return {**record, "sections": found, "provenance": provenance}


def _as_paper(section: Section, paper: Paper) -> Paper:
    """Return a paper with the beginning of a section in place of the abstract."""
    kept, words = list[str](), 0
    for sentence in split_sentences(section.text):
        words += len(sentence.split())
        if kept and words > MOST_WORDS:
            break
        kept.append(sentence)
    text = " ".join(" ".join(kept).split()[:MOST_WORDS])
    return replace(paper, abstract=text, sections=())


def _entry(section: Section, own: Mapping[str, Any], move: str) -> dict[str, Any]:
    """Return the value of a move in "sections": its text, section, page and checks.

    Args:
        own: the annotation of the section.
    """
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
    """Return a provenance with the tokens and seconds of `other` added."""
    tokens = {name: n + other["tokens"][name] for name, n in provenance["tokens"].items()}
    seconds = round(provenance["seconds"] + other["seconds"], 3)
    return {**provenance, "tokens": tokens, "seconds": seconds}
