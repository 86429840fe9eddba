"""/curate --review: a person reviews annotations one by one, and accepts them as gold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prompt_toolkit.input import Input
from prompt_toolkit.output import Output

from harness.api.skill import Call, Result
from harness.support.process_lock import job_lock
from skills.corpus.db.connection import database
from skills.corpus.tables.columns import Columns
from skills.curate.review.input import Candidates, read
from skills.curate.review.log import ReviewLog, open_log
from skills.curate.review.screen import opened
from skills.curate.review.session import Review
from skills.nanda.framework_option import selected_framework

SHOWN_LOST = 5


def review(
    call: Call,
    path: Path,
    target: Path,
    keys: Input | None = None,
    terminal: Output | None = None,
) -> Result:
    """Show the undecided annotations of `path`, and store the decisions.

    Args:
        target: the gold table. It is written after each decision, and so is its journal.
        keys, terminal: of prompt_toolkit, for tests; by default the real terminal.

    Raises:
        UsageError: there is no terminal, or another process reviews for the same table.
        InputError: the annotations or the existing gold table cannot be used.
        OutputError: a decision cannot be stored.
    """
    options = call.options
    framework = selected_framework(options.framework, call.frameworks)
    columns = Columns(options.abstract_column, options.id_column, options.title_column)
    corpus = database(call)
    locks = call.settings.data_dir / "reviews"
    with opened(call.screen, keys, terminal) as screen, job_lock(locks, str(target.resolve())):
        papers = read(path, framework, columns, options.from_, corpus)
        log = open_log(
            target, framework, papers.id_column, lambda sha256: call.log.wrote(target, sha256)
        )
        found = Review(framework, papers, log, screen, stop=call.cancel)
        for line in _remarks(papers, log):
            call.screen.notice(line)
        with call.cancel.on_signals():
            found.run()
        return _result(call, found, path)


def _remarks(papers: Candidates, log: ReviewLog) -> Iterator[str]:
    """Yield what the user has to know before the first paper."""
    hidden = [
        *papers.lost[:SHOWN_LOST],
        *[f"{len(papers.lost) - SHOWN_LOST} more (--json has all)"]
        * (len(papers.lost) > SHOWN_LOST),
        *[f"{papers.without_moves} without any move"] * bool(papers.without_moves),
        *[f"{papers.repeats} about a paper of an earlier row"] * bool(papers.repeats),
    ]
    yield from (f"not shown: {what}" for what in hidden)
    if log.restored:
        yield (
            f"{log.restored} accepted rows were missing from {log.gold.target.name}, and were "
            f"restored from {log.journal.name}"
        )


def _result(call: Call, done: Review, path: Path) -> Result:
    counts, log, papers = done.counts(), done.log, done.papers
    edited = f" ({counts['edited']} edited)" if counts["edited"] else ""
    parts = [f"{counts['accepted']} accepted{edited}", f"{counts['rejected']} rejected"]
    parts += [f"{counts['in_gold']} in gold before"] * bool(counts["in_gold"])
    parts += [f"{counts['to_do']} to do"]
    parts += [f"{len(papers.lost)} without an abstract"] * bool(papers.lost)
    rows = len(log.gold.rows)
    text = f"{', '.join(parts)}; {log.gold.target} has {rows} {'row' if rows == 1 else 'rows'}"
    if call.targets:  # then the harness only reports that it was saved
        call.screen.notice(text)
    summary: dict[str, Any] = {
        "input": str(path),
        "gold": str(log.gold.target),
        "journal": str(log.journal),
        "papers": len(papers.items),
        **counts,
        "gold_rows": rows,
        "lost": list(papers.lost),
        "without_moves": papers.without_moves,
        "repeats": papers.repeats,
    }
    return Result(text=text, writers={".csv": log.gold.write_to}, summary=summary)
