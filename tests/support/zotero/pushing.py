"""A corpus of annotated papers from Zotero, which are written to a server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from corpus_papers import annotated, corpus_of, paper
from zotero_api import USER, ZoteroApi

from harness.cli.app import App
from harness.runs.frontend import Frontend
from harness.testing import fake_app
from skills.corpus.db.connection import default_path
from skills.corpus.records import Annotated
from skills.nanda.framework import Framework

LIBRARY = f"users/{USER}"


def item_key(number: int) -> str:
    letters = "23456789AB"
    return "NTE" + "".join(letters[int(digit)] for digit in f"{number:05}")


def from_zotero(number: int, library: str = LIBRARY, **moves: Any) -> Annotated:
    """Return the annotation of paper `number`, which is an item of the library."""
    of = paper(number)
    source = {"kind": "table", "zotero": f"{library}/items/{item_key(number)}"}
    return annotated(replace(of, source=source), **moves)


class Pushing:
    """A server, and an application with a corpus."""

    def __init__(self, folder: Path, api: ZoteroApi) -> None:
        self.folder = folder
        self.api = api
        self.questions: list[str] = []
        self.allowed = True
        self.app: App = fake_app(folder, door=Frontend("test", self._confirm))
        self.corpus = default_path(self.app.settings)

    def annotations(
        self, *items: Annotated, at_server: bool = True, framework: Framework | None = None
    ) -> None:
        """Write annotations to the corpus, and their items to the server."""
        corpus_of(self.corpus, items, framework)
        for one in items if at_server else ():
            library, _, key = one.paper.source["zotero"].rpartition("/items/")
            self.api.add(library, key, title=one.paper.title)

    def run(self, line: str) -> Any:
        """Run a line; return its result as JSON, with the exit code as "code"."""
        result = self.app.dispatch(f"/corpus {line}").result
        return {**(result.data or {}), "code": result.code, "text": result.text}

    @property
    def stderr(self) -> str:
        return str(self.app.screen.err.getvalue())  # type: ignore[attr-defined]

    def _confirm(self, question: str) -> bool:
        self.questions.append(question)
        return self.allowed
