"""The papers that are similar to one."""

from __future__ import annotations

import browsed_corpus
import httpx
import pytest

from skills.corpus.browsing import selection

pytest.importorskip("wordllama", reason="needs the extra meaning")


def test_the_nearest_papers_are_listed_with_what_is_near(client: httpx.Client) -> None:
    text = client.get("/papers/12/similar").text
    assert "Similar to Keeping Ferries 12" in text
    assert "Claim 0.9" in text
    assert 'href="/papers/12"' not in text.partition("<ol")[2]
    by_claim = client.get("/papers/12/similar?move=claim").text
    assert "Evidence 0." not in by_claim


def test_what_cannot_be_compared_is_stated(client: httpx.Client) -> None:
    answer = client.get(f"/papers/{browsed_corpus.PAPERS + 2}/similar")
    assert answer.status_code == 400
    assert "has no annotation" in answer.text
    assert client.get("/papers/99999/similar").status_code == 404


def test_many_missing_vectors_are_added_by_and_by(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skills.corpus.storage.database import Database

    def complete(_: Database, tick: object, check: object) -> None:
        assert callable(check)
        check()

    monkeypatch.setattr(Database, "complete_vectors", complete)
    monkeypatch.setattr(selection, "PATIENCE", 0.0)
    for path in ("/papers/12/similar", "/papers?q=boats&by=meaning"):
        answer = client.get(path)
        assert answer.status_code == 400
        assert "each time, more are added" in answer.text
