"""Run the subcommands of /corpus about papers that came from several sources."""

from __future__ import annotations

from collections import Counter

from harness.api.skill import Call, Result
from harness.errors import InputError, NothingFound
from skills.corpus.db import reads
from skills.corpus.db.connection import database, open_corpus, transaction
from skills.corpus.db.works import duplicates
from skills.corpus.duplicates import views
from skills.nanda.text import counted


def report(call: Call) -> Result:
    if text := call.text.strip():
        raise InputError(f"/corpus duplicates takes no text, but got {text[:40]!r}")
    with open_corpus(database(call), must_exist=True) as db:
        found = duplicates.pairs(db)
    counts = Counter(views.RELATIONS[pair.relation] for pair in found)
    data = {"pairs": [views.pair_json(pair) for pair in found]}
    if not found:
        return Result("No paper came from several sources.", data)
    total = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    return Result(f"{counted(len(found), 'pair')}: {total}\n{views.pairs(found)}", data)


def split(call: Call) -> Result:
    wanted = call.text.strip()
    if not wanted:
        raise InputError("/corpus split needs an argument", hint="Usage: /corpus split ID")
    with open_corpus(database(call), must_exist=True) as db, transaction(db):
        rows = reads.rows_of(db, wanted)
        if len(rows) > 1:
            listed = ", ".join(map(str, rows))
            raise InputError(
                f"{wanted[:60]} is the id of several rows of the corpus: {listed}",
                hint=f"`/corpus split {rows[-1]}` splits the last one from the others.",
            )
        undone = duplicates.split(db, rows[0]) if rows else []
    if not undone:
        what = "is neither merged nor linked" if rows else "is not in the corpus"
        raise NothingFound(
            f"the paper {wanted[:60]} {what}",
            hint="`/corpus duplicates` shows what was merged and linked.",
        )
    text = f"Split, and not to be joined again:\n{views.pairs(undone)}"
    return Result(text, {"pairs": [views.pair_json(pair) for pair in undone]})
