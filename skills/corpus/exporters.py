"""The files that annotations are saved in, by suffix: the same for a job and for the corpus."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from harness.api.skill import Write
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import Framework


def writers(
    framework: Framework,
    id_column: str,
    items: Callable[[], Iterator[Annotated]],
    failures: Callable[[], Iterator[Failure]],
    *,
    title: str,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Write]:
    """What writes each kind of file.

    Args:
        id_column: what the papers' id is called in a table.
        items, failures: go through what is written, from the beginning at each call.
        title, about: of a page: its heading, and facts that stand above it.
    """
    from skills.corpus.tables import markdown_writer
    from skills.corpus.tables import writers as tables

    def html(file: IO[bytes]) -> None:
        from skills.corpus.report import page

        page.write_html(
            file,
            title=title,
            items=items(),
            failures=failures(),
            framework=framework,
            about=about,
        )

    return {
        ".jsonl": lambda file: tables.write_jsonl(file, items()),
        ".csv": lambda file: tables.write_csv(file, items(), framework, id_column),
        ".parquet": lambda file: tables.write_parquet(file, items(), framework, id_column),
        ".json": lambda file: _write_json(file, items()),
        ".md": lambda file: markdown_writer.write_markdown(file, items(), framework, title),
        ".html": html,
    }


def _write_json(file: IO[bytes], items: Iterator[Annotated]) -> None:
    """One JSON array of the records, one on each line."""
    before = b"[\n"
    for item in items:
        file.write(before + json.dumps(item.record, ensure_ascii=False).encode())
        before = b",\n"
    file.write(b"[]\n" if before == b"[\n" else b"\n]\n")
