"""Define the base class of table readers, and find columns of a table by name or option.

Column names are recognized in English, German, French, Spanish, Italian, Portuguese, Dutch, Polish,
Chinese and Japanese, and as Zotero, Citavi, Scopus, Web of Science and other programs write them.
"""

from __future__ import annotations

import datetime
import itertools
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.errors import InputError
from harness.support.text_input import place
from skills.nanda.paper import ID_FIELDS, IdField
from skills.nanda.text import flatten, letters_of

AbstractBy = Literal["column", "provenance", "id"]
"""How a table provides abstracts.

"column" requires a column with abstracts. "provenance" also accepts a table with a provenance
column, and "id" a table with an id column. The abstracts are then looked up by provenance or id.
"""

IDENTITY = ("doi", "pmid", "venue")
"""Columns that are kept in `Paper.source`."""
EXTRAS = ("authors", "published", "categories", *IDENTITY)
"""Columns of a paper that may be missing and may contain values of every type."""
ANCHORS, CONFIDENCE, SUGGESTIONS, SECTIONS = "anchors", "confidence", "suggestions", "sections"
PROVENANCE, ERROR = "provenance", "error"
OBJECTS = ANCHORS, CONFIDENCE, SUGGESTIONS, SECTIONS, PROVENANCE, ERROR
"""Columns of saved annotations (see `table.TableRow`) that contain objects instead of text."""
UNCERTAIN = "uncertain"
DOUBT = UNCERTAIN, CONFIDENCE, SUGGESTIONS
"""Columns about confidence in saved .csv and .xlsx files; these columns are not read back."""
_UNREAD = (*OBJECTS, "support", "checks", UNCERTAIN)
"""Columns that the harness writes, and which are therefore not reported as unused."""
_TYPES = {list: "a list", dict: "an object", bool: "true or false", float: "a decimal number"}
SHOWN_CHARS = 300
"""Maximum number of characters of the column names in a message."""
MAX_CHARS = 1_000_000
"""Maximum number of characters of a cell; bench/text.py measures readers with cells this long."""
_NAMES = {
    "abstract": """Abstract, Abstract Note, Abstract Text, Zusammenfassung, Kurzfassung, Résumé,
        Resumen, Riassunto, Sommario, Resumo, Samenvatting, Streszczenie, Abstrakt, 摘要, 要旨,
        抄録, 要約, AB, Summary""",
    "title": """Title, Article Title, Document Title, Paper Title, Titel, Titre, Título, Titolo,
        Tytuł, Tytul, 标题, 標題, 题名, 題名, 题目, 篇名, タイトル, 論文名, TI""",
    "authors": """Authors, Author, Author Full Names, Autor, Autoren, Autor(en), Verfasser, Auteur,
        Auteurs, Auteur(s), Autores, Autor(es), Autore, Autori, Autorzy, 作者, 著者, 著者名, AU""",
    "published": """Published, Publication Date, Date Published, Publication Year, Published Year,
        PubYear, Year, Jahr, Erscheinungsjahr, Année, Année de publication, Año, Año de publicación,
        Anno, Anno di pubblicazione, Ano, Ano de publicação, Jaar, Rok, Rok wydania, 年份, 年,
        出版年, 发表年份, 発行年, PY, Date, Datum, Date de publication, Fecha, 日期, 日付""",
    "venue": """Venue, Journal, Publication Title, Source Title, Journal Title, Zeitschrift, Revue,
        Titre de la revue, Revista, Rivista, Tijdschrift, Czasopismo, 期刊, 刊名, 来源, 雑誌,
        雑誌名, 掲載誌, SO""",
    "doi": "DOI, DOI-Name, DI",
    "pmid": "PMID, PubMed ID, PubMed-ID",
    "arxiv_id": "arXiv ID, arXiv",
    "paper_id": "Paper ID",
}
HEADINGS: Mapping[str, tuple[str, ...]] = {
    role: tuple(dict.fromkeys(map(letters_of, names.split(",")))) for role, names in _NAMES.items()
}
"""For each role, the headings of its column as `letters_of` returns them, best heading first."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The options that select the columns, items or sections of a table to read.

    Attributes:
        abstract: the name of the column with abstracts; None to find the column.
        id: the name of the column with ids; None to find the column.
        title: the name of the column with titles; None to find the column.
        collection: for a Zotero library, the collection to read; None for the whole library.
        tags: for a Zotero library, the tags that each item must have.
        sections: for PDF files, the kinds of sections to read.
    """

    abstract: str | None = None
    id: str | None = None
    title: str | None = None
    collection: str | None = None
    tags: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()

    def present_in(self, names: Iterable[str]) -> Columns:
        """Return only the options for columns that are among `names`."""
        present = {fold(name) for name in names}
        abstract, id_, title = (
            name if name and fold(name) in present else None
            for name in (self.abstract, self.id, self.title)
        )
        return Columns(abstract, id_, title)


class Reader(ABC):
    """The base class of the readers of tables; each format has its own reader.

    Args:
        path: the file, or for some formats a folder.
        columns: the options; most formats do not use them.

    Attributes:
        unit: the unit in which rows are counted: "line", "row", "item" or "file".
        source_keys: keys of a row that are kept in `Paper.source`, with or without a column.
        has_ids_of_several_sources: True if the column "id" may contain arXiv ids.
        has_sections: True if rows contain the sections of a paper, under "sections".
    """

    unit = "line"
    source_keys: tuple[str, ...] = ()
    has_ids_of_several_sources = False
    has_sections = False

    def __init__(self, path: Path, columns: Columns | None = None) -> None:
        self.path = path
        self._columns = columns or Columns()

    @property
    def assumed(self) -> Sequence[str]:
        """Assumptions that the reader made about the file, such as "columns separated by ';'"."""
        return ()

    def located(self, position: int) -> tuple[Path, int]:
        """Return the file that contains the row at a position, and the position in this file."""
        return self.path, position

    def place(self, position: int) -> str:
        """Return the file and the position of a row as text, for messages."""
        path, at = self.located(position)
        return place(path, self.unit, at)

    @abstractmethod
    def header(self) -> tuple[str, ...]:
        """Return the names of the columns.

        Raises:
            InputError: the file does not have the format of this reader.
        """

    @abstractmethod
    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Any] | InputError]]:
        """Yield the position and the values of each row, reading the file lazily.

        Positions are counted from 1 in `unit`. For a row that cannot be read, an error is yielded
        in place of its values.

        Args:
            names: the columns to read; a reader may yield more columns.

        Raises:
            InputError: the file cannot be read to its end.
        """


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that are read from a table.

    Attributes:
        columns: the name of each column by its role: a field of a paper, a move, or one of
            `OBJECTS`.
        id_fields: the roles of the id columns, in the order of preference.
    """

    columns: Mapping[str, str]
    id_fields: tuple[IdField, ...]

    @property
    def id_column(self) -> str | None:
        """The name of the preferred id column, or None."""
        return self.columns[self.id_fields[0]] if self.id_fields else None

    def guessed(self, given: Columns) -> list[str]:
        """Return a description of each column whose name differs from its role.

        An example is "title from 'Titel'".

        Args:
            given: the options; columns that they name are omitted.
        """
        named = {fold(name) for name in (given.abstract, given.id, given.title) if name}
        return [
            f"{role} from {name!r}"
            for role, name in self.columns.items()
            if letters_of(name) != letters_of(role) and fold(name) not in named
        ]

    def unused(self, names: Iterable[str]) -> list[str]:
        """Return the names of columns that are not read and that the harness does not write."""
        used = {*self.columns.values()}
        return [name for name in names if name not in used and fold(name) not in _UNREAD]


def find_columns(
    names: Sequence[str],
    columns: Columns,
    moves: Sequence[str],
    where: str,
    abstract_by: AbstractBy = "column",
) -> Layout:
    """Return the columns to read from a table.

    Args:
        names: the column names of the table.
        columns: the options of the user.
        moves: the names of moves. The column of each move is read if it exists. If `moves` is
            empty, the column of provenance is ignored. The other columns of `OBJECTS` are read only
            if a column of provenance is read.
        where: the file, for messages.
        abstract_by: how the table must provide abstracts.

    Raises:
        InputError: a column is missing or ambiguous.
    """
    header = _Header(tuple(names), where, frozenset(map(fold, moves)))
    provenance = header.find(PROVENANCE) if moves else None
    beside = (role for role in OBJECTS if role not in (PROVENANCE, *moves))
    own = {role: header.find(role) for role in beside if provenance}
    ids = _id_columns(header, columns.id, several=provenance is not None)
    looked_up = {"column": False, "provenance": bool(provenance), "id": bool(ids)}[abstract_by]
    required = bool(columns.abstract) or not looked_up
    named = columns.abstract or "abstract", columns.title or "title"
    found: dict[str, str | None] = {
        "abstract": header.find(named[0], "--abstract-column", required=required),
        **dict(ids.items()),
        "title": header.find(named[1], "--title-column", required=bool(columns.title)),
        **{role: header.find(role) for role in (*EXTRAS, *moves)},
        **own,
        PROVENANCE: provenance,
    }
    return Layout({role: name for role, name in found.items() if name}, tuple(ids))


def as_text(value: object, role: str, name: str, where: str) -> str:
    """Return a value of the column `name` as text; None becomes "".

    Strings and integers are accepted for every role. For the roles in `EXTRAS`, values of every
    type are accepted: a list becomes "one, other", and an object in a list is represented by its
    "name". Other values without a text, such as true or an object, become "".

    Args:
        role: the role of the column; see `Layout.columns`.
        where: the place of the row, for messages.

    Raises:
        InputError: the role does not accept the type of the value, or a string has more than
            `MAX_CHARS` characters.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        if len(value) > MAX_CHARS:
            raise InputError(
                f"{name!r} has {len(value):,} characters; the maximum is {MAX_CHARS:,}",
                where=where,
                hint="Give only the abstract, not the whole paper."
                if role == "abstract"
                else "Shorten the text.",
            )
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if role not in EXTRAS:
        raise InputError(
            f"{name!r} is {_TYPES.get(type(value), type(value).__name__)}, not text",
            where=where,
            hint="Save ids as text: as a number, 2405.10 is 2405.1."
            if role in ID_FIELDS
            else "Save the column as text.",
        )
    if isinstance(value, list):
        names = (item.get("name") if isinstance(item, Mapping) else item for item in value)
        return ", ".join(name.strip() for name in names if isinstance(name, str) and name.strip())
    if isinstance(value, datetime.date):  # a datetime is also a date
        return value.isoformat()
    return "" if isinstance(value, (bool, bytes, Mapping)) or value != value else str(value)


def listed(names: Iterable[str]) -> str:
    """Return column names, separated by commas, in a text of at most `SHOWN_CHARS` characters."""
    return textwrap.shorten(flatten(", ".join(names)), SHOWN_CHARS, placeholder=" ...")


def fold(name: str) -> str:
    """Return a column name without surrounding blanks and in lower case, for comparisons."""
    return name.strip().casefold()


@dataclass(frozen=True, slots=True)
class _Header:
    names: tuple[str, ...]
    where: str
    moves: frozenset[str]

    def find(self, name: str, option: str = "", *, required: bool = False) -> str | None:
        """Return the column that is named `name`, ignoring case, or that has a heading of `name`.

        The headings are in `HEADINGS`. An exact match of `name` takes precedence. A column with the
        name of a move matches no heading.

        Args:
            option: the option that selects the column, or "".
            required: True to raise an error if no column matches.

        Raises:
            InputError: a required column is missing, or several columns match without a unique
                exact match. Without `option`, several columns may match the same heading.
        """
        if self.names.count(name) == 1:
            return name
        others = [column for column in self.names if fold(column) not in self.moves]
        # If no option can select a column, the first of several columns with the same heading is
        # used.
        most = None if option else 1
        alike = [column for column in self.names if fold(column) == fold(name)]
        for heading in HEADINGS.get(name, ()):
            alike = alike or [column for column in others if letters_of(column) == heading][:most]
        if len(alike) > 1:
            raise InputError(
                f"both {alike[0]!r} and {alike[1]!r} match the column {name}",
                where=self.where,
                hint=f"`{option} NAME` selects a column." if option else "Rename a column.",
            )
        if required and not alike:
            # `listed` limits the length: without a header, the names are texts of the first row.
            raise InputError(
                f"has no column {name!r}",
                where=self.where,
                hint=f"The columns are {listed(self.names)}; `{option} NAME` selects a column.",
            )
        return alike[0] if alike else None


def _id_columns(header: _Header, given: str | None, *, several: bool) -> dict[IdField, str]:
    """Return the columns with ids, by the id field whose values they contain.

    Args:
        given: the value of `--id-column`, which is then the only column; or None.
        several: True to return a column for each id field, as in saved .jsonl files; False to
            return only the preferred column.
    """
    if given is not None:
        column = header.find(given, "--id-column", required=True) or given
        return {next((name for name in ID_FIELDS if name == fold(column)), "id"): column}
    found = ((name, header.find(name, "--id-column")) for name in ID_FIELDS)
    present: dict[IdField, str] = {name: column for name, column in found if column}
    return present if several else dict(itertools.islice(present.items(), 1))
