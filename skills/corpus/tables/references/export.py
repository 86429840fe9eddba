"""Save annotations as the notes of references: .bib, .ris and .csl.json.

If the papers were read from a file of the same format, the whole file is written with notes in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from harness.api.skill import Write
from skills.corpus.records import Annotated
from skills.corpus.tables.references.item import Item, item_of, without_et_al
from skills.corpus.tables.references.notes import NotesByRow, note_of, with_note
from skills.corpus.tables.references.reader import format_of, is_reference_file, records
from skills.corpus.tables.references.text import line_end
from skills.nanda.framework import Framework

SUFFIXES = (".bib", ".ris", ".csl.json")


def writers(
    framework: Framework,
    items: Callable[[], Iterator[Annotated]],
    library: Path | None = None,
) -> dict[str, Write]:
    """Return the writer of each suffix.

    Args:
        items: returns a new iterator over the annotations, in the order of the library.
        library: the file that the papers were read from.
    """
    known = library if is_reference_file(library) else None
    return {suffix: partial(_write, suffix, framework, items, known) for suffix in SUFFIXES}


def _write(
    suffix: str,
    framework: Framework,
    items: Callable[[], Iterator[Annotated]],
    library: Path | None,
    file: IO[bytes],
) -> None:
    if library is not None and suffix.endswith(library.suffix.lower()):
        end = line_end(library)
        for piece in format_of(library).noted(library, NotesByRow(items(), framework).take):
            file.write(piece.replace("\n", end).encode())
        return
    noted = ((item, note_of(one, framework)) for one, item in _with_references(items(), library))
    if suffix == ".bib":
        from skills.corpus.tables.references import bibtex_writer

        bibtex_writer.write(noted, file)
    elif suffix == ".ris":
        from skills.corpus.tables.references import ris_writer

        ris_writer.write(noted, file)
    else:
        from skills.corpus.tables.references import csl_json

        for piece in csl_json.as_json(_in_csl(noted)):
            file.write(piece.encode())


def _with_references(
    items: Iterable[Annotated], library: Path | None
) -> Iterator[tuple[Annotated, Item]]:
    """Yield each annotation with its reference: that of the library, else what is known of it."""
    references = enumerate(records(library), start=1) if library else iter(())
    for one in items:
        row = int(one.paper.source.get("row", 0)) if library else 0
        found = next((record.item for number, record in references if number == row), {})
        made = item_of(one.paper, one.record["provenance"].get("input", {}))
        yield one, {**made, **found} if found else made


def _in_csl(noted: Iterable[tuple[Item, str]]) -> Iterator[Item]:
    for item, note in noted:
        before = item.get("note")
        yield {
            **without_et_al(item),
            "note": with_note(before if isinstance(before, str) else "", note),
        }
