"""Read one paper from a line, stdin or a file, and find its title and abstract."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from harness.agent_skills import skill_md
from harness.errors import InputError, UsageError
from harness.support import text_input
from harness.support.text_input import SUFFIXES, TEXT_WORDS, shown, well_formed
from skills.annotate.papers import Input
from skills.corpus import table
from skills.corpus.table import Columns, open_table
from skills.nanda.paper import Paper, own_id
from skills.nanda.sentences import heading_end

TITLE_WORDS = 30
"""Maximum number of words of a first line that counts as the title.

Titles in gold_train.csv have up to 25 words.
"""

# Possessive quantifiers prevent backtracking where adjacent parts match the same characters.
_HEADING = re.compile(r"#{1,6}[ \t]+(?P<text>[^\n]+)(?:\n|\Z)")
_CLOSING = re.compile(r"(?<![ \t#])[ \t]*+#*+[ \t]*+\Z")
_LABEL_LINE = re.compile(
    r"^[ \t]*+(?:#{1,6}[ \t]++)?[*_]{0,2}abstract[*_]{0,2}[ \t]*+[:.]?[*_]{0,2}[ \t]*+#*+[ \t]*+$",
    re.IGNORECASE | re.MULTILINE,
)
_LABEL = re.compile(
    r"\s*[*_]{0,2}abstract"
    r"(?:(?:[*_]{0,2}\s*(?:[:.]|\s[-–]|[–—])[*_]{0,2}|[*_]{1,2})\s+|[*_]{0,2}\s*—[*_]{0,2})",  # noqa: RUF001
    re.IGNORECASE,
)
_FRONT_MATTER = re.compile(
    r"---[ \t]*\n(?P<yaml>.*?)^(?:---|\.\.\.)[ \t]*$", re.DOTALL | re.MULTILINE
)
_COMMENT = re.compile(r"(?<!\\)%[^\n]*+(?:\n[ \t]*+(?!\n))?")
"""Matches a LaTeX comment, the end of its line and the indentation of the next line."""
_NEXT_HEADING = re.compile(r"^#{1,6}[ \t]+\S", re.MULTILINE)


def read_paper(found: Input, sections: Sequence[str] = ()) -> Paper:
    """Return the paper that a text, a file or stdin contains.

    Args:
        found: the recognized input.
        sections: for a PDF file, the kinds of sections to read in addition to the abstract.

    Raises:
        InputError: the input cannot be read, or is a list of papers.
    """
    if found.kind in ("pdf", "file"):
        assert found.path is not None
        if found.kind == "pdf":
            return next(open_table(found.path, Columns(sections=tuple(sections))).rows()).paper
        text, source = read(found.path), {"path": shown(found.path)}
        where = shown(found.path)
    else:
        text, source = found.text, {}
        where = "the stdin" if found.kind == "stdin" else "the text"
        if "\0" in text:
            raise InputError(f"{where} is binary (character {text.index(chr(0))} is 0)")
        # A line from a terminal without UTF-8 may have lone surrogates, which cannot be stored.
        text = well_formed(text)
    title, abstract = _title_and_abstract(text, where)
    kind = found.kind if found.kind in ("stdin", "file") else "text"
    return Paper("id", own_id(abstract), title, abstract, {"kind": kind, **source})


def read(path: Path) -> str:
    """Return the text of a file.

    Raises:
        InputError: /annotate does not read files with this suffix, or the file cannot be read (see
            `text_input.read_text`).
    """
    where = str(path)
    if path.suffix and path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"/annotate does not read {path.suffix} files",
            where=where,
            hint=f"It reads an abstract from {' and '.join(SUFFIXES)}, and a table of papers from "
            f"{', '.join(table.SUFFIXES)}; save the text in one of these formats.",
        )
    return text_input.read_text(
        path, what="an abstract", shorten="Give only the abstract, not the whole paper."
    )


def title_and_abstract(text: str) -> tuple[str, str]:
    """Return the title of a text, which may be "", and its abstract.

    The title is a Markdown heading at the beginning of the text, or else a short first line. The
    line must not end with a full stop, and an empty line and more text must follow. The abstract is
    the text from a line "Abstract" to the next heading. Without such a line, the abstract is the
    text after the title and a label "Abstract:", if any. If the text has LaTeX's environment
    `abstract`, the abstract is the content of the environment, and the title is "". A title or an
    abstract in YAML front matter takes precedence.
    """
    body = text.replace("\r\n", "\n").replace("\r", "\n").strip("\ufeff \t\n\f\v")
    given, stated, body = _without_front_matter(body)
    title, body = "", stated or body
    _, environment, after = body.partition(r"\begin{abstract}")
    if environment:
        return given, _COMMENT.sub("", after.partition(r"\end{abstract}")[0]).strip()
    if not stated and not _LABEL_LINE.match(body):
        title, body = _split_title(body)
    if label := _LABEL_LINE.search(body):
        after = body[label.end() :]
        following = _NEXT_HEADING.search(after)
        body = after[: following.start()] if following else after
    elif label := _LABEL.match(body):
        body = body[label.end() :]
    return given or title, body.strip()


def _without_front_matter(text: str) -> tuple[str, str, str]:
    """Return the title and the abstract in YAML front matter, and the text after the front matter.

    A missing title or abstract is "". Without front matter, the third value is the whole text.
    """
    found = _FRONT_MATTER.match(text)
    if found is None:
        return "", "", text
    try:
        parsed = skill_md.parse_front_matter(found["yaml"], Path(), lenient=True)
    except UsageError:  # the text between two horizontal rules is not front matter
        return "", "", text
    keys = {key.casefold(): key for key in parsed.fields}
    if not keys or any(re.search(r"\s", key) for key in keys):
        return "", "", text
    title, abstract = (parsed.text(keys.get(name, name)) for name in ("title", "abstract"))
    return _clean(title), abstract, text[found.end() :].lstrip()


def _split_title(text: str) -> tuple[str, str]:
    if heading := _HEADING.match(text):
        return _clean(_CLOSING.sub("", heading["text"], count=1)), text[heading.end() :]
    first, gap, rest = text.partition("\n\n")
    title = first.strip()
    short = len(title.split()) <= TITLE_WORDS and "\n" not in title and not title.endswith(".")
    if gap and rest.strip() and short and not _LABEL.match(first):
        return _clean(title), rest
    return "", text


def _clean(title: str) -> str:
    title = re.sub(r"^title:\s*", "", title.strip(), flags=re.IGNORECASE)
    bold = re.fullmatch(r"(\*\*|__)(.+)\1", title)
    return " ".join((bold[2] if bold else title).split())


def _title_and_abstract(text: str, where: str) -> tuple[str, str]:
    """Return the title and the abstract of a text, as `title_and_abstract` does.

    Args:
        where: the origin of the text, for messages.

    Raises:
        InputError: the text is a list of papers, or the abstract consists of list items or table
            rows.
    """
    from skills.corpus.tables.markdown_lists import consists_of_items, is_list

    problem = "is a list of several papers, not one abstract"
    if is_list(text):
        hint = "Save the text as a .md file; each of its papers is then annotated."
        raise InputError(problem, where=where, hint=hint)
    paragraphs = re.split(r"\n[^\S\n]*\n\s*", text.strip())
    titles = [
        one
        for one, following in itertools.pairwise(paragraphs)
        if re.fullmatch(r"[^\n]{3,200}[^\s.:;,]", one)
        and not heading_end(f"{one}:")
        and len(following.split()) >= TEXT_WORDS
    ]
    if len(titles) > 1:
        hint = f"Save the text as a .md file with ## before each title, as in ## {titles[1]}."
        raise InputError(problem, where=where, hint=hint)
    title, abstract = title_and_abstract(text)
    if consists_of_items(abstract):
        raise InputError(
            "consists of list items or table rows, not of one abstract",
            where=where,
            hint="For several papers, save a .md file with ## before each title and the abstract "
            "below it, or a .csv file; for one abstract, remove the marks of the list.",
        )
    return title, abstract
