"""The files of /curate: what can be curated, what is written, what is refused before the work."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from curate_desk import (
    NAMES,
    Desk,
    a_desk,
    abstract,
    gated,
    ids,
    moves,
    read_table,
    row,
    write_table,
)
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from harness.cli.repl import Repl
from harness.errors import InputError, ModelUnavailable, UsageError
from harness.runs.runner import Frontend
from harness.testing import assert_refuses, fake_app
from skills.corpus.content_key import verify
from skills.corpus.db.connection import open_corpus
from skills.nanda.framework import nanda

__all__ = ["a_desk"]


def jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    text = "".join(json.dumps(found) + "\n" for found in rows)
    path.write_text(text, encoding="utf-8")
    return path


def provenances(desk: Desk) -> dict[str, dict[str, Any]]:
    """Of the annotations in the corpus, by id."""
    with open_corpus(desk.corpus) as db:
        records = [json.loads(found["record"]) for found in db.query("SELECT * FROM annotations")]
    return {record["arxiv_id"]: record["provenance"] for record in records}


# Inputs


def csv_of(desk: Desk, *numbers: int) -> str:
    desk.rows(*numbers)
    return "agent.csv"


def jsonl_of(desk: Desk, *numbers: int) -> str:
    lines(desk.folder / "agent.jsonl", *map(row, numbers))
    return "agent.jsonl"


def saved(name: str) -> Callable[..., str]:
    """The corpus, or a file that was saved from it."""

    def made(desk: Desk, *numbers: int) -> str:
        desk.rows(*numbers)
        desk.app.dispatch("/corpus add agent.csv")
        if name != "corpus":
            desk.app.dispatch(f"/corpus export {name}")
        return name

    return made


@pytest.mark.parametrize(
    "kind", [csv_of, jsonl_of, saved("a.jsonl"), saved("a.parquet"), saved("corpus")]
)
def test_each_kind_of_input_comes_to_the_same(desk: Desk, kind: Callable[..., str]) -> None:
    desk.judge.scores[2, ""] = 2.0
    outcome = desk.curate(table=kind(desk, 1, 2, 3))
    assert desk.summary(outcome)["annotations"] == 3
    assert desk.kept() == ids(1, 3)
    [one, _] = read_table(desk.folder / "agent_curated.csv")
    assert one == {name: text for name, text in row(1).items() if name != "arxiv_id"} | {
        "arxiv_id": ids(1)[0]
    }
    assert list(desk.rejected()) == ids(2)


def test_a_saved_jsonl_has_its_abstracts_from_the_corpus_alone(desk: Desk) -> None:
    name = saved("a.jsonl")(desk, 1)
    assert "abstract" not in jsonl(desk.folder / name)[0]
    with pytest.raises(InputError, match=r"a.jsonl, line 1: the corpus has no paper 2401.00001"):
        desk.curate("--db other.db", table=name)


def test_rows_without_abstract_or_annotation_and_repeats_are_left_out_and_counted(
    desk: Desk,
) -> None:
    nothing = dict.fromkeys(moves(1), "")
    other = row(1, scope="Deliveries from orchards by carts in bursts are the scope of it.")
    write_table(
        desk.table,
        row(4, **nothing),  # its annotation comes further down
        row(1),
        row(2, abstract=""),
        row(3, **nothing),
        row(1),
        other,
        row(4),
    )
    outcome = desk.curate()
    summary = desk.summary(outcome)
    assert summary["filtered"] == {
        "no abstract": 1,
        "no annotation": 2,
        "repeats an earlier row": 1,
        "another annotation of an earlier row's paper": 1,
    }
    assert (summary["rows"], summary["annotations"]) == (7, 2)
    assert desk.kept() == ids(1, 4)
    assert desk.rejected() == {}
    assert "2 left out (no annotation)" in desk.said


def without_claim() -> dict[str, str]:
    return {name: text for name, text in row(1).items() if name != "claim"}


def without_abstract() -> dict[str, str]:
    return {name: text for name, text in row(1).items() if name != "abstract"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "agent.csv: is empty"),
        ("arxiv_id,abstract,claim\n", "has no column evidence"),
        ([without_abstract()], "abstract"),
        ([without_claim()], "agent.csv: has no column claim"),
        ([row(1, **dict.fromkeys(moves(1), ""))], "no row has an annotation"),
        ([row(1, abstract="")], "no row has an annotation"),
        ([row(1), row(1, abstract="Another one of other words.")], "line 3: has the id"),
    ],
)
def test_a_table_that_cannot_be_curated_is_refused_before_a_model_loads(
    desk: Desk, content: str | list[dict[str, str]], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loads(*_: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("harness.models.pool.ModelPool.load", loads)
    if isinstance(content, str):
        desk.table.write_text(content, encoding="utf-8")
    else:
        write_table(desk.table, *content)
    with pytest.raises(InputError, match=said):
        desk.curate()
    assert not (desk.folder / "agent_rejected.csv").exists()


def test_what_is_no_table_is_refused(desk: Desk) -> None:
    (desk.folder / "agent.docx").write_text("x")
    for table, said in (
        ("nowhere.csv", "nowhere.csv"),
        ("agent.docx", ".docx"),
        ("corpus", "no annotations"),
    ):
        with pytest.raises(InputError, match=said):
            desk.curate(table=table)


def test_columns_of_other_names_are_named(desk: Desk) -> None:
    renamed = {"doi": "10/a", "text": abstract(1), **moves(1)}
    write_table(desk.table, renamed)
    desk.judge.scores[1, ""] = 2.0
    desk.curate("--abstract-column text --id-column doi")
    [found] = read_table(desk.folder / "agent_rejected.csv")
    assert list(found)[:3] == ["doi", "title", "abstract"]
    assert found["doi"] == "10/a"


def test_not_stated_in_other_words_is_the_exact_words(desk: Desk) -> None:
    write_table(desk.table, row(1, limitation="not stated"))
    desk.curate()
    # The judge knows no such annotation and rejects it.
    assert desk.rejected()[ids(1)[0]]["limitation"] == nanda().not_stated


# Outputs


def test_every_suffix_is_written_with_the_kept_rows_alone(desk: Desk) -> None:
    desk.rows(3, 1, 2)
    desk.judge.scores[1, ""] = 2.0
    names = [
        f"a_curated{suffix}" for suffix in (".csv", ".jsonl", ".parquet", ".json", ".md", ".html")
    ]
    desk.curate(save="save to " + " -o ".join(names))
    assert desk.kept("a_curated.csv") == ids(3, 2)
    assert [one["arxiv_id"] for one in jsonl(desk.folder / "a_curated.jsonl")] == ids(3, 2)
    array = json.loads((desk.folder / "a_curated.json").read_text())
    assert [one["claim"] for one in array] == [moves(3)["claim"], moves(2)["claim"]]
    for name in ("a_curated.md", "a_curated.html"):
        text = (desk.folder / name).read_text(encoding="utf-8")
        assert moves(3)["claim"] in text
        assert moves(1)["claim"] not in text
    again = desk.again()
    assert desk.summary(again.curate(table="a_curated.parquet", save=""))["kept"] == 2
    assert list(desk.rejected("a_rejected.csv")) == ids(1)


def test_what_is_kept_has_the_provenance_that_the_corpus_knows(desk: Desk) -> None:
    name = saved("a.jsonl")(desk, 1, 2)
    known = provenances(desk)
    desk.curate(table="agent.csv", save="save to b_curated.jsonl")
    desk.curate(table=name, save="save to c_curated.jsonl")
    for target in ("b_curated.jsonl", "c_curated.jsonl"):
        found = {one["arxiv_id"]: one for one in jsonl(desk.folder / target)}
        assert {number: one["provenance"] for number, one in found.items()} == known
        assert verify(found[ids(1)[0]], abstract(1)) == []


def test_what_is_kept_has_the_provenance_that_the_file_brings(desk: Desk) -> None:
    saved("a.parquet")(desk, 1)
    known = provenances(desk)
    desk.curate("--db other.db", table="a.parquet", save="save to b_curated.jsonl")
    [found] = jsonl(desk.folder / "b_curated.jsonl")
    assert found["provenance"] == known[ids(1)[0]]


def test_of_a_plain_table_what_is_kept_is_marked_as_imported(desk: Desk) -> None:
    desk.rows(1)
    desk.curate(save="save to b_curated.jsonl")
    [found] = jsonl(desk.folder / "b_curated.jsonl")
    assert (found["provenance"]["resolved"], found["provenance"]["where"]) == (
        "import",
        "agent.csv",
    )
    assert verify(found, abstract(1)) == []


def test_what_was_rejected_says_why_and_can_be_curated_again(desk: Desk) -> None:
    write_table(desk.table, row(1), gated(2), row(3))
    desk.judge.scores |= {(1, "alpha"): 4.0, (1, "beta"): 2.25} | {
        (1, name): 2.5 for name in NAMES[2:]
    }
    desk.curate()
    found = desk.rejected()
    by_panel = found[ids(1)[0]]
    assert by_panel["reasons"] == " ".join(NAMES[1:])
    assert (by_panel["votes"], by_panel["mean"]) == ("1 of 5", "2.750")
    assert [by_panel[name] for name in NAMES] == ["4.000", "2.250", "2.500", "2.500", "2.500"]
    assert "777" in found[ids(2)[0]]["claim"]
    again = desk.again()
    outcome = again.curate("--min-votes 1", table="agent_rejected.csv", save="save to b.csv")
    assert again.judge.asked == {}
    assert desk.kept("b.csv") == ids(1)
    assert list(desk.rejected("b_rejected.csv")) == ids(2)
    assert desk.summary(outcome)["rows"] == 2


def test_the_log_has_the_run_and_every_vote_of_every_row_and_probe(desk: Desk) -> None:
    write_table(desk.table, row(1), gated(2))
    desk.curate()
    [run] = desk.log("run")
    assert run["summary"]["kept"] == 1
    one, other = desk.log("annotation")
    assert (one["arxiv_id"], one["where"]) == (ids(1)[0], f"{desk.table}, line 2")
    assert (one["decision"], one["for"], one["mean"]) == ("kept", 5, 5.0)
    assert [vote["persona"] for vote in one["votes"]] == list(NAMES)
    assert set(one["votes"][0]) == {
        *("persona", "score", "threshold", "passed", "mass", "answers", "entropy"),
        *("prompt_tokens", "cached_tokens", "seconds", "explanation"),
    }
    assert (one["votes"][0]["passed"], one["votes"][0]["mass"]) == (True, 0.95)
    assert (other["votes"], other["findings"][0]["code"]) == ([], "number")
    assert all(len(probe["votes"]) == len(NAMES) for probe in desk.log("probe"))
    assert len(desk.log("probe")) + 3 == len(jsonl(desk.folder / "agent_curation_log.jsonl"))


@pytest.mark.parametrize(
    ("target", "stem"),
    [("a_curated.csv", "a"), ("b.jsonl", "b"), ("_curated.csv", "_curated"), ("c.d.csv", "c.d")],
)
def test_the_files_beside_a_target_are_named_after_it(desk: Desk, target: str, stem: str) -> None:
    desk.rows(1)
    outcome = desk.curate(save=f"save to {target}")
    assert {path.name for path in outcome.saved} == {
        target,
        f"{stem}_rejected.csv",
        f"{stem}_curation_log.jsonl",
        f"{stem}_curation_report.html",
    }


def test_lines_that_could_not_be_read_again_are_told_of(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.curate(save="save to agent_curated.csv")
    assert "not in the corpus" not in desk.said
    desk.curate("--force", save="save to agent_curated.jsonl")
    assert (
        "agent_curated.jsonl has no abstracts, and 2 of 2 papers are not in the corpus" in desk.said
    )
    desk.app.dispatch("/corpus add agent.csv")
    later = desk.again()
    later.curate(save="save to agent_curated.jsonl")
    assert "not in the corpus" not in later.said
    later.app.dispatch("/finetune dataset --curated agent_curated.jsonl save to train.jsonl")


def test_without_a_target_the_report_is_shown_and_nothing_is_written(desk: Desk) -> None:
    desk.rows(1)
    outcome = desk.curate(save="")
    assert outcome.saved == ()
    assert "1 annotations: 1 kept" in outcome.result.text
    assert [path.name for path in desk.folder.glob("*.*")] == ["agent.csv"]


@pytest.mark.parametrize(
    "name", ["agent_rejected.csv", "agent_curation_log.jsonl", "agent_curated.csv"]
)
def test_a_file_of_somebody_else_is_in_the_way_before_the_work(desk: Desk, name: str) -> None:
    desk.rows(1)
    (desk.folder / name).write_text("mine")
    assert_refuses(desk.app, desk.line(), f"{name}: exists already", code=4)
    desk.curate("--force")
    assert (desk.folder / name).read_text() != "mine"


def test_the_same_job_replaces_its_own_files(desk: Desk) -> None:
    desk.rows(1)
    desk.curate()
    desk.rows(1, 2)
    again = desk.again()
    again.curate("--min-votes 2 --limit 9 --explain --probes 2")
    assert again.kept() == ids(1, 2)
    other = write_table(desk.folder / "other.csv", row(1))
    assert_refuses(again.app, again.line(table=other), "exists already", code=4)


@pytest.mark.parametrize(
    ("table", "save", "said"),
    [
        ("agent.csv", "agent.csv", "agent.csv: is the input itself"),
        ("agent_rejected.csv", "agent_curated.csv", "agent_rejected.csv: is the input itself"),
        ("agent.csv", "own.csv", "own.csv: is the corpus itself"),
        ("agent.csv", "own_curated.csv -o own_rejected.csv", "is written beside own_curated.csv"),
    ],
)
def test_what_is_read_is_never_written_over(desk: Desk, table: str, save: str, said: str) -> None:
    write_table(desk.folder / table, row(1))
    before = (desk.folder / table).read_bytes()
    with pytest.raises(UsageError, match=said):
        desk.curate("--db own.csv --force", table=table, save=f"save to {save}")
    assert (desk.folder / table).read_bytes() == before
    assert desk.judge.requests == []
    assert not list(desk.folder.glob("own*"))  # no corpus was made either


def test_a_run_that_fails_writes_nothing(desk: Desk) -> None:
    desk.rows(1)
    desk.app.close()
    desk.app = fake_app(desk.folder, desk.judge, unavailable="it is not there")
    with pytest.raises(ModelUnavailable, match="it is not there"):
        desk.curate()
    assert not list(desk.folder.glob("agent_*"))


# Doors


def test_json_is_one_object_with_what_was_saved(desk: Desk) -> None:
    write_table(desk.table, row(1), gated(2))
    outcome = desk.curate("--json")
    found = json.loads(outcome.result.as_json())
    assert (found["kept"], found["rejected"], found["gated"]) == (1, 1, 1)
    assert found["judge"]["thresholds"] == dict.fromkeys(NAMES, 3.0)
    assert found["reject_rate"]["share"] == 0.5
    assert found["notes"][0].startswith("uncalibrated")


def test_a_session_curates_as_well(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.judge.scores[2, ""] = 2.0
    with create_pipe_input() as keys:
        keys.send_text("/curate agent.csv --probes 1 save to agent_curated.csv\r\x04")
        Repl(desk.app, keys, DummyOutput()).run()
    assert desk.kept() == ids(1)
    assert "2 annotations: 1 kept, 1 rejected (0 by the gates, 1 by the panel)" in desk.said


def test_stdin_is_no_table(desk: Desk) -> None:
    desk.app.close()
    desk.app = fake_app(
        desk.folder, desk.judge, door=Frontend("test", stdin=io.BytesIO(b"a,b\n1,2\n"))
    )
    assert_refuses(desk.app, "/curate save to agent_curated.csv", "stdin is not read")
