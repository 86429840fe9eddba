"""Write annotations to files by suffix, for jobs and for the corpus."""

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
    """Return the writer of each suffix.

    Args:
        id_column: the name of the papers' ids in a table.
        items, failures: return new iterators over all of them.
        title, about: the heading of a page, and facts shown at its top.
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
    """Write a JSON array of the records, one per line."""
    before = b"[\n"
    for item in items:
        file.write(before + json.dumps(item.record, ensure_ascii=False).encode())
        before = b",\n"
    file.write(b"[]\n" if before == b"[\n" else b"\n]\n")
