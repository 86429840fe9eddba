"""Recognize the kind of input on a line, and texts that are probably not abstracts."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.api.skill import Source
from harness.errors import InputError
from harness.support.text_input import (
    SUFFIXES,
    TEXT_WORDS,
    at_home,
    is_file,
    is_folder,
    path_in,
    unquote,
)
from skills.corpus import table
from skills.corpus.table import is_pdf, is_several
from skills.nanda.paper import WHOLE_ARXIV_ID, Paper
from skills.nanda.sentences import split_sentences
from skills.nanda.text import flatten, set_of

if TYPE_CHECKING:
    from skills.corpus.lookups.id_list import Id, IdList

ABSTRACT_WORDS = 12
"""Minimum number of words of an abstract on the line.

A text with fewer than `TEXT_WORDS` words must also have the end of a sentence; otherwise it is a
topic. A text of `TEXT_WORDS` words or more is always an abstract.
"""
CHARS_PER_WORD = 20
"""Maximum number of characters of an abstract, as a multiple of the maximum number of words.

Longer texts are refused: they have extremely long words, or no blanks between words.
"""
FEWEST_WORDS = 5
"""Minimum number of words of an abstract from a file, stdin or a table."""
ACCEPTED = (
    f"Give an abstract of {ABSTRACT_WORDS} words or more, a {' or '.join(SUFFIXES)} file, "
    "an arXiv id, a DOI, a PMID, or - for stdin."
)
_ONE_ID = "Give one arXiv id at a time on the line, or a table with the abstracts."

_LIKE_ID = re.compile(r"arxiv:\S*|\d{4}\.\d{3}[^\s.]*", re.IGNORECASE)
"""Matches a text like an arXiv id, such as 2405.123, but not a file name such as 2405.123.txt."""
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*://|www\.|arxiv\.org/)\S+", re.IGNORECASE)
FUNCTION_WORDS = set_of(
    """
    and are been between both but by can during each from how into it its more most not other our
    such than that the their there these they this those through to under using were which while who
    with within without
    """
)
"""Frequent English words; few of them occur in Danish, Dutch, French, German or Portuguese."""
LEAST_ENGLISH = 0.05
"""Minimum share of `FUNCTION_WORDS` among the words of an English text.

The share in English abstracts is at least 0.078.
"""
FEWEST = 20
"""Minimum number of words or letters of a text for which the language is checked."""
HEAD = 10_000
"""Number of characters at the beginning of a text that `problem_of` examines."""
ENOUGH = 3
"""Minimum number of typical lines in a table of contents, source code or list of references."""
_CONTENTS = re.compile(
    r"(?:(?<!\.)\.{4,}|(?:\. ){4,}|\u2026{2,})\s*(?:\d+|[ivxl]+)\b"  # "Results ..... 12"
    r"|^\s*\d{1,2}(?:\.\d{1,2})*\.?\s+[A-Z].{0,80}\s\d{1,3}\s*$",  # "2.1 Results 12"
    re.MULTILINE,
)
_CONTENTS_TITLE = re.compile(r"\W*(?:table of )?contents\W*\n", re.IGNORECASE)
_ENTRY = re.compile(
    r"^(?:[Cc]hapter )?\d{1,2}(?:\.\d{1,2})*[.:]?[ \t]+[A-Z][^.!?\n]{0,80}$", re.MULTILINE
)
"""Matches a line in a table of contents without page numbers: "2.1 Results"."""
_STOP = re.compile(r"[.!?]$", re.MULTILINE)
_CODE = re.compile(
    r"^\s*(?:#include\b.*|(?:from|import) [\w.]+.*|(?:class|def|fn|func|function) \w+.*[{:(].*"
    r"|(?:const|let|return|var)\b.*|(?:for|if|while|with)\b.*[{:]|[})\]]+;?|.*[;{]"
    r"|[\w.\[\]]+ ?[-+*]?= .*|[\w.]+\(.*\);?)\s*$",
    re.MULTILINE,
)
_REFERENCE = re.compile(
    r"^\s*(?:\[\d+\]|\d{1,3}\.|[^\W\d_]+,(?: [A-Z]\.)+).*\b(?:19|20)\d\d\b.*$", re.MULTILINE
)
_SALUTATION = re.compile(
    r"\s*(?:(?:dear|hello|hi)(?:\s[^\n]{1,60}?)?|to whom it may concern)[,:!\n]"
    r"|\s*(?:from|subject|to|cc|date|sent): [^\n]+\n",
    re.IGNORECASE,
)
_TO_READER = re.compile(r"\b(?:your?|thanks?|regards)\b|^(?:from|subject|to):", re.I | re.M)
_INGREDIENT = re.compile(
    r"\b(?:\d[\d/.,]*\s?|(?:an?|half|one|two|three|four|five|six|eight|ten)\s)"
    r"(?:cups?|dl|g|grams?|kg|ml|ounces?|oz|pinch|tablespoons?|tbsp|teaspoons?|tsp)\b(?=\s[a-z]{2})",
    re.IGNORECASE,
)
_COOKING = re.compile(
    r"\b(?:bake|boil|chop|drain|fry|garnish|knead|pour|preheat|serve|simmer|sprinkle|stir|whisk)\b",
    re.IGNORECASE,
)
VARIANTS: Mapping[str, str] = {
    "id": "a paper by its id",
    "ids": "a list of ids",
    "table": "a table",
    "topic": "a topic",
}
"""The key of `Annotate.variants` by kind of input; the key of other kinds is "one paper"."""


@dataclass(frozen=True, slots=True)
class Input:
    """The input on a line or from stdin.

    Attributes:
        path: the path of a table, a list of ids, a PDF file or a text file.
        ids: the ids in a list.
        id: a DOI, a PMID or an OpenAlex id.
        arxiv_id: an arXiv id, with its version if there is one.
    """

    kind: Literal["stdin", "id", "ids", "table", "arxiv", "pdf", "file", "text", "topic"]
    text: str
    path: Path | None = None
    ids: IdList | None = None
    id: Id | None = None
    arxiv_id: str = ""

    @property
    def is_of_pdfs(self) -> bool:
        """True for a PDF file, or a folder of PDF files."""
        if self.path is None or not at_home(self.path).is_dir():
            return self.kind == "pdf" or (self.path is not None and is_pdf(self.path))
        from skills.corpus.pdf.pdf_files import is_of_pdfs

        return is_of_pdfs(self.path)

    @property
    def variant(self) -> str:
        """The name of the options for this kind of input, a key of `Annotate.variants`."""
        return VARIANTS.get(self.kind, "one paper")


def recognize(text: str, source: Source = "line", limit: int | None = None) -> Input:
    """Return the input on a line, with its kind.

    A folder is a table. The content decides whether a .md file is a list of papers, and whether a
    .txt file is a list of ids. The suffix of any other file decides whether the file is a table or
    a text. A text that is neither a path nor an id is an abstract or a topic.

    Args:
        source: "stdin" for a text from stdin, whose kind is always "stdin".
        limit: the maximum number of ids that are read from a list.

    Raises:
        InputError: the file cannot be read; or the text is an invalid arXiv id, several arXiv ids,
            or a URL that does not lead to an arXiv paper (see `arxiv_id_in`).
    """
    given = text.strip()
    if source == "stdin":
        return Input("stdin", text)
    if one := _id_in(given):
        return Input("id", text, id=one)
    path = None if _is_long(given) else path_in(given)
    if path is None and not _is_long(given) and is_folder(unquote(given)):
        path = Path(unquote(given))
    if path is not None:
        if (ids := _ids_in(path, limit)) is not None:
            return Input("ids", text, path, ids)
        if _is_table(path):
            return Input("table", text, at_home(path))
    if not is_file(given) and (arxiv_id := arxiv_id_in(given)):
        return Input("arxiv", text, arxiv_id=arxiv_id)
    if path is not None:
        return Input("pdf" if is_pdf(path) else "file", text, path)
    return Input("text" if _is_abstract(given) else "topic", text)


def is_paper(word: str) -> bool:
    """Return True if `word` is the id of a paper, or an existing file or folder of papers."""
    with contextlib.suppress(InputError):
        found = recognize(unquote(word))
        if found.path is None:
            return found.kind in ("id", "arxiv")
        is_known = found.kind != "file" or found.path.suffix.lower() in SUFFIXES
        return is_known and at_home(found.path).exists()
    return False


def are_ids(text: str) -> bool:
    """Return True if each non-empty line of `text` is a DOI, a PMID or an OpenAlex id."""
    return all(_id_in(line.strip()) for line in text.split("\n") if line.strip())


def arxiv_id_in(text: str) -> str | None:
    """Return the arXiv id, with its version, if `text` is only an arXiv id; otherwise None.

    New ids (2405.12345v2) and old ids (cs.AI/0112017) are accepted: alone, after "arXiv:", as
    stamped on a PDF ("arXiv:2405.12345v1 [cs.CL] 20 May 2024"), and in URLs of abstract, PDF and
    HTML pages.

    Raises:
        InputError: `text` is an invalid arXiv id, several arXiv ids, or another URL.
    """
    if found := WHOLE_ARXIV_ID.fullmatch(text):
        return found["id"]
    if _are_ids(text):
        raise InputError("several arXiv ids cannot be read at once", hint=_ONE_ID)
    if _LIKE_ID.fullmatch(text):
        raise InputError(
            "is not an arXiv id",
            where=text,
            hint="An arXiv id has two digits of the year, a month from 01 to 12, a point, and four "
            "or five digits: 2405.12345, or 2405.12345v2.",
        )
    if _URL.fullmatch(text):
        raise InputError(
            "only URLs of arXiv papers can be read",
            where=text,
            hint="Give https://arxiv.org/abs/ID, or the abstract itself.",
        )
    return None


def check_length(paper: Paper, max_words: int, where: str = "") -> None:
    """Check that the abstract of a paper has a length that can be annotated.

    Args:
        where: the origin of the paper, for the message; by default from `paper.source`.

    Raises:
        InputError: the abstract is missing, too short or too long, or consists of arXiv ids.
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


def problem_of(text: str) -> str:
    """Return the reason why a text is probably not an English abstract.

    A reason is a predicate such as "looks like a letter". The result is "" for a text that may be
    an English abstract.
    """
    kept = [*filter(None, map(str.strip, text[:HEAD].splitlines()))]
    text, lines = "\n".join(kept), len(kept)
    numbered = len(_ENTRY.findall(text)) >= max(ENOUGH, 0.7 * lines)
    titled = _CONTENTS_TITLE.match(text) and lines > ENOUGH and not _STOP.search(text)
    if numbered or titled or len(_CONTENTS.findall(text)) >= ENOUGH:
        return "looks like a table of contents"
    if len(_CODE.findall(text)) >= max(ENOUGH, 0.5 * lines):
        return "looks like source code"
    if len(_REFERENCE.findall(text)) >= max(ENOUGH, 0.5 * lines):
        return "looks like a list of references"
    if (greeting := _SALUTATION.match(text)) and _TO_READER.search(text, greeting.end()):
        return "looks like a letter"
    if len(_INGREDIENT.findall(text)) > 1 and len({*map(str.lower, _COOKING.findall(text))}) > 1:
        return "looks like a recipe"
    letters = [] if text.isascii() else [char for char in text if char.isalpha()]
    words = re.findall(r"[^\W\d_]+", text.casefold())
    is_foreign = len(letters) >= FEWEST and sum(map(str.isascii, letters)) < 0.5 * len(letters)
    few = sum(word in FUNCTION_WORDS for word in words) < LEAST_ENGLISH * len(words)
    return "is not in English" if is_foreign or (few and len(words) >= FEWEST) else ""


def _id_in(given: str) -> Id | None:
    """Return the id if a text consists of one DOI, PMID or OpenAlex id; otherwise None."""
    if _is_long(given) or is_file(given):
        return None
    from skills.corpus.lookups import id_list

    return id_list.id_in(given)


def _ids_in(path: Path, limit: int | None) -> IdList | None:
    """Return the ids in a text file, or None if the file is not a list of ids."""
    if path.suffix.lower() != ".txt":
        return None
    from skills.corpus.lookups import id_list

    return id_list.read(path, limit=limit)


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
