"""Read a paper from a file, an arXiv id, stdin, or the line itself."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

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
from skills.corpus.lookups.id_list import IdList
from skills.corpus.pdf.pdf_files import is_pdf
from skills.corpus.table import Columns, open_table
from skills.corpus.tables.markdown_lists import consists_of_items, is_list
from skills.corpus.tables.parquet_files import is_several
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


def read_paper(
    text: str,
    *,
    fetch: Callable[[str], Paper],
    source: Source = "line",
    title: str | None = None,
    max_words: int = 1500,
    sections: Sequence[str] = (),
) -> Paper:
    """Return the paper that the line contains or names, or that stdin contains.

    Args:
        fetch: returns the paper with an arXiv id, a DOI, a PMID or an OpenAlex id.
        title: replaces the title that was found.
        max_words: the maximum length of an abstract.
        sections: the kinds of sections that are read of a PDF file, too.

    Raises:
        InputError: the input is none of the supported kinds, or cannot be read.
        NothingFound, SkillFailed: `fetch` raised it.
    """
    given = text.strip()
    if source == "stdin":
        paper = _from_text(text, "stdin")
    elif names_paper(given):
        paper = fetch(given)
    elif not is_file(given) and (arxiv_id := arxiv_id_in(given)):
        paper = fetch(arxiv_id)
    elif is_pdf(path := path_of(given)):
        assert path is not None
        paper = next(open_table(path, Columns(sections=tuple(sections))).rows()).paper
    elif path:
        text = abstract_text.read(path)
        title_found, abstract = _title_and_abstract(text, shown(path))
        made_from = {"kind": "file", "path": shown(path)}
        paper = Paper("id", own_id(abstract), title_found, abstract, made_from)
    else:
        paper = _from_text(text, "text")
    check_length(paper, max_words)
    return replace(paper, title=flatten(title)) if title is not None else paper


def table_in(text: str) -> Path | None:
    """Return the path of a table of papers: by its suffix, a .md file by its content, a folder."""
    path = path_of(text)
    if path is not None and is_several(path):
        return path
    if path is None or is_pdf(path) or path.suffix.lower() not in table.SUFFIXES:
        return None
    return path if path.suffix.lower() != ".md" or is_list(path) else None


def is_paper(word: str) -> bool:
    """Return True if `word` names a paper by its id, or an existing file or folder of papers."""
    path = at_home(named := unquote(word))
    with contextlib.suppress(InputError):
        if path.exists():
            return path.suffix.lower() in SUFFIXES or table_in(named) is not None
        return names_paper(named) or arxiv_id_in(named) is not None
    return False


def id_list_in(text: str, limit: int | None) -> IdList | None:
    """Return the ids of the text file that `text` names, None if it is not a list of ids."""
    path = path_of(text.strip())
    return None if path is None else id_list.read(path, limit=limit)


def names_paper(text: str) -> bool:
    """Return True if `text` is a DOI, a PMID or an OpenAlex id, and not the name of a file."""
    given = text.strip()
    return not _is_long(given) and not is_file(given) and id_list.id_in(given) is not None


def is_topic(text: str) -> bool:
    """Return True if `text` is not an abstract and names neither a file nor a paper.

    A single question is a topic, whatever its length below `TEXT_WORDS`.

    Raises:
        InputError: see `arxiv_id_in`.
    """
    given = text.strip()
    if names_paper(given):
        return False
    return not (_is_abstract(given) or path_in(given) or arxiv_id_in(given))


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


def path_of(text: str) -> Path | None:
    """Return the path that a text is, None if it is something else."""
    given = text.strip()
    return None if _is_long(given) else path_in(given)


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


def _from_text(text: str, kind: str) -> Paper:
    if "\0" in text:
        raise InputError(f"the {kind} is binary (character {text.index(chr(0))} is 0)")
    # A line of a terminal that is not UTF-8 has lone surrogates, which cannot be stored.
    title, abstract = _title_and_abstract(well_formed(text), f"the {kind}")
    return Paper("id", own_id(abstract), title, abstract, {"kind": kind})
