"""The progress of jobs: on their page, and live while another process writes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import browsed_corpus
import httpx
import page_corpus
import pytest
from page_elements import Elements
from served_app import Served, served

from skills.corpus.db import runs, store
from skills.corpus.db.connection import open_corpus
from skills.corpus.db.rows import insert, now, update
from skills.nanda.framework import nanda
from skills.serve import jobs_page


@pytest.fixture
def writable(tmp_path: Path) -> Path:
    return browsed_corpus.build(tmp_path / "corpus.db")


@pytest.fixture
def app(writable: Path) -> Iterator[Served]:
    with served(writable) as running:
        yield running


def start(path: Path, settings: dict[str, object]) -> int:
    with open_corpus(path) as db:
        return runs.start(db, skill="annotate", source="new.csv", model="keeper", settings=settings)


def messages(answer: httpx.Response) -> Iterator[list[dict[str, object]]]:
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_a_running_job_is_reported_while_it_writes(app: Served, writable: Path) -> None:
    run = start(writable, {"due": 3})
    with app.client() as client, client.stream("GET", "/jobs/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        following = messages(answer)
        [first] = next(following)
        assert (first["run"], first["done"], first["failed"], first["due"]) == (run, 0, 0, 3)
        with open_corpus(writable) as db:
            for number in (301, 302):
                store.save(db, browsed_corpus.annotated(number), nanda(), run)
            store.save(db, browsed_corpus.annotated(303), nanda())  # belongs to no run
        [second] = next(following)
        assert second["done"] == 2
        with open_corpus(writable) as db:
            failed = page_corpus.failures()[1]
            store.fail(db, failed, "f" * 64, request={}, run_id=run)
        [third] = next(following)
        assert (third["done"], third["failed"]) == (2, 1)
        with open_corpus(writable) as db:
            runs.finish(db, run, "done", {"done": 2})
        assert next(following) == []


def test_a_ballot_counts_when_it_is_complete(app: Served, writable: Path) -> None:
    with open_corpus(writable) as db:
        run = runs.start(db, skill="curate", source="a.csv", model="judge", settings={})
    with app.client() as client, client.stream("GET", "/jobs/events") as answer:
        following = messages(answer)
        assert next(following)[0]["done"] == 0
        texts = dict.fromkeys(("source_id", "input_sha256", "moves_sha256", "model"), "x")
        others = {**texts, "attempts": 1, "created_at": now(), "run_id": run}
        with open_corpus(writable) as db:
            ballot = insert(db, "ballots", key="a", status="begun", **others)
            insert(db, "ballots", key="b", status="failed", **others)
        [begun] = next(following)
        assert (begun["done"], begun["failed"]) == (0, 1)
        with open_corpus(writable) as db:
            update(db, "ballots", ballot, status="done")
        assert next(following)[0]["done"] == 1


def test_what_a_job_has_to_do_may_be_known_later(app: Served, writable: Path) -> None:
    run = start(writable, {})
    with app.client() as client, client.stream("GET", "/jobs/events") as answer:
        following = messages(answer)
        assert next(following)[0]["due"] is None
        with open_corpus(writable) as db:
            runs.set_due(db, run, 40)
        assert next(following)[0]["due"] == 40


def test_the_page_lists_jobs_and_what_they_have_done(app: Served, writable: Path) -> None:
    ended, running = start(writable, {"slots": 4}), start(writable, {"due": 1200})
    with open_corpus(writable) as db:
        runs.finish(db, ended, "failed", {"done": 7, "failed": 1})
        runs.set_due(db, ended, 8)
        store.save(db, browsed_corpus.annotated(301), nanda(), running)
    with app.client() as client:
        text = client.get("/jobs").text
        assert text.index(f'href="/jobs/{running}"') < text.index(f'href="/jobs/{ended}"')
        assert '<td data-name="done">1</td>' in text
        assert '<td data-name="done">7</td><td data-name="failed">1</td>' in text
        assert '<td data-name="due">1,200</td>' in text
        assert '<td data-name="due">8</td>' in text
        assert '<td class="words" data-name="state">failed</td>' in text
        one = client.get(f"/jobs/{ended}").text
        assert "<dt>slots</dt><dd>4</dd>" in one
        assert "<dt>done</dt><dd>7</dd>" in one
        assert client.get("/jobs/999").status_code == 404


def test_the_page_counts_the_jobs_that_it_does_not_list(app: Served, writable: Path) -> None:
    with app.client() as client:
        assert "Earlier jobs" not in client.get("/jobs").text
        for _ in range(jobs_page.SHOWN + 2):
            start(writable, {})
        text = client.get("/jobs").text
    assert text.count('data-name="due"') == jobs_page.SHOWN
    assert "Earlier jobs that are not listed: 2" in text


def test_a_job_whose_process_is_gone_was_killed(app: Served, writable: Path) -> None:
    run = start(writable, {})
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with open_corpus(writable) as db:
        db.execute("UPDATE runs SET pid = ? WHERE id = ?", [gone.pid, run])
    with app.client() as client:
        assert '<td class="words" data-name="state">killed</td>' in client.get("/jobs").text


def test_no_input_of_a_job_becomes_markup(app: Served, writable: Path) -> None:
    hostile = page_corpus.HOSTILE
    with open_corpus(writable) as db:
        run = runs.start(
            db, skill="annotate", source=hostile, model=hostile, settings={"a": hostile}
        )
        runs.finish(db, run, "done", {hostile: hostile})
    with app.client() as client:
        for path in ("/jobs", f"/jobs/{run}"):
            elements = Elements(client.get(path).content)
            assert "img" not in elements.tags
            assert not [name for name, _ in elements.attributes if name.startswith("on")]


def test_a_stream_goes_on_without_a_corpus(app: Served, writable: Path) -> None:
    start(writable, {})
    moved = writable.with_name("moved.db")
    with app.client() as client, client.stream("GET", "/jobs/events") as answer:
        following = messages(answer)
        assert len(next(following)) == 1
        writable.rename(moved)
        assert next(following) == []
        moved.rename(writable)
        assert len(next(following)) == 1


def test_a_stream_ends_when_the_browser_is_closed(
    app: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends nothing more, so that the server must notice the end of the connection."""
    ended, stream = threading.Event(), jobs_page._stream

    async def watched(*args: Any) -> AsyncIterator[str]:
        try:
            async for text in stream(*args):
                yield text
        finally:
            ended.set()

    monkeypatch.setattr(jobs_page, "_stream", watched)
    with app.client() as client, client.stream("GET", "/jobs/events") as answer:
        following = messages(answer)
        assert next(following) == []
        assert not ended.is_set()
    assert ended.wait(60)


def test_streams_end_with_the_server(writable: Path) -> None:
    with (
        served(writable) as app,
        app.client() as client,
        client.stream("GET", "/jobs/events") as answer,
    ):
        following = messages(answer)
        next(following)
        app.stop()
        assert list(following) == []
