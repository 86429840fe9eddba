"""Render pages of PDF files as images, and locate the passages to highlight on them.

PDFium runs in a separate process, so that a malicious file cannot crash the server.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, InputError
from harness.support.bounded_files import file_sha256
from harness.support.text_input import reading, shown
from skills.corpus.exports.highlights import colours_of, passages_of, pdf_of
from skills.corpus.pdf.pdf_files import check_pdf
from skills.corpus.records import Annotated
from skills.corpus.tables.reader_process import ReaderProcess, Unreadable
from skills.nanda.framework import Framework

WORKER = "skills.corpus.pdf.page_image"
SECONDS = 20.0
"""Maximum duration in seconds of a request to the process."""
KEPT = 50
"""Maximum number of results of the process, and of file digests, that are cached in memory.

An image has up to 3 MB (see `page_image.MOST_BYTES`).
"""
Boxes = tuple[tuple[float, float, float, float], ...]
"""The left, top, width and height of each box around a passage, on a page of the width 1000."""


@dataclass(frozen=True, slots=True)
class Highlight:
    """A passage on a page.

    Attributes:
        moves: the names of the moves that the passage states.
        colours: the colour of each of these moves.
    """

    boxes: Boxes
    moves: list[str]
    colours: list[str]


@dataclass(slots=True)
class Sheet:
    """A page of a paper's PDF file.

    Attributes:
        name: the name of the file.
        problem: the reason why no page can be shown, or "".
        count: number of pages that can be shown.
        number: the number of the page, from 1.
        height: the height of the page if its width is 1000.
        highlights: the passages on the page, the largest first.
        stated: for each page with passages, the labels of their moves.
        places: for each move, by its name: the page of one of its passages, the name of the first
            of the moves that this passage states, and the colour of the move itself.
        missing: the labels of moves whose passages were not found.
    """

    name: str
    problem: str = ""
    count: int = 0
    number: int = 0
    height: float = 0
    highlights: list[Highlight] = field(default_factory=list)
    stated: dict[int, list[str]] = field(default_factory=dict)
    places: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


class PdfPages:
    """Renders pages and locates passages, with a cache; thread-safe."""

    def __init__(self) -> None:
        self._process = ReaderProcess(WORKER, "PDFium", SECONDS)
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[str, ...], Any] = OrderedDict()

    def close(self) -> None:
        """End the process; a busy process ends together with this program."""
        if self._lock.acquire(timeout=1):
            self._process.__exit__()
            self._lock.release()

    def sheet(self, item: Annotated, framework: Framework, wanted: int | None) -> Sheet | None:
        """Return a page of a paper's PDF file, or None if the paper has no PDF file.

        Args:
            wanted: the page number. If it is None, or if the page does not exist, the first page
                with a passage is returned, or page 1 without passages.
        """
        path = pdf_of(item)
        if path is None:
            return None
        passages = passages_of(item, framework)
        try:
            answer = self._answer(path, json.dumps(passages), passages=passages)
        except HarnessError as error:
            return Sheet(path.name, f"{error}")
        heights, places, labels = answer["heights"], answer["places"], framework.labels
        moves = [*passages["spans"], *passages["quotes"]]
        sheet = Sheet(path.name, count=len(heights))
        sheet.missing = [labels[move] for move in moves if move not in places]
        if moves and not places:
            text = "has changed since it was annotated: none of the passages is on its pages"
            return Sheet(path.name, f"{shown(path)}: {text}")
        colours = colours_of(framework)
        found: dict[tuple[int, Boxes], list[str]] = {}
        for move in filter(places.get, framework.names):
            for place in places[move]:
                boxes = tuple(map(tuple, place["boxes"]))
                found.setdefault((place["page"] + 1, boxes), []).append(move)
        for (page, _), own in found.items():
            sheet.stated.setdefault(page, []).extend(labels[move] for move in own)
            for move in own:
                sheet.places.setdefault(move, (page, own[0], colours[move]))
        sheet.stated = dict(sorted(sheet.stated.items()))
        sheet.number = next(iter(sheet.stated), 1)
        if wanted is not None and 1 <= wanted <= len(heights):
            sheet.number = wanted
        sheet.height = heights[sheet.number - 1]
        highlights = [
            Highlight(boxes, own, [colours[move] for move in own])
            for (page, boxes), own in found.items()
            if page == sheet.number
        ]
        sheet.highlights = sorted(
            highlights, key=lambda one: -sum(width * height for _, _, width, height in one.boxes)
        )
        return sheet

    def image(self, item: Annotated, number: int) -> bytes:
        """Return a page of a paper's PDF file as a PNG image.

        Args:
            number: the page number, from 1.

        Raises:
            InputError: the paper has no PDF file, or the page cannot be rendered.
        """
        path = pdf_of(item)
        if path is None:
            raise InputError("was not annotated from a PDF file", where=item.paper.id)
        return bytes(self._answer(path, f"{number}", page=number - 1))

    def _answer(self, path: Path, name: str, **request: Any) -> Any:
        """Return the result of the process for a file, from the cache if possible.

        Errors of unreadable files are cached, too, so that a slow file delays only one request.

        Args:
            name: the name of the result in the cache.
            request: the options for `page_image.read`.

        Raises:
            InputError: the file cannot be read.
            SkillFailed: the process cannot be started.
        """
        path = check_pdf(path)
        key = _digest_of(path), name
        with contextlib.suppress(KeyError):
            self._answers.move_to_end(key)  # the least recently used result is removed first
        answer = self._answers.get(key)
        if answer is None:
            with self._lock:
                try:
                    [answer] = self._process.read(path, **request)
                    if isinstance(answer, str):  # an image
                        answer = base64.b64decode(answer)
                except Unreadable as exc:
                    answer = exc
                self._answers[key] = answer
                if len(self._answers) > KEPT:
                    self._answers.popitem(last=False)
        if isinstance(answer, Unreadable):
            raise InputError(f"{answer}", where=shown(path))
        return answer


def _digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, which is cached until the file changes."""
    with reading(path):
        status = path.stat()
        return _digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(KEPT)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    """Return the SHA-256 of a file, from the cache if `size` and `mtime_ns` are unchanged."""
    return file_sha256(path)
