"""Read lists of papers in Markdown, such as hand-written reading lists, and write lists.

A paper may be a section with labels:

    ## [Title](https://arxiv.org/abs/2405.12345)
    **Authors:** One, Other
    **Published:** 2024-05-17
    **Abstract:** Text of any number of lines and paragraphs.

The heading may have any level. A section is a paper if it has an abstract or its heading contains
an arXiv id; below the first level, any of these labels suffices. An abstract may contain labels of
its parts ("**Methods:** ..."). It ends at any other bold label, at a rule or at a heading. A
<summary> element is read as a heading or a label.

In a list without labels, a paper is a section, a text below a line in bold ("**Title**"), a row of
a table with the column "abstract", or an item of a list: "- **Title.** Text." or "- Author, A.
(2024). Title. Text."
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from harness.errors import InputError
from harness.support.text_input import place, reading, shown, text_lines
from skills.corpus.records import Annotated
from skills.corpus.tables.columns import Reader
from skills.nanda.framework import Framework
from skills.nanda.paper import find_arxiv_id, page_address
from skills.nanda.remarks import findings, labelled_suggestions, stated_in_paper
from skills.nanda.sentences import heading_end
from skills.nanda.text import escape_markdown

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

COLUMNS = ("arxiv_id", "title", "authors", "published", "categories", "abstract")
SUMMARY_LEVEL = 6
HEAD = 200_000
"""Maximum number of characters that are parsed to recognize a list; 1 MB would take seconds."""

_LABELS = {
    name: role
    for role, names in {
        "abstract": "abstract",
        "title": "title",
        "authors": "author, authors, author(s)",
        "published": "published, published on, publication date, publication year, date, year, "
        "submitted, submitdate",
        "categories": "category, categories, subjects",
        "arxiv_id": "arxiv, arxiv id, arxiv_id, arxiv link",
        "": "comment, comments, doi, index terms, journal, journal ref, keywords, key words, link, "
        "links, pdf, tags, url",
    }.items()
    for name in names.split(", ")
}
"""The field of each label; "" for a label whose text is not read."""
_HEADINGS = ("abstract", "authors")
_OF_ABSTRACTS = re.compile(
    r"(?:background|introduction|context|motivation|objectives?|aims?|purpose|problem|approach"
    r"|(?:materials and )?methods?|methodology|setting|design|results?|findings|contributions?"
    r"|discussion|limitations?|implications?|significance|conclusions?)",
    re.IGNORECASE,
)
"""Matches labels of the parts of a structured abstract, which may be in bold."""
_MARKED = re.compile(
    r"[ \t]*(?P<mark>\*{1,3}|_{1,3})(?P<name>[^*:]{1,40}?)[ \t]*(?P<colon>:[ \t]*)?(?P=mark)[ \t]*"
    r"(?P<after>[:.\u2013\u2014-]|$)?[ \t]*(?P<rest>.*)"
)
_PLAIN = re.compile(r"[ \t]*+(?P<name>[A-Za-z_() ]{3,16}?)[ \t]*:[ \t]*(?P<rest>.*)")
_SUMMARY = re.compile(
    r"[ \t]*+(?:<details[^>]*+>)?[ \t]*+<summary>(?P<text>.*?)</summary>(?P<rest>.*)"
)
_TAG = re.compile(
    r'</?(?:a|b|br|details|em|h\d|i|p|strong|summary)(?:\s+(?:open|[\w-]+="[^"]*"))*\s*/?>',
    re.IGNORECASE,
)
_STRONG = re.compile(r"<(strong|b)>(?P<text>.+?)</\1>", re.IGNORECASE)
_NUMBER = re.compile(r"^(?:\d{1,4}[.)]|paper \d{1,4}:)[ \t]+", re.IGNORECASE)
_LINK = re.compile(r"!?\[[^\[\]]*+\]\([^()\s]*+\)|https?://\S+")
_LEAD = re.compile(
    r"(?:\[[ xX]\]\s+)?"
    r"(?:(?:\*{1,3}|_{1,3})([^*\n]+?)(?:(?<=[.:?!])[*_]{1,3}|"
    r"[*_]{1,3}\s*(?:\([^()\n]*\)\s*)?(?:[.:\u2013\u2014-]|\n))\s*"
    r"|(\[[^\[\]\n]+\]\([^()\s]*\))\s*(?:[.:\u2013\u2014-]+\s+)?)"
)
"""Matches a title at the beginning of an item: emphasized text or a link."""
_CITED = re.compile(
    r"(?P<authors>[^\n()]{3,500}?)[ ,.]*\((?P<published>(?:19|20)\d\d)[a-z]?\)[.:,]?\s+"
    r"(?P<title>[^\n]{3,300}?)[.?!]\s+(?=[A-Z])"
)
"""Matches a reference at the beginning of an item: "Smith, J. (2021). Title. "."""
_BOLD_LINE = re.compile(r"(\*\*|__)([^*\n]+)\1[ \t]*(?:\n|\Z)")
MOST_BYTES, MOST_LINES = 2_000_000, 20_000
"""Maximum number of bytes and of lines of a file, since the file is parsed in memory."""
BOLD_LEVEL = 7
"""The level of a line in bold; headings have the levels 1 to 6."""
_FIRST_LINE = re.compile(r"([^\n]*[^\s.;,])[ \t]*(?:\n\s*(?=\*|[^\W_a-z])|\Z)")
TITLE_WORDS = 30
ABSTRACT_WORDS, UNTITLED_WORDS = 12, 40
"""Minimum words of an abstract without a label: for a paper with a title, and without a title."""
TITLE_CHARS = 1000
"""Number of characters at the start of a heading that are searched for <strong> and <b>."""


class _Line(NamedTuple):
    """A line of text.

    Attributes:
        level: 1 to 6 for a heading, -1 for a rule, 0 for other text.
        marker: the marker of the list item that begins in this line, or "".
    """

    number: int
    text: str
    level: int = 0
    marker: str = ""


@dataclass(slots=True)
class _Section:
    """A heading and the fields of the text below it.

    Attributes:
        line: the line number of the heading.
        level: the level of the heading; 0 for a list item or a row of a table.
        fields: the lines of each field.
        linked_id: the first arXiv id in a URL or after "arXiv:", outside of the abstract; or None.
        has_two_abstracts: True if the section has two labels "Abstract".
        current: the field to which the next line is added, or "".
        marked: True if the label of the current field is emphasized or a heading. If it is True,
            a plain label does not end an abstract.
    """

    line: int
    level: int
    heading: str
    fields: dict[str, list[str]] = field(default_factory=dict)
    linked_id: str | None = None
    has_two_abstracts: bool = False
    current: str = ""
    marked: bool = False

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
            return find_arxiv_id(text, allow_bare=True) or self.heading_id or self.linked_id or ""
        if name == "abstract":
            return text
        if name == "title":
            return _title(text or self.heading)
        return _plain(text)

    def add(self, line: _Line) -> None:
        """Add a line to the current field, or begin a field if the line is a label."""
        text = _TAG.sub("", line.text)
        linked = find_arxiv_id(text)
        if line.level < 0:
            self.current = ""
        elif line.level:
            self._begin(_bare(line.text), "", marked=True)
        elif label := _label(text, plain=self.current != "abstract" or not self.marked):
            self._begin(*label)
        elif linked and not re.search(r"\w", _LINK.sub("", text)):
            self.current = ""
            self.linked_id = self.linked_id or linked
        elif not self.current:
            self.linked_id = self.linked_id or linked
        elif text.strip():
            self.fields[self.current].append(line.marker + text)
        elif self.current != "abstract" and self.fields[self.current]:
            self.current = ""
        else:
            self.fields[self.current].append("")

    def _begin(self, label: str, rest: str, marked: bool) -> None:
        self.current, self.marked = _LABELS.get(label, ""), marked
        if self.current != "abstract":
            self.linked_id = self.linked_id or find_arxiv_id(rest)
        elif "abstract" in self.fields:
            self.has_two_abstracts = True
        if self.current:
            self.fields.setdefault(self.current, []).extend([rest] * bool(rest.strip()))


class MarkdownReader(Reader):
    @functools.cached_property
    def _papers(self) -> list[_Section]:
        text = _text_of(self.path)
        labelled = [section for section in _sections(text) if section.is_paper]
        return labelled if is_list(text, unlabelled=False) else _unlabelled(text) or labelled

    def header(self) -> tuple[str, ...]:
        for section in self._papers:
            if section.has_two_abstracts:
                raise InputError(
                    "two abstracts under this heading",
                    where=place(self.path, self.unit, section.line),
                    hint="Give each paper a heading of its own: ## Title.",
                )
        if not self._papers:
            raise InputError(
                "is not a list of papers",
                where=shown(self.path),
                hint="A list has a heading or an item for each paper, with its title and abstract.",
            )
        return COLUMNS

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
        for section in self._papers:
            yield section.line, {name: section.value(name) for name in names}


def _text_of(path: Path) -> str:
    with reading(path):
        is_large = path.stat().st_size > MOST_BYTES
    text = "" if is_large else "".join(text_lines(path))
    if is_large or text.count("\n") > MOST_LINES:
        raise InputError(
            f"has more than {MOST_BYTES // 1_000_000} MB or {MOST_LINES:,} lines, too much for a "
            "list of papers in Markdown",
            where=shown(path),
            hint="Save the list as a .csv or .jsonl file.",
        )
    return text


def is_list(source: str | Path, *, unlabelled: bool = True) -> bool:
    """Return True if a Markdown text is a list of papers, not a single abstract.

    A list with labels has at least two sections with an abstract in the first `HEAD` characters.
    One section suffices if its heading is below the first level, and the section has another field
    or an arXiv id in its heading. Within a section, a heading "Abstract" or "Authors" begins no new
    section.

    Args:
        source: the text, or the path of a file. A file that cannot be read is not a list.
        unlabelled: True to accept lists without labels.
    """
    try:
        text = source if isinstance(source, str) else _text_of(source.expanduser())
    except (InputError, RuntimeError):
        return False
    sections = [section for section in _sections(text[:HEAD]) if "abstract" in section.fields]
    labelled = len(sections) > 1 or any(
        section.level > 1 and (len(section.fields) > 1 or section.heading_id)
        for section in sections
    )
    return labelled or (unlabelled and not sections and bool(_unlabelled(text[:HEAD])))


def consists_of_items(text: str) -> bool:
    """Return True if the text has two or more items or table rows, with at least 80% of the words.

    The result is False if an item begins with a heading of an abstract, such as "Methods:".
    """
    (items, rows, *_), words = _groups(text[:HEAD])
    texts = [" ".join(itertools.chain(*one.fields.values())) for one in items + rows]
    return (
        len(texts) > 1
        and not any(map(heading_end, texts))
        and 5 * sum(len(one.split()) for one in texts) >= 4 * words
    )


def _unlabelled(text: str) -> list[_Section]:
    """Return the papers in a list without labels, or [] if the text is not such a list.

    The first of these groups that contains papers is used: list items, rows of tables, sections of
    one level, texts below lines in bold.
    """
    (items, *others), words = _groups(text)
    for item in items:
        _split(item)
    return next((group for group in (items, *others) if _are_papers(group, words)), [])


def _groups(text: str) -> tuple[list[list[_Section]], int]:
    """Return the groups of possible papers, and the number of words outside of headings.

    The groups are the list items, the rows of tables, and the sections of each level. Lines in bold
    are headings of the level `BOLD_LEVEL`. The text of an item is not split yet.
    """
    items, rows, sections, current, words = [], list[_Section](), list[_Section](), None, 0
    bold: _Section | None = None
    for token in _parser().parse(text):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "heading_open":
            current = _Section(line, int(token.tag.removeprefix("h")), "", current="title")
            sections.append(current)
            bold = None
        elif token.type == "list_item_open" and token.level == 1:
            current = _Section(line, 0, "", current="abstract")
            items.append(current)
        elif token.type in ("bullet_list_close", "ordered_list_close") and token.level == 0:
            current = None
        elif token.type == "inline":
            is_title = current is not None and current.current == "title"
            words += 0 if is_title else len(token.content.replace("|", " ").split())
            rows += _rows(token.content, line)
            content = _TAG.sub("", token.content)
            if current:
                current.fields.setdefault(current.current, []).append(content)
                current.current = "abstract"
            if token.level == 1 and not is_title:
                if found := _BOLD_LINE.match(content):
                    bold = _Section(line, BOLD_LEVEL, "", {"title": [found[2]], "abstract": []})
                    sections.append(bold)
                    content = content[found.end() :]
                if bold:
                    bold.fields["abstract"].append(content)
    levels = sorted({section.level for section in sections})
    by_level = ([one for one in sections if one.level == level] for level in levels)
    return [items, rows, *by_level], words


def _rows(text: str, line: int) -> Iterator[_Section]:
    """Yield the rows of a Markdown table; yield nothing if the text is not a table."""
    lines = [one.strip().removeprefix("|").removesuffix("|") for one in text.split("\n")]
    cells = [re.split(r"(?<!\\)\|", one) for one in lines]
    if (
        "|" not in text
        or len(cells) < 3
        or not all(re.fullmatch(r"\s*:?-+:?\s*", cell) for cell in cells[1])
    ):
        return
    names = [_LABELS.get(_bare(cell), "") for cell in cells[0]]
    for number, row in enumerate(cells[2:], start=line + 2):
        section = _Section(number, 0, "")
        for name, cell in zip(names, row, strict=False):
            section.fields.setdefault(name, []).append(cell.strip().replace("\\|", "|"))
        yield section


def _split(item: _Section) -> None:
    """Split the text of an item into title, abstract and other fields, if the item has a title."""
    text = "\n\n".join(item.fields.get("abstract", ()))
    if cited := _CITED.match(text):
        found = {name: [value] for name, value in cited.groupdict().items()}
        item.fields = {**found, "abstract": [text[cited.end() :]]}
        return
    lead = _LEAD.match(text) or _FIRST_LINE.match(text)
    if lead is None or len(lead[0].split()) > TITLE_WORDS:
        return
    title, rest = next(filter(None, lead.groups())), text[lead.end() :]
    item.fields = {"title": [title.rstrip(" .:")], "abstract": [rest]}
    item.linked_id = find_arxiv_id(lead[0])
    labelled = _Section(item.line, 0, "")
    for line in rest.split("\n"):
        labelled.add(_Line(item.line, line))
    if "abstract" in labelled.fields:
        item.fields |= labelled.fields


def _are_papers(found: Sequence[_Section], words: int) -> bool:
    """Return True if two or more sections are papers, and the abstracts have most of the words.

    "Most" means two thirds of `words`, the number of words outside of headings. If a title is a
    heading of a structured abstract, such as "Methods", the result is False.
    """
    counts = [(one, len(one.value("abstract").split())) for one in found]
    papers = [
        one
        for one, count in counts
        if count >= (ABSTRACT_WORDS if one.value("title") else UNTITLED_WORDS)
    ]
    parts = any(heading_end(f"{one.value('title').strip(' .:').capitalize()}:") for one in papers)
    return len(papers) > 1 and not parts and 3 * sum(count for _, count in counts) >= 2 * words


def _sections(text: str) -> Iterator[_Section]:
    """Yield a section with its text for each heading, except for `_HEADINGS` within a section."""
    section: _Section | None = None
    for line in _lines(text):
        if line.level > 0 and not (section and _bare(line.text) in _HEADINGS):
            if section:
                yield section
            section = _Section(line.number, line.level, line.text)
        elif section:
            section.add(line)
    if section:
        yield section


@functools.cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark")
    # Without setext headings, "---" below a text is a rule. HTML and code are read as text.
    return parser.disable(["lheading", "code", "fence", "html_block", "reference", "inline"])


def _lines(text: str) -> Iterator[_Line]:
    """Yield the lines of all blocks, without the markers of quotations and lists."""
    end, level, marker = 0, 0, ""
    for token in _parser().parse(text):
        if token.type == "heading_open":
            level = int(token.tag.removeprefix("h"))
        elif token.type == "list_item_open":
            marker = f"{token.info}{token.markup} "
        elif token.type in ("hr", "inline") and token.map:
            first, last = token.map
            if first > end:
                yield _Line(end + 1, "")
            if token.type == "hr":
                yield _Line(first + 1, "", -1)
            for number, content in enumerate(token.content.split("\n"), start=first + 1):
                if summary := _SUMMARY.fullmatch(content):
                    yield _Line(number, summary["text"], SUMMARY_LEVEL)
                yield _Line(number, summary["rest"] if summary else content, level, marker)
                marker = ""
            end, level = last, 0


def _label(line: str, *, plain: bool) -> tuple[str, str, bool] | None:
    """Return the label of a line, the text after the label, and True for an emphasized label.

    The result is None if the line does not begin with a label. A label that is not emphasized is
    accepted only if `plain` is True.
    """
    if found := _MARKED.fullmatch(line):
        name = _bare(found["name"])
        with_colon = found["colon"] or found["after"] in (":", "")
        is_bold = len(found["mark"]) > 1 and not _OF_ABSTRACTS.fullmatch(name)
        if name == "abstract" or (with_colon and (_LABELS.get(name) or is_bold)):
            return name, found["rest"], True
    if plain and _bare(line) == "abstract":
        return "abstract", "", False
    if plain and (found := _PLAIN.fullmatch(line)) and _bare(found["name"]) in _LABELS:
        return _bare(found["name"]), found["rest"], False
    return None


def _bare(label: str) -> str:
    return " ".join(label.strip(" \t*_:.").casefold().split())


def _title(heading: str) -> str:
    """Return the title in a heading, without a number: the text in <strong> or <b>, or all text."""
    strong = _STRONG.search(heading[:TITLE_CHARS])
    return _NUMBER.sub("", _plain(strong["text"] if strong else heading))


def _plain(text: str) -> str:
    """Return inline Markdown as plain text, without emphasis and URLs."""
    tokens = _parser().inline.parse(text, _parser(), {}, [])
    parts = (
        "\n" if token.type.endswith("break") else token.content
        for token in tokens
        if token.type != "html_inline"
    )
    return "".join(parts).strip(" \t\n\\")


def write_markdown(
    file: IO[bytes], items: Iterable[Annotated], framework: Framework, title: str
) -> None:
    """Write annotations as a Markdown list below the heading `title`.

    A paper is a section with a line for each stated move and each suggestion.
    """
    file.write(f"# {escape_markdown(title)}\n".encode())
    for item in items:
        file.write(f"\n{_paper(item, framework)}\n".encode())


def _paper(item: Annotated, framework: Framework) -> str:
    paper, labels = item.paper, framework.labels
    paper_id = escape_markdown(paper.id)
    if paper.id_field == "arxiv_id":
        address = page_address(paper.id)
        paper_id = f"arXiv: [{paper_id}]({address})" if address else f"arXiv: {paper_id}"
    about = map(escape_markdown, (paper.authors, paper.published[:10], paper.categories))
    facts = " · ".join(filter(None, (paper_id, *about)))
    lines = [f"## {escape_markdown(paper.title) or 'Without title'}", "", facts, ""]
    found = stated_in_paper(item.record, framework)
    for move, text in found.items():
        doubts = (f" ⚠ {one}." for one in findings(move, item.record, labels))
        lines.append(f"- **{labels[move]}:** {escape_markdown(text + ''.join(doubts))}")
    suggestions = labelled_suggestions(item.record, labels)
    lines += [f"- {label}: {escape_markdown(text)}" for label, text in suggestions]
    return "\n".join(lines if found else [*lines, "The abstract states none of the moves."])
