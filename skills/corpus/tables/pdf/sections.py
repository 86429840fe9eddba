"""Find the sections of a paper that are headed as limitations or conclusion."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from skills.corpus.tables.pdf import headings
from skills.corpus.tables.pdf.characters import Line, count_words, differs
from skills.corpus.tables.pdf.headings import name_of

FEWEST_WORDS = 12
"""Words of a section; fewer are those of a table of contents."""
MOST_WORDS = 3000
"""Words that are read of a section."""


@dataclass(frozen=True, slots=True)
class Found:
    """A section.

    Attributes:
        kind: "limitation" or "conclusion".
        heading: as the paper has it, without its number.
        lines: its text.
    """

    kind: str
    heading: str
    page: int
    lines: list[Line]


def find_sections(lines: Sequence[Line], kinds: Collection[str], body: Line) -> list[Found]:
    """Return the sections of these kinds, the longest one of each kind.

    Args:
        lines: those of the paper after its abstract.
        body: a line that is set as its text.
    """
    best: dict[str, Found] = {}
    lines = _without_references(lines, body)
    for place, line in enumerate(lines):
        heading = _heading(line, body)
        if not heading:
            continue
        for kind in headings.kinds_of(name_of(heading)):
            if kind not in kinds:
                continue
            found = _section(lines, place, heading, body)
            shown = headings.without_number(heading)
            if count_words(found) >= FEWEST_WORDS and count_words(found) > count_words(
                best[kind].lines if kind in best else []
            ):
                best[kind] = Found(kind, shown, line.page + 1, found)
    return [best[kind] for kind in kinds if kind in best]


def _without_references(lines: Sequence[Line], body: Line) -> Sequence[Line]:
    """Return the lines before the references, where titles may look like headings."""
    for place in range(len(lines) // 3, len(lines)):  # and not in the table of contents
        line = lines[place]
        if headings.is_references(name_of(line.text)) and headings.stands_out(line, body):
            return lines[:place]
    return lines


def _heading(line: Line, body: Line) -> str:
    """Return the heading that a line is or begins with, "" if it has none."""
    if headings.is_short(line.text) and headings.stands_out(line, body):
        return line.text.strip()
    lead = line.lead.strip()
    is_run_in = lead and headings.is_short(lead) and len(lead.split()) <= 8
    return lead if is_run_in and not body.bold else ""


def _section(lines: Sequence[Line], place: int, heading: str, body: Line) -> list[Line]:
    """Return the text below a heading up to the next one of its kind."""
    first = lines[place]
    run_in = heading != first.text.strip()
    found: list[Line] = []
    words = 0
    own = [first] * run_in
    usual = statistics.median([line.size for line in [*own, *lines[place + 1 :][:6]]] or [0.0])
    if run_in:
        rest = first.text.strip()[len(heading) :].lstrip(" .:-—–")  # noqa: RUF001
        found.append(replace(first, text=rest, bold=False, lead=""))
    for number, line in enumerate(lines[place + 1 :]):
        if number == 0 and not run_in and _goes_on(first, line):
            continue
        if _ends(line, first, body, run_in=run_in):
            break
        if differs(line, usual) or _is_of_numbers(line):
            continue  # a footnote, a caption, a table
        found.append(line)
        words += len(line.text.split())
        if words > MOST_WORDS:
            break
    return found


def _goes_on(first: Line, line: Line) -> bool:
    """Return True if a line is the second one of the heading `first`."""
    close = line.page == first.page and 0 < first.y - line.y < 1.6 * first.size
    same = line.font == first.font and abs(line.size - first.size) < 0.3
    return close and same and line.bold and headings.level_of(line) == 0


def _ends(line: Line, first: Line, body: Line, *, run_in: bool) -> bool:
    """Return True if a line is the heading of the next section."""
    heading = _heading(line, body)
    if not heading:
        return False
    if headings.ends_paper(name_of(heading)):
        return True
    if heading != line.text.strip():  # in the line of its paragraph
        return run_in
    if run_in:
        return True
    level, own = headings.level_of(line), headings.level_of(first)
    if level and own:
        return level <= own
    alike = line.font == first.font and abs(line.size - first.size) <= 0.04 * first.size
    return alike or line.size > first.size * 1.04 or (level == 1 and own == 0)


def _is_of_numbers(line: Line) -> bool:
    text = line.text.replace(" ", "")
    return len(text) > 3 and sum(map(str.isalpha, text)) < 0.4 * len(text)
