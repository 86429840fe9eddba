"""bench/review.py measures every step over a small corpus."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import review
from bench.corpus import build


def test_each_step_has_a_ratio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "corpus.db"
    build(path, 20)
    ratios = review.report(path, runs=2)
    assert len(ratios) == 5
    assert ratios[review.ALL] == 1
    assert "show a paper, accept it" in capsys.readouterr().out
