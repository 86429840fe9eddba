"""The backend `reader`, for models that quote the passages of moves and generate no text."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.errors import Interrupted, SkillFailed
from harness.models.backend import Availability, Model, OnText, Reply, Request
from harness.models.weights import FileStore

if TYPE_CHECKING:
    from harness.models.registry import ServeEntry
    from skills.reader.encoder import Encoder

SLOTS = 2
"""Default number of abstracts that are read at the same time, each on one core."""


class ReaderBackend:
    """The backend that runs readers from files of the registry.

    Args:
        files: finds and downloads the files of the registry.
    """

    name = "reader"

    def __init__(self, files: FileStore) -> None:
        self._files = files

    def probe(self, entry: ServeEntry) -> Availability:
        """Return whether the file exists or can be downloaded; if not, also the reason."""
        assert entry.file is not None  # checked by the registry
        missing = self._files.missing(entry.file)
        return Availability(missing is None, missing or "")

    def load(self, entry: ServeEntry, slots: int | None = 1) -> Model:
        """Load the reader of a serve entry; a missing file is downloaded.

        Args:
            slots: number of abstracts that are read at the same time; None for the number in the
                serve entry, or for `SLOTS` if the entry has no number.

        Raises:
            ModelUnavailable: the file cannot be downloaded or read.
            ChecksumMismatch: the digest of the file is not the digest in the registry.
        """
        from skills.reader import encoder

        assert entry.file is not None
        loaded = encoder.load(self._files.ensure(entry.file))
        return ReaderModel(loaded, slots or entry.slots or SLOTS, self._files.name(entry.file))


class ReaderModel:
    """A loaded reader, whose replies have the format `quotes`."""

    takes_grammar = takes_tools = continues_prefill = False
    in_process = True
    context = None

    def __init__(self, encoder: Encoder, slots: int, place: str) -> None:
        self.encoder = encoder
        self.digests: Mapping[str, str] = {
            "framework": str(encoder.framework["digest"]),
            "reader": encoder.digest,
        }
        self.slots = slots
        self.place = place

    def count_tokens(self, request: Request) -> None:
        """Return None: requests may have any length, since the end of a long text is ignored."""

    def generate(
        self, request: Request, on_text: OnText | None = None, cancel: threading.Event | None = None
    ) -> Reply:
        """Return the quotes of an abstract (see `harness.models.backend.Model.generate`).

        `on_text` is never called, since no text is generated.
        """
        from skills.nanda.passages import numbered
        from skills.nanda.quotes import written
        from skills.reader.choice import choose

        if cancel is not None and cancel.is_set():
            raise Interrupted("interrupted")
        titles = [one.content for one in request.messages if one.role == "system"]
        given = [one.content for one in request.messages if one.role == "user"]
        if len(titles) > 1 or len(titles) + len(given) < len(request.messages):
            raise SkillFailed(
                "a reader only annotates abstracts",
                hint="Select another model with `--model`. The entry of a reader in the registry "
                "needs `form: quotes`.",
            )
        started = time.perf_counter()
        abstract, *known = given  # `known`: names of the moves that are known to be stated
        sentences, read = numbered(abstract), self.encoder
        scores = read.read([one.text for one in sentences], "".join(titles))
        found = choose(scores, read.fitted, read.moves, abstract, sentences, read.longest, known)
        text, tokens = written(found), len(scores.text.ids)
        return Reply(text, "stop", tokens, 0, time.perf_counter() - started)

    def close(self) -> None:
        """Do nothing: the ONNX session ends with the object."""
