"""Recognize what the text of a line is, and read a paper from a file, stdin or the line itself."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.api.skill import Source
from harness.errors import InputError
from harness.support.text_input import (
    SUFFIXES,
    TEXT_WORDS,
    at_home,
    is_file,
    path_in,
    shown,
    unquote,
    well_formed,
)
from skills.annotate import abstract_text
from skills.corpus import table
from skills.corpus.lookups import id_list
from skills.corpus.lookups.id_list import Id, IdList
from skills.corpus.table import Columns, is_pdf, is_several, open_table
from skills.nanda.paper import WHOLE_ARXIV_ID, Paper, own_id
from skills.nanda.sentences import heading_end, split_sentences
from skills.nanda.text import flatten

ABSTRACT_WORDS = 12
"""Text on the line of at least this length in which a sentence ends is an abstract, and so is text
of `TEXT_WORDS`; anything else is a topic."""
CHARS_PER_WORD = 20
"""Characters, for each word of the maximum, from which a text is too long: one in a script without
blanks between the words, or one endless word."""
FEWEST_WORDS = 5
"""The minimum length of an abstract from a file, stdin or a table."""
ACCEPTED = (
    f"Give an abstract of {ABSTRACT_WORDS} words or more, a {' or '.join(SUFFIXES)} file, "
    "an arXiv id, a DOI, a PMID, or - for stdin."
)
_ONE_ID = "Give one arXiv id at a time on the line, or a table with the abstracts."

_LIKE_ID = re.compile(r"arxiv:\S*|\d{4}\.\d{3}[^\s.]*", re.IGNORECASE)
"""A word that begins like an arXiv id. With a suffix it is a missing file."""
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*://|www\.|arxiv\.org/)\S+", re.IGNORECASE)


VARIANTS: Mapping[str, str] = {
    "id": "a paper by its id",
    "ids": "a list of ids",
    "table": "a table",
    "topic": "a topic",
}
"""The variant of the options for a kind of input, where it is not that of one paper."""


@dataclass(frozen=True, slots=True)
class Input:
    """What the text of a line, or of stdin, is.

    Attributes:
        path: of a table, a PDF file or a text file.
        ids: of a list of ids.
        id: a DOI, a PMID or an OpenAlex id.
        arxiv_id: with its version if there is one.
    """

    kind: Literal["stdin", "id", "ids", "table", "arxiv", "pdf", "file", "text", "topic"]
    text: str
    path: Path | None = None
    ids: IdList | None = None
    id: Id | None = None
    arxiv_id: str = ""

    @property
    def variant(self) -> str:
        """The key of `Annotate.variants`."""
        return VARIANTS.get(self.kind, "one paper")


def recognize(text: str, source: Source = "line", limit: int | None = None) -> Input:
    """Return what the text of a line is.

    A table is recognized by its suffix, a .md file by its content, a folder by its files. A single
    question is a topic, whatever its length below `TEXT_WORDS`.

    Args:
        limit: the maximum number of ids of a list.

    Raises:
        InputError: the file cannot be read, or see `arxiv_id_in`.
    """
    given = text.strip()
    if source == "stdin":
        return Input("stdin", text)
    if one := _id_in(given):
        return Input("id", text, id=one)
    path = None if _is_long(given) else path_in(given)
    if path is not None:
        if (ids := id_list.read(path, limit=limit)) is not None:
            return Input("ids", text, path, ids)
        if _is_table(path):
            return Input("table", text, at_home(path))
    if not is_file(given) and (arxiv_id := arxiv_id_in(given)):
        return Input("arxiv", text, arxiv_id=arxiv_id)
    if path is not None:
        return Input("pdf" if is_pdf(path) else "file", text, path)
    return Input("text" if _is_abstract(given) else "topic", text)


def read_paper(found: Input, sections: Sequence[str] = ()) -> Paper:
    """Return the paper that a line, a file or stdin contains.

    Args:
        sections: the kinds of sections that are read of a PDF file, too.

    Raises:
        InputError: it cannot be read, or is a list of papers.
    """
    if found.kind in ("pdf", "file"):
        assert found.path is not None
        if found.kind == "pdf":
            return next(open_table(found.path, Columns(sections=tuple(sections))).rows()).paper
        text, source = abstract_text.read(found.path), {"path": shown(found.path)}
        where = shown(found.path)
    else:
        text, source = found.text, {}
        where = "the stdin" if found.kind == "stdin" else "the text"
        if "\0" in text:
            raise InputError(f"{where} is binary (character {text.index(chr(0))} is 0)")
        # A line of a terminal that is not UTF-8 has lone surrogates, which cannot be stored.
        text = well_formed(text)
    title, abstract = _title_and_abstract(text, where)
    kind = found.kind if found.kind in ("stdin", "file") else "text"
    return Paper("id", own_id(abstract), title, abstract, {"kind": kind, **source})


def is_paper(word: str) -> bool:
    """Return True if `word` names a paper by its id, or an existing file or folder of papers."""
    with contextlib.suppress(InputError):
        found = recognize(unquote(word))
        if found.path is None:
            return found.kind in ("id", "arxiv")
        is_known = found.kind != "file" or found.path.suffix.lower() in SUFFIXES
        return is_known and at_home(found.path).exists()
    return False


def are_ids(text: str) -> bool:
    """Return True if each line that is not empty is a DOI, a PMID or an OpenAlex id."""
    return all(_id_in(line.strip()) for line in text.split("\n") if line.strip())


def arxiv_id_in(text: str) -> str | None:
    """Return the arXiv id that `text` consists of, with its version if there is one, or None.

    Accepts new ids (2405.12345v2), old ones (cs.AI/0112017), both with "arXiv:", the stamp of a PDF
    ("arXiv:2405.12345v1 [cs.CL] 20 May 2024"), and URLs of abstract, PDF and HTML pages.

    Raises:
        InputError: `text` consists of several ids, is like an id, or is another URL.
    """
    if found := WHOLE_ARXIV_ID.fullmatch(text):
        return found["id"]
    if _are_ids(text):
        raise InputError("several arXiv ids cannot be read at once", hint=_ONE_ID)
    if _LIKE_ID.fullmatch(text):
        raise InputError(
            "is not an arXiv id",
            where=text,
            hint="It has two digits of the year, a month from 01 to 12, a point, and four or five "
            "digits: 2405.12345, or 2405.12345v2.",
        )
    if _URL.fullmatch(text):
        raise InputError(
            "only URLs of arXiv papers can be read",
            where=text,
            hint="Give https://arxiv.org/abs/ID, or the abstract itself.",
        )
    return None


def check_length(paper: Paper, max_words: int, where: str = "") -> None:
    """Check that a paper has an abstract of a length that can be annotated.

    Args:
        where: the place of the paper, for the message; by default its source.

    Raises:
        InputError: it does not.
    """
    count = len(paper.abstract.split())
    hint = ACCEPTED
    if not count:
        problem = "contains no abstract"
    elif _are_ids(paper.abstract):
        problem, hint = "contains arXiv ids, but no abstract", _ONE_ID
    elif count < FEWEST_WORDS:
        problem = f"{count} {'word is' if count == 1 else 'words are'} too few for an abstract"
    elif count > max_words:
        problem = f"{count:,} words are too many for an abstract; the maximum is {max_words:,}"
        hint = "Give only the abstract, not the whole paper."
    elif (chars := len(flatten(paper.abstract))) > max_words * CHARS_PER_WORD:
        most = max_words * CHARS_PER_WORD
        problem = f"{chars:,} characters are too many for an abstract; the maximum is {most:,}"
        hint = "Give only the abstract, not the whole paper."
    else:
        return
    source = paper.source
    where = where or source.get("path") or source.get("arxiv_id") or f"the {source['kind']}"
    raise InputError(problem, where=where, hint=hint)


def _id_in(given: str) -> Id | None:
    """Return the DOI, PMID or OpenAlex id that a text is, None if it is also the name of a file."""
    return None if _is_long(given) or is_file(given) else id_list.id_in(given)


def _is_table(path: Path) -> bool:
    if is_several(path):
        return True
    if path.suffix.lower() == ".md":
        from skills.corpus.tables.markdown_lists import is_list

        return is_list(path)
    return path.suffix.lower() in table.SUFFIXES and not is_pdf(path)


def _are_ids(text: str) -> bool:
    words = re.findall(r"[^\s,;]+", text)
    return bool(words) and all(map(WHOLE_ARXIV_ID.fullmatch, words))


def _is_long(text: str) -> bool:
    return len(text.split()) >= TEXT_WORDS


def _is_abstract(text: str) -> bool:
    if len(text.split()) < ABSTRACT_WORDS:
        return False
    *before, last = split_sentences(text)
    return _is_long(text) or bool(before) or last.endswith((".", "!"))


def _title_and_abstract(text: str, where: str) -> tuple[str, str]:
    """Return the title, or "", and the abstract of a text.

    Raises:
        InputError: it is a list of papers: in Markdown, or as paragraphs with a title above each.
    """
    from skills.corpus.tables.markdown_lists import consists_of_items, is_list

    problem = "is a list of several papers, not one abstract"
    if is_list(text):
        hint = "Save it as a .md file: each paper of it is annotated."
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
        hint = f"Save it as a .md file with ## before each title, as in ## {titles[1]}."
        raise InputError(problem, where=where, hint=hint)
    title, abstract = abstract_text.title_and_abstract(text)
    if consists_of_items(abstract):
        raise InputError(
            "consists of list items or table rows, not of one abstract",
            where=where,
            hint="For several papers, save a .md file with ## before each title and the abstract "
            "below it, or a .csv file; for one abstract, remove the marks of the list.",
        )
    return title, abstract
