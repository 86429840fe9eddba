"""Many readers at once, while a job in another process writes to the corpus."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import browsed_corpus
import pytest
from served_app import Served, served

READERS, ROUNDS = 20, 3
PATHS = ("/papers", "/papers?q=dawn&year=2024", "/papers/12", "/jobs", "/papers?sort=support")
WRITER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import browsed_corpus
from skills.corpus.db import runs, store
from skills.corpus.db.connection import open_corpus
from skills.nanda.framework import nanda
with open_corpus(Path(sys.argv[1])) as db:
    run = runs.start(db, skill="annotate", source="a.csv", model="m", settings={})
    number = 1000
    while True:
        store.save(db, browsed_corpus.annotated(number), nanda(), run)
        number += 1
        print(number, flush=True)
"""


def test_readers_and_a_writer_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = browsed_corpus.build(tmp_path / "corpus.db")
    command = [sys.executable, "-c", WRITER, str(path), *filter(None, sys.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()  # the writer has begun
            with served(path) as app, ThreadPoolExecutor(READERS) as pool:
                found = list(pool.map(lambda number: read(app, number), range(READERS)))
            assert writer.poll() is None
        finally:
            writer.kill()
    assert {status for statuses in found for status in statuses} == {200}


def read(app: Served, number: int) -> list[int]:
    """Return the statuses of what one reader opens, in an order of its own."""
    with app.client() as client, client.stream("GET", "/jobs/events") as live:
        lines = live.iter_lines()
        assert next(lines).startswith("data: ")
        paths = [*PATHS[number % len(PATHS) :], *PATHS[: number % len(PATHS)]] * ROUNDS
        return [client.get(path).status_code for path in paths]


@pytest.mark.parametrize("path", ["/papers", "/papers/1", "/jobs"])
def test_a_corpus_that_is_gone_is_reported(tmp_path: Path, path: str) -> None:
    corpus = browsed_corpus.build(tmp_path / "corpus.db")
    with served(corpus) as app, app.client() as client:
        corpus.rename(tmp_path / "elsewhere.db")
        answer = client.get(path)
        assert answer.status_code == 400
        assert "there is no corpus yet" in answer.text
