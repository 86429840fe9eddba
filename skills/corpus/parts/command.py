"""Run `/corpus index`."""

from __future__ import annotations

from dataclasses import asdict

from harness.api.skill import Call, Result
from harness.errors import InputError
from harness.runs.invocation import as_path
from skills.corpus import views
from skills.nanda.framework_option import selected_framework


def index(call: Call) -> Result:
    """Index a folder of parts, so that `--db FOLDER` can read it."""
    from skills.corpus.parts.building import build

    text = call.text.strip()
    if not text:
        usage = "Usage: /corpus index FOLDER"
        raise InputError("/corpus index needs an argument", hint=usage)
    folder = as_path(text)
    if not folder.is_dir():
        raise InputError(
            "is not a folder of parts",
            where=str(folder),
            hint="Only a folder of .parquet files needs an index; a database has its own.",
        )
    with call.screen.progress(f"indexing {folder.name}") as tick:
        built = build(
            folder,
            selected_framework(call.options.framework, call.frameworks),
            tick,
            call.cancel.check,
        )
    for name, reason in built.refused.items():
        call.screen.notice(f"{name} is left out: it {reason}")
    return Result(
        views.indexed(built.parts, built.rows, built.added, folder),
        {"folder": str(folder), **asdict(built)},
        exit_code=1 if built.refused else 0,
    )
