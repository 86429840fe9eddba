"""Record which notes were written, in a file beside the corpus.

A line is appended before a note is sent, with the key that it will have, and another one when it
is known what became of it. So a note is recorded also if the program ends in between.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from harness.errors import InputError, OutputError
from harness.support.reading.text_input import place, reading

_LONGEST_LINE = 4096

State = Literal["sent", "written", "gone"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a note.

    Attributes:
        server: the address of the API.
        library: "users/475425" or "groups/77".
        item, note: keys of the item, and of the note below it.
        state: "gone" if it was removed again, or never created.
        framework: that of its annotation.
    """

    server: str
    library: str
    item: str
    note: str
    state: State
    framework: str = "nanda"


class Record:
    """The notes that were written from a corpus."""

    def __init__(self, corpus: Path) -> None:
        self.path = corpus.with_name(f"{corpus.name}.zotero.jsonl")

    def entries(self) -> list[Entry]:
        """Return the last state of each note that is not gone.

        Raises:
            InputError: a line is damaged. A last line without an end was not yet acted upon.
        """
        if not self.path.exists():
            return []
        with reading(self.path):
            lines = self.path.read_bytes().split(b"\n")
        found: dict[tuple[str, str, str], Entry] = {}
        for number, line in enumerate(lines[:-1], start=1):
            try:
                entry = Entry(**json.loads(line))
            except (ValueError, TypeError) as exc:
                raise InputError(
                    "is not a record of a note in Zotero",
                    where=place(self.path, "line", number),
                    hint="Remove the line; its note can be deleted in Zotero.",
                ) from exc
            found[entry.server, entry.library, entry.note] = entry
        return [entry for entry in found.values() if entry.state != "gone"]

    def append(self, entries: Iterable[Entry]) -> None:
        """Append states of notes, and return when they are on the disk.

        Raises:
            OutputError: they cannot be written.
        """
        text = "".join(json.dumps(asdict(entry)) + "\n" for entry in entries).encode()
        try:
            with self.path.open("a+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _LONGEST_LINE))
                begun = file.read().rpartition(b"\n")[2]
                file.truncate(size - len(begun))  # of a program that ended while it wrote
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            raise OutputError(f"cannot be written ({exc.strerror})", where=str(self.path)) from exc
