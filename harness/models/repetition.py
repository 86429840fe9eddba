"""Recognition of text that repeats itself: small models loop until the limit of tokens.

The end of a text is a loop if it is one unit at least `REPEATS` times in a row. Lists and tables
have equal lines too, so a loop has at least `LEAST` characters; one whose unit has no letters, such
as a ruler or a row of zeros, has at least `LEAST_WITHOUT_LETTERS`.
"""

from __future__ import annotations

from harness.errors import LoopingReply
from harness.models.backends.base import OnText

REPEATS = 3
LEAST = 240
LEAST_WITHOUT_LETTERS = 2000
WINDOW = 6000
"""Characters that are examined, so that the work for each piece of text does not grow."""
TAIL = LEAST // REPEATS
SHOWN = 60


def repeated_unit(text: str) -> str:
    """Return the unit that the end of `text` repeats, or ""."""
    tail = text[-TAIL:]
    before = text.rfind(tail, 0, -1)  # the nearest one is one unit away, or within the unit
    if len(text) < LEAST or before < 0:
        return ""
    unit = text[before + len(tail) :]
    has_letters = any(map(str.isalpha, unit))
    size = max(LEAST if has_letters else LEAST_WITHOUT_LETTERS, REPEATS * len(unit))
    end = text[-size:]
    return unit if len(end) == size and end.startswith(end[len(unit) :]) else ""


class LoopDetector:
    """Passes on the text of an answer until it loops.

    Args:
        on_text: receives each piece of text.
    """

    def __init__(self, on_text: OnText | None) -> None:
        self._on_text = on_text
        self._pieces: list[str] = []
        self._recent = ""

    def add(self, piece: str) -> None:
        """Take the next piece of text.

        Raises:
            LoopingReply: the answer loops.
        """
        if self._on_text is not None:
            self._on_text(piece)
        self._pieces.append(piece)
        for start in range(0, len(piece), TAIL):  # a server may send an answer as a whole
            self._recent = (self._recent + piece[start : start + TAIL])[-WINDOW:]
            if unit := repeated_unit(self._recent):
                raise self._stopped(" ".join(unit.split()))

    def _stopped(self, unit: str) -> LoopingReply:
        shown = unit if len(unit) <= SHOWN else f"{unit[:SHOWN]}..."
        return LoopingReply(
            f"the model repeats itself ({shown!r}) and was stopped",
            hint="Rephrase the text, or use a larger model: `/models` lists them.",
            partial="".join(self._pieces),
        )
