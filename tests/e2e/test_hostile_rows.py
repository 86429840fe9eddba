"""One table of hostile rows through every command that reads tables: each row is on its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hostile_rows import moves, rows

from harness.cli.app import App
from harness.models.backend import Request
from harness.testing import FakeModel, fake_app

ROWS = rows()
REFUSED = [(number, row) for number, row in enumerate(ROWS, start=1) if row.refused]
EMPTY = [row for row in ROWS if row.empty]
USED = [row for row in ROWS if not row.refused and not row.empty]
LONG = [row for row in USED if row.name in ("dots", "one word", "line feeds")]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hostile.jsonl"
    path.write_text("".join(f"{row.line}\n" for row in ROWS), encoding="utf-8", newline="")
    return path


def answer(request: Request) -> str:
    return json.dumps(moves(1))


def app_in(folder: Path) -> App:
    return fake_app(folder, FakeModel(answer))


def stderr(app: App) -> str:
    return str(app.screen.err.getvalue())  # type: ignore[attr-defined]


def assert_each_refused(app: App) -> None:
    lines = [line for line in stderr(app).splitlines() if line.startswith("refused: ")]
    assert len(lines) == len(REFUSED)
    for line, (number, row) in zip(lines, REFUSED, strict=True):
        assert f"hostile.jsonl, line {number}" in line
        assert row.refused in line
    assert "Traceback" not in stderr(app)


def test_corpus_add(table: Path, tmp_path: Path) -> None:
    app = app_in(tmp_path)
    outcome = app.dispatch(f"/corpus add {table}")
    added: Any = outcome.result.data
    assert outcome.result.code == 1
    assert (added["papers"], added["annotations"]) == (len(USED), len(USED))
    assert added["empty"] == len(EMPTY)
    assert_each_refused(app)
    again = app.dispatch(f"/corpus add {table}").result.data
    assert isinstance(again, dict)
    assert (again["papers"], again["known_papers"]) == (0, len(USED))


def test_annotate(table: Path, tmp_path: Path) -> None:
    app = app_in(tmp_path)
    outcome = app.dispatch(f"/annotate {table} save to out.jsonl -o out.csv -o out.html")
    summary = outcome.result.summary
    assert summary is not None
    assert outcome.result.code == 1
    too_long = [row for row in LONG if row.name != "line feeds"]
    assert summary["done"] == len(USED) - len(too_long)
    assert summary["errors"] == {"InputError": len(too_long)}
    assert summary["filtered"] == {"refused": len(REFUSED), "no abstract": len(EMPTY)}
    assert len(Path("out.jsonl").read_text(encoding="utf-8").splitlines()) == summary["done"]
    assert_each_refused(app)


def test_curate(table: Path, tmp_path: Path) -> None:
    app = app_in(tmp_path)
    outcome = app.dispatch(f"/curate {table} --probes 1 save to kept.jsonl")
    assert_each_refused(app)
    summary = outcome.result.summary
    assert summary is not None
    assert summary["rows"] == len(ROWS)
    assert summary["filtered"]["refused"] == len(REFUSED)


def test_evaluate(table: Path, tmp_path: Path) -> None:
    app = app_in(tmp_path)
    outcome = app.dispatch(f"/evaluate {table} --consistency 0")
    found: Any = outcome.result.data
    assert outcome.result.code == 1
    refused = [line for line in stderr(app).splitlines() if line.startswith("refused: ")]
    too_long = [row for row in LONG if row.name != "line feeds"]
    assert len(refused) == len(found["refused"]) == len(REFUSED) + len(too_long)


def test_finetune_dataset(table: Path, tmp_path: Path) -> None:
    app = app_in(tmp_path)
    app.dispatch(f"/finetune dataset --gold {table} save to train.jsonl")
    examples = Path("train.jsonl").read_text(encoding="utf-8").splitlines()
    made = json.loads(Path("train.manifest.json").read_text(encoding="utf-8"))
    rejected = {one["where"]: one["reason"] for one in made["left_out"] if one["why"] == "rejected"}
    assert len(rejected) == len(REFUSED) + len(EMPTY)
    for number, row in REFUSED:
        assert row.refused in next(
            v for k, v in rejected.items() if k.startswith(f"{table}, line {number}")
        )
    assert examples
