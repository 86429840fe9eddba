"""/annotate for one paper: an abstract, a file or an id."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from harness.api.skill import Call, Result
from harness.errors import InputError, OutputError, UsageError
from harness.models.served import ServedModel
from skills.annotate import render
from skills.annotate.abstract_text import read_paper
from skills.annotate.annotator import Annotator
from skills.annotate.papers import Input, check_length, problem_of
from skills.corpus import exporters
from skills.corpus.db import papers, store
from skills.corpus.db.connection import database, open_corpus
from skills.corpus.records import Annotated
from skills.corpus.sources.services import open_arxiv
from skills.nanda.framework import Framework, task_of
from skills.nanda.paper import Paper
from skills.nanda.text import flatten

SHORT = 80
"""Maximum number of characters of an input that the suggested next line repeats."""


def annotate_one(call: Call, found: Input, framework: Framework) -> Result:
    """Annotate the paper that the line contains or names, and return the result.

    The annotation is stored in the corpus under its content key. If the corpus already has an
    annotation with this key, this annotation is the result.
    """
    options = call.options
    if options.sections and found.kind != "pdf":
        raise UsageError(
            "--sections applies only to PDF files",
            hint="Name a PDF file, or a folder of PDF files.",
        )
    if found.id:
        from skills.annotate.topic import look_up

        paper = look_up(call, found.id)
    elif found.arxiv_id:
        paper = open_arxiv(call).paper(found.arxiv_id)
    else:
        paper = read_paper(found, options.sections)
    check_length(paper, framework.max_words)
    if options.title is not None:
        paper = replace(paper, title=flatten(options.title))
    if problem := problem_of(f"{paper.title}\n{paper.abstract}"):
        where = paper.source.get("path") or f"the {paper.source['kind']}"
        if options.strict:
            raise InputError(
                problem, where=where, hint="Omit `--strict` to annotate the text anyway."
            )
        call.screen.notice(f"{where} {problem}; the moves may be useless (--strict refuses it)")

    with contextlib.ExitStack() as stack:
        db = _open(call, stack)

        def work(model: ServedModel) -> dict[str, Any]:
            annotator = Annotator(model, framework, options.max_tokens, options.wording)
            prepared = annotator.prepare(paper)
            known = None
            with contextlib.suppress(sqlite3.Error):  # `_save` reports a damaged corpus
                known = store.record(db, prepared.key, paper) if db else None
            if known:
                day = known["provenance"]["created"][:10]
                call.screen.notice(f"annotated on {day}; the annotation is read from the corpus")
                return known
            # The progress line begins here, so that notices of a download or a fallback precede it.
            with call.screen.progress("annotating") as tick:
                pieces = itertools.count(1)
                return annotator.annotate(prepared, lambda _: tick(f"{next(pieces)} tokens"))

        record = call.models.run(task_of(framework, call.models.registry), work)
        if db:
            _save(call, db, paper, record, framework)
    return _result(call, paper, record, framework)


def _open(call: Call, stack: contextlib.ExitStack) -> sqlite3.Connection | None:
    """Return the opened corpus, or None after a notice that the default corpus cannot be used.

    Raises:
        InputError, OutputError: the corpus of `--db` cannot be used.
    """
    try:
        return stack.enter_context(open_corpus(database(call)))
    except (InputError, OutputError) as exc:
        if call.options.db:
            raise
        call.screen.notice(f"the annotation is not stored in the corpus: {exc}")
        return None


def _result(call: Call, paper: Paper, record: dict[str, Any], framework: Framework) -> Result:
    if not call.screen.is_terminal and (warning := render.warning(record)):
        call.screen.notice(warning)  # a terminal shows the warning beside the move

    def items() -> Iterator[Annotated]:
        yield Annotated(paper, record)

    as_table = exporters.Export(
        framework,
        paper.id_field,
        items,
        lambda: iter([]),
        title=paper.title or "Annotation",
        sections=bool(call.options.sections),
        raw=call.options.raw,
    ).writers()
    renderers = {
        ".md": lambda: render.as_markdown(record, framework, paper.abstract),
        ".json": lambda: render.as_json(record),
    }
    return Result(
        text=render.moves_as_json(record, framework),
        data=record,
        renderers=renderers,
        writers={suffix: as_table[suffix] for suffix in as_table.keys() - renderers.keys()},
        folders=exporters.folders(
            call,
            framework,
            paper.id_field,
            items,
            sections=bool(call.options.sections),
            of_pdfs=call.input.is_of_pdfs,
        ),
        terminal=lambda: render.for_terminal(record, framework, paper.abstract),
        next=_next(call),
    )


def _next(call: Call) -> str:
    """Return a line that saves the result, or "".

    The result is "" if the line has a target, or if the input comes from stdin, is long or has
    several lines.
    """
    text = call.text.strip()
    is_short = call.source == "line" and len(text) <= SHORT and "\n" not in text
    return f"/annotate {text} save to annotation.md" if is_short and not call.targets else ""


def _save(
    call: Call, db: sqlite3.Connection, paper: Paper, record: dict[str, Any], framework: Framework
) -> None:
    """Store the annotation, or print a notice if the corpus cannot be written.

    If the paper has no id of its own, and the corpus has a paper with the same abstract, the
    annotation is stored for that paper.
    """
    try:
        known = papers.with_abstract(db, paper.sha256) if paper.id_field == "id" else None
        stored = known or paper
        record = store.with_paper(stored, record, paper.abstract)
        store.save(db, Annotated(stored, record), framework)
    except sqlite3.Error as exc:  # such as a full disk, or a lock of another process
        call.screen.notice(f"the annotation is not stored in the corpus: {exc}")
