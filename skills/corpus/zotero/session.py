"""What pushing and undoing have in common: the lock, the library, the user's consent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from harness.api.skill import Call
from harness.errors import InputError, NotAllowed
from harness.support.process_lock import job_lock
from skills.corpus.db.connection import database, locks, open_corpus
from skills.corpus.zotero.client import Library
from skills.corpus.zotero.local_library import LocalLibrary


@contextlib.contextmanager
def locked(call: Call) -> Iterator[Path]:
    """Return the path of the corpus, whose notes no other process writes meanwhile.

    Raises:
        InputError: there is none, or it is a folder of parts.
        UsageError: another process writes them.
    """
    path = database(call)
    if path.is_dir():
        raise InputError(
            "is a folder of parts, which does not know the items of its papers",
            where=str(path),
            hint="`/corpus add FOLDER` imports it into a database.",
        )
    with open_corpus(path, must_exist=True):
        pass
    with job_lock(locks(path), "notes in Zotero"):
        yield path


def library_named(call: Call, name: str) -> Library:
    """Return the library of this name, for `with`.

    Raises:
        InputError: it is only on the user's computer.
        UsageError: the key is missing.
    """
    if call.options.local:
        return LocalLibrary(name, call.cancel)
    if name == "users/local":
        raise InputError(
            "these papers are in a Zotero library that does not synchronize with zotero.org",
            hint="`--local` writes into a Zotero 10 that runs here.",
        )
    return Library(name, call.cancel)


def consent(call: Call, preview: str, action: str) -> None:
    """Ask the user whether notes may be changed.

    Args:
        preview: what is shown before the question.
        action: what would be done, "write 3 notes into Zotero".

    Raises:
        NotAllowed: they refuse, or there is nobody to ask.
    """
    if call.yes:
        return
    if call.confirm is None:
        raise NotAllowed(
            f"nobody is here to allow this: {action}",
            hint="`--yes` before the line allows it; `--dry-run` only shows what would be done.",
        )
    if preview:
        call.screen.notice(preview)
    if not call.confirm(f"{action[:1].upper()}{action[1:]}?"):
        raise NotAllowed("you did not allow it, and nothing was changed in Zotero")
    if call.options.local:
        call.screen.notice("Zotero shows a question, too; Always Allow there answers it for good.")
