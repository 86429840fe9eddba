"""How an input becomes a paper: a file, an arXiv id, stdin, or the abstract itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from harness.errors import InputError
from harness.support.text_input import SUFFIXES, TEXT_WORDS, is_file, path_in
from skills.annotate import text_files
from skills.corpus.tables import reader
from skills.nanda.arxiv_id import WHOLE
from skills.nanda.paper import Paper, own_id
from skills.nanda.text import flatten

ABSTRACT_WORDS = TEXT_WORDS
"""From this length on, text on the line is an abstract; anything shorter is a topic."""
FEWEST_WORDS = 5
"""What comes from a file or stdin was given as an abstract, and is one from this length on."""
ACCEPTED = (
    f"Give an abstract of {ABSTRACT_WORDS} words or more, a {' or '.join(SUFFIXES)} file, "
    "an arXiv id, or - for stdin."
)
_SEVERAL = "Give one arXiv id at a time on the line, or a table with the abstracts."

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*://|www\.|arxiv\.org/)\S+", re.IGNORECASE)


def read_paper(
    text: str,
    *,
    fetch: Callable[[str], Paper],
    source: Literal["line", "stdin"] = "line",
    title: str | None = None,
    max_words: int = 1500,
) -> Paper:
    """Make a paper of what stands on the line, or of all of stdin.

    Args:
        fetch: returns the paper with an arXiv id.
        title: instead of the one found.
        max_words: words of an abstract at most.

    Raises:
        InputError: the input is none of the kinds that are read, or cannot be read.
        NothingFound, SkillFailed: as `fetch` does.
    """
    asked = text.strip()
    if source == "stdin":
        paper = _given(text, "stdin")
    elif not is_file(asked) and (arxiv_id := arxiv_id_in(asked)):
        paper = fetch(arxiv_id)
    elif _is_long(asked):
        paper = _given(text, "text")
    elif path := path_in(asked):
        paper = _from_file(path)
    else:
        raise _no_abstract(asked)
    check_length(paper, max_words)
    return replace(paper, title=flatten(title)) if title is not None else paper


def table_in(text: str) -> Path | None:
    """The table of papers that `text` names, by its suffix or, of a .md file, by what it holds."""
    asked = text.strip()
    path = None if _is_long(asked) else path_in(asked)
    if path is None or path.suffix.lower() not in reader.SUFFIXES:
        return None
    return path if path.suffix.lower() != ".md" or reader.is_list(path) else None


def is_topic(text: str) -> bool:
    """Whether `text` is too short for an abstract and names neither a file nor a paper.

    Raises:
        InputError: it is several arXiv ids, or an address of something else than an arXiv paper.
    """
    asked = text.strip()
    return not (_is_long(asked) or path_in(asked) or arxiv_id_in(asked))


def arxiv_id_in(text: str) -> str | None:
    """The arXiv id that `text` is, with its version if it has one.

    Takes new ids (2405.12345v2), old ones (cs.AI/0112017), "arXiv:" before either, and addresses
    of abstract, PDF and HTML pages; the stamp of a PDF, "arXiv:2405.12345v1 [cs.CL] 20 May 2024".

    Raises:
        InputError: several of these, or an address that is none of them.
    """
    if found := WHOLE.fullmatch(text):
        return found["id"]
    if _are_ids(text):
        raise InputError("several arXiv ids are not read at a time", hint=_SEVERAL)
    if _URL.fullmatch(text):
        raise InputError(
            "of web addresses, only those of arXiv papers are read",
            where=text,
            hint="Give https://arxiv.org/abs/ID, or the abstract itself.",
        )
    return None


def _are_ids(text: str) -> bool:
    """Whether `text` is nothing but arXiv ids."""
    words = re.findall(r"[^\s,;]+", text)
    return bool(words) and all(map(WHOLE.fullmatch, words))


def _is_long(text: str) -> bool:
    return len(text.split()) >= ABSTRACT_WORDS


def _given(text: str, kind: str) -> Paper:
    try:
        text.encode()
    except UnicodeEncodeError as exc:  # bytes of the command line that are no UTF-8
        raise InputError(f"the {kind} is not UTF-8 text (character {exc.start})") from exc
    if "\0" in text:
        raise InputError(f"the {kind} is binary (character {text.index(chr(0))} is 0)")
    title, abstract = text_files.title_and_abstract(text)
    return Paper("id", own_id(abstract), title, abstract, {"kind": kind})


def _from_file(path: Path) -> Paper:
    title, abstract = text_files.title_and_abstract(text_files.read(path))
    shown = os.fsencode(path).decode("utf-8", "replace")
    source = {"kind": "file", "path": shown}
    return Paper("id", own_id(abstract), title, abstract, source)


def _no_abstract(text: str) -> InputError:
    shown = flatten(text)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    count = len(text.split())
    return InputError(
        f"{shown!r} looks like a topic ({count} {'word' if count == 1 else 'words'}), "
        "and a topic cannot be annotated",
        hint=ACCEPTED,
    )


def check_length(paper: Paper, max_words: int) -> None:
    count = len(paper.abstract.split())
    where = paper.source.get("path") or paper.source.get("arxiv_id")
    if not count:
        raise InputError("holds no abstract", where=where or "the text", hint=ACCEPTED)
    if _are_ids(paper.abstract):
        raise InputError(
            "holds arXiv ids and no abstract",
            where=where or f"the {paper.source['kind']}",
            hint=_SEVERAL,
        )
    if count < FEWEST_WORDS:
        raise InputError(
            f"{count} {'word is' if count == 1 else 'words are'} no abstract",
            where=where or f"the {paper.source['kind']}",
            hint=ACCEPTED,
        )
    if count > max_words:
        raise InputError(
            f"{count:,} words are too many for an abstract; {max_words:,} are the most",
            where=where or f"the {paper.source['kind']}",
            hint="Give the abstract alone, not the whole paper.",
        )
