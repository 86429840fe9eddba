"""Save copies of PDF files in which the passages of the moves are highlighted.

The originals are never changed. If a copy is replaced, highlights and comments that people have
added to the copy are kept.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from harness.errors import InputError
from harness.runs import targets
from harness.support.text_input import at_home, shown
from skills.corpus.pdf.pdf_files import SUFFIX, check_pdf
from skills.corpus.records import Annotated
from skills.corpus.tables.reader_process import ReaderProcess, Unreadable
from skills.nanda.anchors import read_anchors
from skills.nanda.confidence import confidence_of
from skills.nanda.framework import Framework
from skills.nanda.remarks import from_sections, uncertainty
from skills.nanda.text import counted, first_of, flatten

COLOURS = ("e69f00", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "cc79a7", "999999")
"""The colours of the moves, in the order of the framework.

These are the colours of Okabe and Ito, which colour-blind readers can distinguish, with grey in
place of black.
"""
WORKER = "skills.corpus.pdf.highlight_writer"
NAMED = 20
"""Maximum number of lines about skipped files and missing passages in a report."""


def save(
    folder: Path,
    framework: Framework,
    items: Callable[[], Iterator[Annotated]],
    *,
    tick: Callable[[str], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> list[str]:
    """Save a highlighted copy of each paper's PDF file, and return a report as sentences.

    Args:
        items: returns an iterator over the annotations.
        tick: called with the progress.
        check: called before each paper; may raise an error to stop. Finished copies are kept.

    Raises:
        OutputError: a copy cannot be written.
    """
    with targets.reported(folder):
        folder.mkdir(exist_ok=True)
    written = elsewhere = 0
    skipped: list[str] = []
    sources: dict[str, Path] = {}
    with placing() as process:
        for number, item in enumerate(items(), start=1):
            check()
            path = pdf_of(item)
            if path is None:
                elsewhere += 1
                continue
            tick(f"{number:,}: {path.name}")
            try:
                missing = _copy(process, path, _target(folder, path, sources), item, framework)
            except InputError as error:
                skipped.append(f"skipped: {error}")
            else:
                written += 1
                labels = ", ".join(framework.labels[move] for move in missing)
                skipped += [f"{shown(path)}: not found on its pages: {labels}"] * bool(missing)
    report = [f"{folder}: {counted(written, 'PDF file')} with highlights"]
    if elsewhere:
        report[0] += f"; {counted(elsewhere, 'paper')} without a PDF file"
    return [*report, *first_of(skipped, NAMED)]


def pdf_of(item: Annotated) -> Path | None:
    """Return the PDF file from which a paper was read, or None for a paper from another source."""
    for source in (item.record["provenance"]["input"], item.paper.source):
        path = source.get("path")
        if isinstance(path, str) and path.lower().endswith(SUFFIX):
            return at_home(Path(path))
    return None


def passages_of(item: Annotated, framework: Framework) -> dict[str, Any]:
    """Return the passages of an annotation in the form of `passage_places.Passages`."""
    stated = framework.stated(item.record)
    anchors = read_anchors(item.paper.abstract, stated, item.record.get("anchors"))
    stored = item.record.get("sections")
    quotes = {
        move: stored[move].get("source") or stored[move]["text"]
        for move in from_sections(item.record)
        if isinstance(stored, Mapping) and move not in stated
    }
    return {
        "abstract": item.paper.abstract,
        "spans": {move: anchor["spans"] for move, anchor in anchors.items()},
        "quotes": quotes,
    }


def placing() -> ReaderProcess:
    """Return a `ReaderProcess` that locates passages and writes copies with highlights."""
    return ReaderProcess(WORKER, "PDFium")


def places_of(
    process: ReaderProcess, item: Annotated, framework: Framework
) -> dict[str, list[dict[str, Any]]]:
    """Return the places of each move that is found in a paper's PDF file.

    The result is {} if the paper has no readable PDF file.
    """
    path = pdf_of(item)
    try:
        if path is None:
            return {}
        [found] = process.read(check_pdf(path), passages=passages_of(item, framework))
    except (InputError, Unreadable):
        return {}
    return dict(found)


def _copy(
    process: ReaderProcess, path: Path, target: Path, item: Annotated, framework: Framework
) -> list[str]:
    """Save the copy of a file, and return the moves whose passages were not found.

    Raises:
        InputError: the file cannot be read, or a copy cannot be made.
        OutputError: the copy cannot be written.
    """
    path = check_pdf(path)
    if path.resolve().is_relative_to(target.parent.resolve()):
        raise InputError("is in the folder of the copies", where=shown(path))
    if target.is_symlink():
        raise InputError(f"its copy {target} would be written through a link", where=shown(path))
    passages = passages_of(item, framework)
    marks, found = marks_of(item.record, framework), dict[str, Any]()

    def produce(file: IO[bytes]) -> None:
        earlier = str(target.resolve()) if target.exists() else ""
        request = {"passages": passages, "marks": marks, "copy": earlier, "out": str(file.name)}
        try:
            [answer] = process.read(path, **request)
        except Unreadable as exc:
            raise InputError(str(exc), where=shown(path)) from exc
        if not answer:
            raise InputError("none of its moves was found on its pages", where=shown(path))
        found.update(answer)

    targets.write(target, produce)
    return [move for move in (*passages["spans"], *passages["quotes"]) if move not in found]


def marks_of(record: Mapping[str, Any], framework: Framework) -> dict[str, dict[str, str]]:
    """Return the appearance of the highlights by move, in the form of `highlight_writer.Mark`."""
    texts, labels = {**from_sections(record), **framework.stated(record)}, framework.labels
    return {
        move: {
            "label": labels[move],
            "colour": colour,
            "contents": f"{labels[move]}: {flatten(texts[move])}{certainty(record, move)}",
        }
        for move, colour in colours_of(framework).items()
        if move in texts
    }


def colours_of(framework: Framework) -> dict[str, str]:
    """Return the colour of each move as hexadecimal digits."""
    return dict(zip(framework.names, itertools.cycle(COLOURS), strict=False))


def certainty(record: Mapping[str, Any], move: str) -> str:
    """Return the confidence of a move as a text in parentheses, or "" if it is unknown."""
    known = confidence_of(record.get("confidence"), {move} - from_sections(record).keys())
    return uncertainty(record, move) or (
        f" (confidence {known[move]:.2f})" if move in known else ""
    )


def _target(folder: Path, path: Path, sources: dict[str, Path]) -> Path:
    """Return the path for the copy of a file.

    If another copy has the same name, the name of the original's folder is added, and then a
    number if necessary.

    Args:
        sources: the original of each copy, by the name of the copy in lower case; `path` is added.
    """
    stem, number = path.stem, 1
    while sources.setdefault(unicodedata.normalize("NFC", stem).casefold(), path) != path:
        stem = f"{path.stem} ({path.parent.name})" + f" {number}" * (number > 1)
        number += 1
    return folder / f"{stem}{SUFFIX}"
