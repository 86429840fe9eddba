"""Render annotations as JSON, as Markdown pages and for a terminal."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skills.nanda.anchors import read_anchors
from skills.nanda.framework import Framework
from skills.nanda.marked_sentences import Marked, marked
from skills.nanda.paper import page_address
from skills.nanda.remarks import doubts_about, findings, from_sections, suggested
from skills.nanda.text import counted, escape_markdown, flatten

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from rich.console import RenderableType

Record = Mapping[str, Any]


def as_json(record: Record) -> str:
    """Return a record as indented JSON."""
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def moves_as_json(record: Record, framework: Framework) -> str:
    """Return the moves, the moves of sections, and the doubts of a record as indented JSON.

    The doubts are the values of "uncertain" and "suggestions" that are not empty.
    """
    doubts = {name: record[name] for name in ("uncertain", "suggestions") if record.get(name)}
    moves = {name: record[name] for name in (*framework.names, "sections") if name in record}
    moves |= doubts
    return json.dumps(moves, indent=2, ensure_ascii=False)


def as_markdown(record: Record, framework: Framework, abstract: str) -> str:
    """Return a Markdown page: moves, abstract with anchors, checks and provenance of a record."""
    checks = record["checks"]
    labels = framework.labels
    anchors = read_anchors(abstract, framework.stated(record), record.get("anchors"))

    return render(
        "annotation.md.j2",
        record=record,
        framework=framework,
        checks=checks,
        made=record["provenance"],
        labels=labels,
        doubts={name: findings(name, record, labels) for name in framework.names},
        suggestions={name: suggested(record, name) for name in framework.names},
        anchors=anchors,
        in_sections=from_sections(record),
        sentences=[_with_moves(sentence, labels) for sentence in marked(abstract, anchors)],
        link=page_address(record.get("arxiv_id", "")),
        groups=[
            [labels[name] for name in framework.names if name in group]
            for group in _groups(checks["duplicate_moves"])
        ],
    )


def for_terminal(
    record: Record, framework: Framework, abstract: str = "", *, made: bool = True
) -> RenderableType:
    """Return a record for a terminal: title, numbered sentences of the abstract, and moves.

    Args:
        abstract: the abstract; "" to leave it out.
        made: True to show the model and the date of the annotation.
    """
    from skills.reporting.annotation_view import annotation, heading, numbered_sentences, stacked

    paper_id = next(record[key] for key in ("arxiv_id", "paper_id", "id") if key in record)
    anchors = read_anchors(abstract, framework.stated(record), record.get("anchors"))
    parts = [
        heading(record["title"], paper_id),
        *[numbered_sentences(abstract, anchors)] * bool(abstract),
        annotation(record, framework, abstract, made=made, place=False),
    ]
    return stacked(parts, empty=1)


def warning(record: Record) -> str:
    """Return a line about unsupported words, doubtful moves and duplicate moves, or "".

    Unsupported words are numbers and names that the abstract lacks.
    """
    checks = record["checks"]
    found = [
        counted(count, what)
        for what in ("number", "name")
        if (count := sum(map(len, checks[f"unsupported_{what}s"].values())))
    ]
    parts = [f"{' and '.join(found)} not found in the abstract"] if found else []
    doubted = [name for name in record if any(doubts_about(name, checks))]
    if doubted:
        parts.append(f"{', '.join(doubted)} may not say what the abstract says")
    for group in _groups(checks["duplicate_moves"]):
        parts.append(f"{', '.join(key for key in record if key in group)} have the same content")
    return f"check: {'; '.join(parts)}" if parts else ""


def render(template: str, **values: Any) -> str:
    """Render a Markdown template of this package; values other than `Markup` are escaped."""
    return _environment().get_template(template).render(values)


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def escaped(value: object) -> Markup:
        """Escape a text for Markdown; `Markup` is returned unchanged."""
        return value if isinstance(value, Markup) else Markup(escape_markdown(flatten(str(value))))  # noqa: S704

    return Environment(
        loader=PackageLoader("skills.annotate"),
        autoescape=True,
        finalize=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _with_moves(sentence: Marked, labels: Mapping[str, str]) -> Markup:
    """Return a sentence as Markdown: passages in italics, and names of moves in bold.

    The moves that come from the whole sentence are at the end of the sentence.
    """
    from markupsafe import Markup

    def names(moves: Sequence[str]) -> str:
        return f" **({', '.join(labels[name] for name in moves)})**" if moves else ""

    text = ""
    for one in sentence.segments:
        # The points protect blanks at the ends, which `escape_markdown` would strip.
        shown = escape_markdown(f".{one.text}.")[1:-1]
        if one.moves:
            passage = shown.strip()
            shown = shown.replace(passage, f"*{passage}*{names(one.moves)}")
        # In Markdown, a blank must separate a closing "**" from a letter or an opening "*".
        beside = text.endswith("**") and (one.moves or shown[:1].isalnum())
        text += " " * (beside and not shown.startswith(" ")) + shown
    return Markup(text + names(sentence.moves))  # noqa: S704 - texts are escaped, labels are names


def _groups(pairs: Iterable[Sequence[Any]]) -> list[set[str]]:
    """Return groups of moves with the same content, by merging pairs that have a common move."""
    groups: list[set[str]] = []
    for one, other, _ in pairs:
        touched = [group for group in groups if one in group or other in group]
        groups = [group for group in groups if group not in touched]
        groups.append({one, other}.union(*touched))
    return groups
