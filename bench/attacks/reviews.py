"""Attack reviews: damage the journal of decisions or the gold table, and kill reviews.

A damaged file must either be read without the loss of a decision, or be refused. If it is refused,
the message must name the file, and no file may change. After each review, the gold table must
contain the papers that the journal accepts.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from reviewing import Workspace, row

from harness.errors import HarnessError

REVIEWS, KILLS = 60, 40
ROWS = 8
LONGEST = 0.8
"""Maximum seconds after which a review is killed."""


def _damage(data: bytes, how: str, rng: random.Random) -> bytes:
    """Return the damaged content of a file; `how` is one of `HOWS`."""
    lines = data.splitlines(keepends=True)
    place = rng.randrange(len(lines) + 1)
    inserted = {
        "a line of zeros": bytes(200) + b"\n",
        "a line of random bytes": rng.randbytes(300).replace(b"\n", b"") + b"\n",
        "a long line": b'{"what": "accept", "x": "' + b"x" * 5_000_000 + b'"}\n',
        "a nested line": b"[" * 100_000 + b"\n",
        "an empty line": b"\n",
        "another object": b'{"what": "accept"}\n',
        "a repeated line": lines[place - 1],
    }
    if how in inserted:
        return b"".join((*lines[:place], inserted[how], *lines[place:]))
    if how == "torn":
        return data[: rng.randrange(len(data))]
    if how == "changed":
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 40))):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if how == "other order":
        return b"".join(rng.sample(lines, len(lines)))
    return {"emptied": b"", "CRLF": data.replace(b"\n", b"\r\n"), "BOM": b"\xef\xbb\xbf" + data}[
        how
    ]


HOWS = (
    *("torn", "torn", "torn", "changed", "changed", "emptied", "other order", "CRLF", "BOM"),
    *("a line of zeros", "a line of random bytes", "a long line", "a nested line"),
    *("an empty line", "another object", "a repeated line"),
)


def _accepted(journal: Path) -> set[str]:
    """Return the ids of the papers for which the last decision in a journal is "accept".

    An incomplete last line is ignored.
    """
    decided: dict[str, str] = {}
    lines = journal.read_bytes().splitlines(keepends=True) if journal.exists() else []
    for line in lines:
        if line.endswith(b"\n"):
            known = json.loads(line)
            decided[known["paper"]["id"]] = known["what"]
    return {paper for paper, what in decided.items() if what == "accept"}


def _reviewed(work: Workspace) -> list[str]:
    """Open and close a review; return the faults of the gold table."""
    work.review("q")
    ids = {one["arxiv_id"] for one in _gold(work)}
    missing = _accepted(work.journal) - ids
    return [f"{sorted(missing)} are accepted and not in the table"] * bool(missing)


def _gold(work: Workspace) -> list[dict[str, str]]:
    text = work.gold.read_text(encoding="utf-8-sig") if work.gold.exists() else ""
    return [*csv.DictReader(io.StringIO(text.lstrip(), newline=""))]


def damaged(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Damage the journal or the gold table between reviews; sometimes delete the other file."""
    for number in range(REVIEWS):
        work = Workspace(folder / f"{number}")
        work.folder.mkdir()
        work.annotations(*map(row, range(1, ROWS)))
        work.review("".join(rng.choices("aaasu", k=ROWS - 2)) + "aq")
        path = rng.choice((work.journal, work.journal, work.gold))
        how = rng.choice(HOWS)
        path.write_bytes(_damage(path.read_bytes(), how, rng))
        if rng.random() < 0.3:
            (work.gold if path == work.journal else work.journal).unlink()
        before = {one: one.read_bytes() for one in work.folder.glob("gold*")}
        lines = before.get(work.journal, b"")
        lines = lines[: lines.rfind(b"\n") + 1]
        faults = []
        try:
            faults += _reviewed(work)
        except HarnessError as error:
            if path.name not in f"{error}":
                faults.append(f"the message does not name the file: {error}")
            if any(one.read_bytes() != before[one] for one in before):
                faults.append(f"refused and changed: {error}")
        except Exception as error:  # noqa: BLE001 an error other than the documented error
            faults.append(f"{type(error).__name__}: {error}")
        if work.journal.exists() and not work.journal.read_bytes().startswith(lines):
            faults.append("lines of the journal are lost")
        yield f"{path.name}, {how}: {'; '.join(faults)[:250]}" if faults else None


def killed(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Kill a review at random moments, and continue it; no decision may be lost or doubled."""
    work = Workspace(folder)
    work.annotations(*map(row, range(1, KILLS * 20)))
    decisions = 0
    for _ in range(KILLS):
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                work.review("".join(rng.choices("aaas", k=60)))
            os._exit(0)
        time.sleep(rng.uniform(0, LONGEST))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        lines = work.journal.read_bytes() if work.journal.exists() else b""
        faults = _reviewed(work)
        whole = lines[: lines.rfind(b"\n") + 1]
        if work.journal.exists() and not work.journal.read_bytes().startswith(whole):
            faults.append("lines of the journal are lost")
        ids = [one["arxiv_id"] for one in _gold(work)]
        faults += ["a row is doubled"] * (len(ids) != len({*ids}))
        found = lines.count(b"\n")
        faults += ["fewer decisions than before"] * (found < decisions)
        decisions = found
        yield "; ".join(faults) or None


AREAS = {"damaged-reviews": damaged, "killed-reviews": killed}
