"""Lists of papers as markdown: the arXiv lists that people keep.

    ## [Title](https://arxiv.org/abs/2405.12345)
    **Authors:** One, Other
    **Published:** 2024-05-17
    **Abstract:** Text, over as many lines and paragraphs as it takes.

A section under a heading of any level is a paper where it has an abstract, or a heading that
names an arXiv id; below the first level any of these labels will do. An abstract ends at the next
label in bold, a rule or a heading; the labels within a structured abstract ("**Methods:** ...")
belong to it. The <summary> of lists that fold their entries is a heading or a label as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import InputError
from harness.support.text_input import shown
from skills.corpus.tables.columns import Column
from skills.corpus.tables.files import Record, place, text_lines
from skills.nanda.arxiv_id import find_arxiv_id

COLUMNS = ("arxiv_id", "title", "authors", "published", "categories", "abstract")

SUMMARY_LEVEL = 6

_FIELDS = {
    name: field
    for field, names in {
        "abstract": ("abstract",),
        "title": ("title",),
        "authors": ("author", "authors", "author(s)"),
        "published": (
            *("published", "published on", "publication date", "publication year"),
            *("date", "year", "submitted", "submitdate"),
        ),
        "categories": ("category", "categories", "subjects"),
        "arxiv_id": ("arxiv", "arxiv id", "arxiv_id", "arxiv link"),
    }.items()
    for name in names
}
_HEADINGS = ("abstract", "authors")
_UNREAD = (
    *("comments?", "doi", "index terms", "journal(?: ref)?", "key ?words", "links?", "pdf", "tags"),
    "url",
)
_OF_ABSTRACTS = re.compile(
    r"(?:background|introduction|context|motivation|objectives?|aims?|purpose|problem|approach"
    r"|(?:materials and )?methods?|methodology|setting|design|results?|findings|contributions?"
    r"|discussion|limitations?|implications?|significance|conclusions?)",
    re.IGNORECASE,
)
_HEADING = re.compile(r" {0,3}(?P<level>#{1,6})[ \t]+(?P<text>.*?)(?:[ \t]+#+)?[ \t]*")
_RULE = re.compile(r" {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})")
_MARK = r"[ \t]*(?:[-*+][ \t]+)?(?P<mark>\*{1,3}|_{1,3})"
_MARKED_ABSTRACT = re.compile(
    rf"{_MARK}(?P<name>abstract)[ \t]*[:.]?(?P=mark)[ \t]*[:.\u2013\u2014-]?[ \t]*(?P<rest>.*)",
    re.IGNORECASE,
)
_MARKED = re.compile(
    rf"{_MARK}(?P<name>[^*:]{{1,40}}?)[ \t]*(?::[ \t]*(?P=mark)|(?P=mark)[ \t]*(?::|$))[ \t]*"
    r"(?P<rest>.*)"
)
_PLAIN = re.compile(
    rf"[ \t]*(?:[-*+][ \t]+)?(?:(?P<name>{'|'.join([*map(re.escape, _FIELDS), *_UNREAD])})[ \t]*:"
    r"|(?P<alone>abstract)[ \t]*$)[ \t]*(?P<rest>.*)",
    re.IGNORECASE,
)
_SUMMARY = re.compile(
    r"[ \t]*(?:<details[^>]*>)?[ \t]*<summary>(?P<text>.*?)</summary>(?P<rest>.*)"
)
_TAG = re.compile(
    r'</?(?:a|b|br|details|em|h\d|i|p|strong|summary)(?:\s+(?:open|[\w-]+="[^"]*"))*\s*/?>',
    re.IGNORECASE,
)
_STRONG = re.compile(r"<(strong|b)>(?P<text>.+?)</\1>", re.IGNORECASE)
_DATE = re.compile(r"\b\d{4}(?:[-/]\d\d(?:[-/]\d\d(?:T[\d:.]+Z?)?)?)?\b")
_LINK = re.compile(r"!?\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\([^()\s]*\)")
_LINKS_ALONE = re.compile(r"(?:[\s|,\u00b7-]|!?\[[^\]]*\]\([^()\s]*\)|<?https?://[^\s>]++>?)+")


@dataclass(slots=True)
class _Section:
    """What stands under one heading, in the lines of each field."""

    line: int
    level: int
    heading: str
    fields: dict[str, list[str]] = field(default_factory=dict)
    linked_id: str | None = None
    second_abstract: bool = False

    @property
    def heading_id(self) -> str | None:
        return find_arxiv_id(self.heading)

    @property
    def is_paper(self) -> bool:
        known = "abstract" in self.fields or self.heading_id is not None
        return known or (self.level > 1 and bool(self.fields))

    def value(self, name: str) -> str:
        text = "\n".join(self.fields.get(name, ()))
        if name == "arxiv_id":
            return find_arxiv_id(text, alone=True) or self.heading_id or self.linked_id or ""
        if name == "abstract":
            return text
        if name == "published" and (date := _DATE.search(text)):
            return date.group()
        if name == "title":
            return _title(text or self.heading)
        return _LINK.sub(r"\g<text>", text).strip(" \t\\")


class MarkdownReader:
    unit = "line"

    def __init__(self, path: Path) -> None:
        self._path = path

    def header(self) -> tuple[str, ...]:
        papers = 0
        for section in _sections(text_lines(self._path)):
            papers += section.is_paper
            if section.second_abstract:
                raise InputError(
                    "there are two abstracts under this heading",
                    where=place(self._path, self.unit, section.line),
                    hint="Give each paper a heading of its own: ## Title.",
                )
        if not papers:
            raise InputError(
                "holds no list of papers",
                where=shown(self._path),
                hint="A list has a heading for each paper, and **Abstract:** with the text in it.",
            )
        return COLUMNS

    def records(self, columns: tuple[Column, ...]) -> Iterator[Record]:
        for section in _sections(text_lines(self._path)):
            if section.is_paper:
                yield Record(section.line, tuple(section.value(column.name) for column in columns))


def is_list(source: str | Path) -> bool:
    """Whether markdown is a list of papers, rather than one abstract with its title.

    It is with two sections that have an abstract each, and with one below the first level that
    has authors, a date or an id beside its abstract. A heading "Abstract" makes no section of its
    own: "# Title", "## Abstract" is one paper.

    Args:
        source: the text, or a file's path. A file that cannot be read is no list.
    """
    try:
        lines = source.splitlines() if isinstance(source, str) else text_lines(source.expanduser())
        sections = [section for section in _sections(lines) if "abstract" in section.fields]
    except (InputError, RuntimeError):
        return False
    return len(sections) > 1 or any(
        section.level > 1 and (len(section.fields) > 1 or section.heading_id)
        for section in sections
    )


def _sections(lines: Iterable[str]) -> Iterator[_Section]:
    """Each heading with what stands under it, one at a time."""
    section: _Section | None = None
    state = _Reading()
    for number, raw in enumerate(lines, start=1):
        line = raw.rstrip("\r\n")
        if summary := _SUMMARY.fullmatch(line):
            line = f"{'#' * SUMMARY_LEVEL} {summary['text']}"
        heading = _HEADING.fullmatch(line)
        if heading and not _is_label(heading["text"], section):
            if section:
                yield section
            section = _Section(number, len(heading["level"]), heading["text"])
            state = _Reading()
        elif section:
            state.take(_TAG.sub("", re.sub(r"^[ \t]*>[ \t]?", "", line)), section)
            if summary and summary["rest"].strip():
                state.take(_TAG.sub("", summary["rest"]), section)
    if section:
        yield section


def _is_label(text: str, section: _Section | None) -> bool:
    """Whether a heading, "### Abstract", labels a part of the section it stands in."""
    return section is not None and _bare(text) in _HEADINGS


@dataclass(slots=True)
class _Reading:
    """Which field the lines of a section belong to.

    Attributes:
        current: the field, None between them.
        marked: whether its label was in bold or a heading, as the next one then is, too.
    """

    current: str | None = None
    marked: bool = False

    def take(self, line: str, section: _Section) -> None:
        if _RULE.fullmatch(line):
            self.current = None
        elif label := _label(line, plain=self.current != "abstract" or not self.marked):
            self.current, rest, self.marked = label
            if self.current != "abstract":
                section.linked_id = section.linked_id or find_arxiv_id(rest)
            if self.current == "abstract" and "abstract" in section.fields:
                section.second_abstract = True
            elif self.current:
                section.fields.setdefault(self.current, []).extend([rest] * bool(rest.strip()))
        elif _LINKS_ALONE.fullmatch(line) and find_arxiv_id(line):
            self.current = None
            section.linked_id = section.linked_id or find_arxiv_id(line)
        elif self.current:
            self._continue(line, section.fields[self.current])
        elif not section.linked_id:
            section.linked_id = find_arxiv_id(line)

    def _continue(self, line: str, lines: list[str]) -> None:
        if line.strip() or (self.current == "abstract" and lines):
            lines.append(line)
        elif lines:
            self.current = None


def _label(line: str, *, plain: bool) -> tuple[str | None, str, bool] | None:
    """The field that a line begins, None for one that is not read; the rest of it; if marked."""
    heading = _HEADING.fullmatch(line)
    if heading and _bare(heading["text"]) in _HEADINGS:
        return _FIELDS[_bare(heading["text"])], "", True
    if found := _MARKED_ABSTRACT.fullmatch(line) or _MARKED.fullmatch(line):
        name = _bare(found["name"])
        if name in _FIELDS:
            return _FIELDS[name], found["rest"], True
        if len(found["mark"]) > 1 and not _OF_ABSTRACTS.fullmatch(name):
            return None, "", True
    if plain and (found := _PLAIN.fullmatch(line)):
        return _FIELDS.get(_bare(found["name"] or found["alone"])), found["rest"], False
    return None


def _bare(label: str) -> str:
    return " ".join(label.strip(" \t*_:.").casefold().split())


def _title(heading: str) -> str:
    """A heading as a title: without its link, number and emphasis."""
    strong = _STRONG.search(heading)
    text = _TAG.sub("", strong["text"] if strong else heading)
    text = _LINK.sub(r"\g<text>", text).strip()
    return _bold(_unnumbered(_bold(_unnumbered(text))))


def _unnumbered(text: str) -> str:
    return re.sub(r"^(?:\d{1,4}[.)]|paper \d{1,4}:)[ \t]+", "", text, flags=re.IGNORECASE)


def _bold(text: str) -> str:
    whole = re.fullmatch(r"(\*\*|__)(.+)\1", text)
    return whole[2].strip() if whole else text
