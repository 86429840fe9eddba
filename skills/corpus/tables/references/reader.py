"""Read a reference file as a table of papers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from harness.errors import InputError
from harness.support.reading.text_input import at_home, shown
from harness.terminal.console import Screen
from skills.corpus.tables.columns import Columns, Reader
from skills.corpus.tables.references.item import COLUMNS, SOURCE_KEYS, Record, row_of
from skills.corpus.tables.references.text import GUESSED, encoding_of

FORMATS = {".bib": "bibtex", ".ris": "ris", ".nbib": "pubmed", ".json": "csl_json"}
"""The module of each suffix."""


class ReferenceReader(Reader):
    source_keys = SOURCE_KEYS
    has_ids_of_several_sources = True

    def __init__(self, path: Path, columns: Columns | None = None) -> None:
        super().__init__(path, columns)
        if path.suffix.lower() == ".json":
            self.unit = "item"

    def header(self) -> tuple[str, ...]:
        if not any(not record.error for record in records(self.path)):
            first = next(records(self.path), Record(0)).error
            raise first or InputError(
                "has no references", where=shown(self.path), hint="Is its suffix right?"
            )
        return COLUMNS

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str] | InputError]]:
        for record in records(self.path):
            yield record.position, record.error or row_of(record.item)


def is_reference_file(path: Path | None) -> bool:
    """Return True if the papers of a path are those of a reference file."""
    return path is not None and path.suffix.lower() in FORMATS


def report_encoding(path: Path, screen: Screen) -> None:
    """Print a notice if the encoding of a reference file is a guess."""
    if is_reference_file(path) and encoding_of(at_home(path)) == GUESSED:
        screen.notice(
            f"{shown(path)} is not UTF-8; it is read as Windows-1252. If letters are wrong, save "
            "it as UTF-8."
        )


def records(path: Path) -> Iterator[Record]:
    """Yield the references of a file, each as an item of CSL-JSON or as its error.

    Raises:
        InputError: the file cannot be read.
    """
    read: Callable[[Path], Iterator[Record]] = format_of(path).read
    return read(path)


def format_of(path: Path) -> ModuleType:
    """Return the module of a file's format, whose library is imported when it is used."""
    name = FORMATS[path.suffix.lower()]
    return import_module(f"skills.corpus.tables.references.{name}")
