"""Text that can be encoded: halves of surrogate pairs are joined or replaced.

JSON may contain one half of a pair (`"\\ud83d"`), and Python keeps it. Such text can be neither
written to a file, stored in SQLite nor sent to a server. A server that cuts its answer into pieces
may also send the two halves of one character in two of them.
"""

from __future__ import annotations

import codecs
import json

_ENCODING = "utf-16-le"


class SurrogateJoiner:
    """Joins pairs whose halves are in different pieces of a text."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder(_ENCODING)("replace")

    def feed(self, piece: str) -> str:
        """Return the piece with lone halves as U+FFFD; a first half at its end is held back."""
        return self._decoder.decode(piece.encode(_ENCODING, "surrogatepass"))

    def flush(self) -> str:
        """Return U+FFFD if the text ended in a first half, else ""."""
        return self._decoder.decode(b"", final=True)


def well_formed(text: str) -> str:
    """Return `text` with the halves of a pair joined and lone halves as U+FFFD."""
    return text.encode(_ENCODING, "surrogatepass").decode(_ENCODING, "replace")


def well_formed_json(text: str) -> str:
    """Return JSON whose values are `well_formed`; text that is not JSON as `well_formed`."""
    try:
        values = json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return well_formed(text)
    made = well_formed(values)
    return text if made == values else made
