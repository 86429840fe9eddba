"""/curate --review: a person reviews annotations, and accepts them as gold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prompt_toolkit.input import Input
from prompt_toolkit.output import Output

from harness.api.skill import Call, Result
from harness.terminal.rendering import table
from skills.corpus.db.connection import database
from skills.corpus.tables.columns import Columns
from skills.curate.outputs import Agreement, Reviewed
from skills.curate.review.candidates import Candidates, read
from skills.curate.review.decision_log import ReviewLog
from skills.curate.review.disagreement import agreement, passage_agreement, rated
from skills.curate.review.reviewer import Desk, Queue, highlights_in, name_lock
from skills.curate.review.screen import opened
from skills.curate.review.session import Review
from skills.nanda.framework import selected_framework
from skills.nanda.text import counted

SHOWN_LOST = 5


def review(
    call: Call, path: Path, target: Path, keys: Input | None = None, terminal: Output | None = None
) -> Result:
    """Let the user review the annotations of `path`, and return the result with the counts.

    Args:
        target: the gold table. Each decision is stored in the journal and, if a row of the table
            changes, in the table at once.
        keys, terminal: input and output of prompt_toolkit, for tests; by default the terminal.

    Raises:
        UsageError: there is no terminal, or another process reviews for the same table under the
            same name.
        InputError: the annotations or the existing gold table cannot be used.
        OutputError: a decision cannot be stored.
    """
    reviewer = " ".join(call.options.reviewer.split())
    locks = call.settings.data_dir / "reviews"
    with opened(call.screen, keys, terminal) as screen, name_lock(locks, target, reviewer):
        desk = open_desk(call, path, target, reviewer)
        for line in _remarks(desk.papers, desk.log):
            call.screen.notice(line)
        if taken := desk.take_over(highlights_in(database(call))):
            call.screen.notice(taken)
        with call.cancel.on_signals():
            Review(desk, screen, stop=call.cancel, settling=call.options.disputes).run()
        return _result(call, desk, path)


def open_desk(call: Call, path: Path, target: Path, reviewer: str) -> Desk:
    """Return the desk of a reviewer for the annotations of `path`.

    Args:
        target: the gold table.
        reviewer: the name of the reviewer, or "".

    Raises:
        UsageError, InputError, OutputError: as for `read` and `Queue.desk`.
    """
    options = call.options
    framework = selected_framework(options.framework, call.frameworks)
    columns = Columns(options.abstract_column, options.id_column, options.title_column)
    corpus = database(call)
    queue = Queue(
        framework,
        target,
        corpus,
        call.settings.data_dir / "reviews",
        lambda sha256: call.log.wrote(target, sha256),
        options.double,
        options.framework,
    )
    papers = read(
        path, framework, columns, options.from_, corpus, options.where, words=options.words
    )
    return queue.desk(
        papers, reviewer, sample=options.sample, seed=options.seed, order=options.order
    )


def show_agreement(call: Call, path: Path, target: Path) -> Result:
    """Return the agreement of the reviewers of a gold table about the annotations of `path`.

    Args:
        target: the gold table.

    Raises:
        UsageError, InputError, OutputError: as for `open_desk`.
    """
    desk = open_desk(call, path, target, "")
    decided = rated(desk.papers, desk.log)
    found = agreement(decided, desk.framework)
    counts = desk.counts()
    head = (
        f"{counted(len(decided), 'paper')} with two decisions; "
        f"{counts['disputed']} disputed, {counts['waiting']} wait for a second reviewer"
    )
    rows = [(one.what, one.judged, one.same, one.kappa, one.alpha) for one in found]
    header: tuple[str, ...] = ("judged", "whether", "alike", "kappa", "alpha")
    summary = Agreement(
        gold=str(target),
        reviewers=sorted({name for one in decided for name in one}),
        papers=len(decided),
        disputed=counts["disputed"],
        waiting=counts["waiting"],
        agreement=found,
        passages=passage_agreement(desk.papers, desk.log, desk.framework),
    )
    shown = table(header, rows) if decided else "--double 20% gives papers to two reviewers."
    if any(one.papers for one in summary.passages):
        of_passages = [(one.what, one.papers, one.f1, one.alpha) for one in summary.passages]
        header = ("passages", "papers", "F1 of words", "unitizing alpha")
        shown += f"\n\n{table(header, of_passages)}"
    return _shown(call, desk, f"{head}\n\n{shown}", summary)


def _remarks(papers: Candidates, log: ReviewLog) -> Iterator[str]:
    """Yield remarks about rows that are not shown, and about restored rows of the gold table."""
    hidden = [*papers.lost[:SHOWN_LOST]]
    if (more := len(papers.lost) - SHOWN_LOST) > 0:
        hidden.append(f"{more} more (--json has all)")
    if papers.without_moves:
        hidden.append(f"{counted(papers.without_moves, 'row')} without any move")
    if papers.repeats:
        hidden.append(f"{counted(papers.repeats, 'row')} about the paper of an earlier row")
    yield from (f"not shown: {what}" for what in hidden)
    if log.restored:
        missing = f"{counted(log.restored, 'accepted row')} missing from {log.gold.target.name}"
        yield f"restored from {log.journal.name}: {missing}"


def _result(call: Call, desk: Desk, path: Path) -> Result:
    desk.log.refresh()
    counts, log, papers = desk.counts(), desk.log, desk.papers
    edited = f" ({counts['edited']} edited)" if counts["edited"] else ""
    parts = [f"{counts['accepted']} accepted{edited}", f"{counts['rejected']} rejected"]
    parts += [f"{counts['in_gold']} in gold before"] * bool(counts["in_gold"])
    parts += [f"{counts['to_do']} to do"]
    parts += [f"{counts['waiting']} wait for a second reviewer"] * bool(counts["waiting"])
    parts += [f"{counts['disputed']} disputed"] * bool(counts["disputed"])
    parts += [f"{len(papers.lost)} without an abstract"] * bool(papers.lost)
    rows = len(log.gold.rows)
    text = f"{', '.join(parts)}; {log.gold.target} has {counted(rows, 'row')}"
    found = desk.right_so_far()
    text += f"\n{found}" if found else ""
    text += f"\nTrain on them: {found.retraining}" if found and found.retraining else ""
    more = {"lost": papers.lost, "without_moves": papers.without_moves, "repeats": papers.repeats}
    summary = Reviewed(
        input=str(path),
        gold=str(log.gold.target),
        journal=str(log.journal),
        papers=len(papers),
        **counts,
        gold_rows=rows,
        right=found.moves if found else None,
        right_by_move=dict(found.by_move) if found else {},
        retraining=found.retraining if found else "",
        **more,
    )
    return _shown(call, desk, text, summary)


def _shown(call: Call, desk: Desk, text: str, found: Agreement | Reviewed) -> Result:
    """Return a result, and print its text as well if the line has a target."""
    if call.targets:  # with a target, the harness itself reports only that the file was saved
        call.screen.notice(text)
    summary = found.model_dump(mode="json")
    return Result(text=text, writers={".csv": desk.log.write_table}, summary=summary)
