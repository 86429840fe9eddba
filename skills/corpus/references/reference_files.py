"""Read reference files as tables of papers, and write annotations as notes of references.

If the papers were read from a file of the target's format, that file is copied with the notes
added. Otherwise each annotated paper is written as a reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import IO

from harness.errors import InputError
from harness.support.text_input import shown
from skills.corpus.records import Annotated
from skills.corpus.references import csl_json as csl
from skills.corpus.tables.columns import Columns, Reader
from skills.corpus.tables.text_formats import line_end
from skills.nanda.framework import Framework

FORMATS = {".bib": "bibtex", ".ris": "ris", ".nbib": "nbib", ".json": "csl_json"}
"""The module of `skills.corpus.references` for files with each suffix."""


class ReferenceReader(Reader):
    source_keys = csl.SOURCE_KEYS
    has_ids_of_several_sources = True

    def __init__(self, path: Path, columns: Columns | None = None) -> None:
        super().__init__(path, columns)
        if path.suffix.lower() == ".json":
            self.unit = "item"

    def header(self) -> tuple[str, ...]:
        first: InputError | None = None
        for _, found in records(self.path):
            if not isinstance(found, InputError):
                return csl.COLUMNS
            first = first or found
        raise first or InputError(
            "has no references", where=shown(self.path), hint="Is the suffix right?"
        )

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str] | InputError]]:
        for position, found in records(self.path):
            yield position, found if isinstance(found, InputError) else csl.row_of(found)


def records(path: Path) -> Iterator[csl.Record]:
    """Yield the position of each reference in a file, and an item of CSL-JSON or an error.

    Raises:
        InputError: the file cannot be read.
    """
    read: Callable[[Path], Iterator[csl.Record]] = format_of(path).read
    return read(path)


def format_of(path: Path) -> ModuleType:
    """Return the module for files with the suffix of `path`.

    Args:
        path: the path of a file, or only a suffix, such as Path(".bib").
    """
    name = FORMATS[path.suffix.lower() or path.name]
    return import_module(f"skills.corpus.references.{name}")


def write(
    file: IO[bytes],
    suffix: str,
    items: Iterator[Annotated],
    framework: Framework,
    library: Path | None = None,
) -> None:
    """Write annotations as notes of references.

    Args:
        suffix: the suffix of the target; one of `SAVED_REFERENCES`.
        items: the annotations, in the order in which `library` contains their papers.
        library: the file from which the papers were read, or None.
    """
    if library is not None and library.suffix.lower() not in FORMATS:
        library = None
    if library is not None and suffix.endswith(library.suffix.lower()):
        end = line_end(library)
        notes = (
            (int(one.paper.source.get("row", 0)), csl.note_of(one, framework)) for one in items
        )
        following = next(notes, None)

        def take(row: int) -> str:
            """Return the first note of a row, or "" if the row has no annotation.

            Each call must have a higher row number than the call before.
            """
            nonlocal following
            while following and following[0] < row:
                following = next(notes, None)
            return following[1] if following and following[0] == row else ""

        for piece in format_of(library).noted(library, take):
            file.write(piece.replace("\n", end).encode())
        return
    references = enumerate(records(library) if library else (), start=1)

    def noted() -> Iterator[tuple[csl.Item, str]]:
        """Yield a reference and a note for each annotation.

        The fields of the library take precedence over the facts of the paper.
        """
        for one in items:
            row = int(one.paper.source.get("row", 0)) if library else 0
            item = csl.item_of(one.paper, one.record["provenance"].get("input", {}))
            found = next((known for number, (_, known) in references if number == row), None)
            if isinstance(found, dict):
                item |= found
            yield item, csl.note_of(one, framework)

    format_of(Path(suffix)).write(noted(), file)
