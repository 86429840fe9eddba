"""The process that reads PDF files: a line of JSON with a file for a line of JSON with its paper.

A request is {"path": ..., "sections": [kind, ...]}; the answer is what `extracting.extract`
returns, or {"unreadable": reason}. Limits of memory and processor time end this process alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import pypdfium2.raw as pdfium

from skills.corpus.tables.pdf.extracting import extract
from skills.corpus.tables.pdf.pages import Unreadable
from skills.corpus.tables.processes import MEMORY, SECONDS, limit


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # PDFium prints warnings
    pdfium.FPDF_InitLibrary()
    limit("RLIMIT_AS", MEMORY)
    for line in sys.stdin:
        request = json.loads(line)
        limit("RLIMIT_CPU", int(time.process_time()) + SECONDS)
        answers.write(json.dumps(_answer(request)) + "\n")
        answers.flush()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return extract(Path(request["path"]), request["sections"])
    except Unreadable as error:
        return {"unreadable": str(error)}
    except MemoryError:
        return {"unreadable": f"needs more than {MEMORY // 1024**3} GB of memory"}
    except Exception as error:  # noqa: BLE001  a fault of ours costs this file alone
        *_, frame = traceback.extract_tb(error.__traceback__)
        place = f"{Path(frame.filename).name}, line {frame.lineno}"
        return {"unreadable": f"cannot be read: {type(error).__name__}: {error} ({place})"}


if __name__ == "__main__":
    main()
