"""Write annotations as a Markdown list: a heading for each paper, and its moves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from skills.corpus.records import Annotated
from skills.nanda.checks import findings
from skills.nanda.confidence import from_sections, labelled_suggestions
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper, page_address
from skills.nanda.text import escape_markdown


def write_markdown(
    file: IO[bytes], items: Iterable[Annotated], framework: Framework, title: str
) -> None:
    """Write the list in UTF-8; a move that is not stated has no line, and a suggestion one.

    Args:
        title: the main heading.
    """
    file.write(f"# {escape_markdown(title)}\n".encode())
    for item in items:
        file.write(f"\n{_paper(item, framework)}\n".encode())


def _paper(item: Annotated, framework: Framework) -> str:
    paper = item.paper
    stated = framework.stated(item.record)
    found = {**from_sections(item.record), **stated}
    shown = {name: found[name] for name in framework.names if name in found}
    labels = framework.labels
    lines = [f"## {escape_markdown(paper.title) or 'Without title'}", "", _about(paper), ""]
    for name, text in shown.items():
        doubts = [f" ⚠ {one}." for one in findings(name, item.record, labels)]
        lines.append(f"- **{labels[name]}:** {escape_markdown(text + ''.join(doubts))}")
    suggestions = labelled_suggestions(item.record, labels)
    lines += [f"- {label}: {escape_markdown(text)}" for label, text in suggestions]
    return "\n".join(lines if shown else [*lines, "The abstract states none of the moves."])


def _about(paper: Paper) -> str:
    shown = escape_markdown(paper.id)
    if paper.id_field == "arxiv_id":
        address = page_address(paper.id)
        shown = f"arXiv: [{shown}]({address})" if address else f"arXiv: {shown}"
    parts = (shown, *map(escape_markdown, (paper.authors, paper.published[:10], paper.categories)))
    return " · ".join(part for part in parts if part)
