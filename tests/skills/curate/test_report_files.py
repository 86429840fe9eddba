"""The inputs and outputs of /curate, and what is refused before the work."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from curate_workspace import (
    NAMES,
    Workspace,
    abstract,
    gated,
    ids,
    moves,
    read_table,
    row,
    write_table,
)
from declared_outputs import check_output
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from harness.cli.interactive_session import Repl
from harness.errors import InputError, ModelUnavailable, UsageError
from harness.runs.frontend import Frontend
from harness.testing import assert_refuses, fake_app
from skills.corpus.db.connection import open_corpus
from skills.corpus.db.damage import verify
from skills.curate.plugin import Curate
from skills.nanda.framework import nanda


def jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    text = "".join(json.dumps(found) + "\n" for found in rows)
    path.write_text(text, encoding="utf-8")
    return path


def provenances(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Return the provenance of the annotations in the corpus, by id."""
    with open_corpus(workspace.corpus) as db:
        records = [json.loads(found["record"]) for found in db.execute("SELECT * FROM annotations")]
    return {record["arxiv_id"]: record["provenance"] for record in records}


# Inputs


def csv_of(workspace: Workspace, *numbers: int) -> str:
    workspace.rows(*numbers)
    return "agent.csv"


def jsonl_of(workspace: Workspace, *numbers: int) -> str:
    lines(workspace.folder / "agent.jsonl", *map(row, numbers))
    return "agent.jsonl"


def saved(name: str) -> Callable[..., str]:
    """Return a maker of the corpus, or of a file exported from it."""

    def made(workspace: Workspace, *numbers: int) -> str:
        workspace.rows(*numbers)
        workspace.app.dispatch("/corpus add agent.csv")
        if name != "corpus":
            workspace.app.dispatch(f"/corpus export {name}")
        return name

    return made


@pytest.mark.parametrize(
    "kind", [csv_of, jsonl_of, saved("a.jsonl"), saved("a.parquet"), saved("corpus")]
)
def test_all_kinds_of_input_give_the_same_result(
    workspace: Workspace, kind: Callable[..., str]
) -> None:
    workspace.judge.scores[2, ""] = 2.0
    outcome = workspace.curate(table=kind(workspace, 1, 2, 3))
    assert workspace.summary(outcome)["annotations"] == 3
    assert workspace.kept() == ids(1, 3)
    [one, _] = read_table(workspace.folder / "agent_curated.csv")
    given = {name: text for name, text in row(1).items() if name != "arxiv_id"}
    assert one == {"arxiv_id": ids(1)[0], **given}
    assert list(workspace.rejected()) == ids(2)


def test_a_saved_jsonl_needs_the_abstracts_of_the_corpus(workspace: Workspace) -> None:
    name = saved("a.jsonl")(workspace, 1)
    assert "abstract" not in jsonl(workspace.folder / name)[0]
    with pytest.raises(InputError, match=r"a.jsonl, line 1: the corpus has no paper 2401.00001"):
        workspace.curate("--db other.db", table=name)


def test_rows_left_out_are_counted_by_reason(
    workspace: Workspace,
) -> None:
    nothing = dict.fromkeys(moves(1), "")
    other = row(1, scope="Deliveries from orchards by carts in bursts are the scope of it.")
    write_table(
        workspace.table,
        row(4, **nothing),  # the annotation of paper 4 comes below
        row(1),
        row(2, abstract=""),
        row(3, **nothing),
        row(1),
        other,
        row(4),
    )
    outcome = workspace.curate()
    summary = workspace.summary(outcome)
    assert summary["filtered"] == {
        "no abstract": 1,
        "no annotation": 2,
        "repeats an earlier row": 1,
        "another annotation of an earlier row's paper": 1,
    }
    assert (summary["rows"], summary["annotations"]) == (7, 2)
    assert workspace.kept() == ids(1, 4)
    assert workspace.rejected() == {}
    assert "2 left out (no annotation)" in workspace.stderr


def without_claim() -> dict[str, str]:
    return {name: text for name, text in row(1).items() if name != "claim"}


def without_abstract() -> dict[str, str]:
    return {name: text for name, text in row(1).items() if name != "abstract"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "agent.csv: is empty"),
        ("arxiv_id,abstract,claim\n", "has no column evidence"),
        ([without_abstract()], "abstract"),
        ([without_claim()], "agent.csv: has no column claim"),
        ([row(1, **dict.fromkeys(moves(1), ""))], "no row has an annotation"),
        ([row(1, abstract="")], "no row has an annotation"),
    ],
)
def test_unusable_tables_are_refused_before_a_model_loads(
    workspace: Workspace,
    content: str | list[dict[str, str]],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def loads(*_: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("harness.models.pool.ModelPool.load", loads)
    if isinstance(content, str):
        workspace.table.write_text(content, encoding="utf-8")
    else:
        write_table(workspace.table, *content)
    with pytest.raises(InputError, match=message):
        workspace.curate()
    assert not (workspace.folder / "agent_rejected.csv").exists()


def test_an_unusable_row_is_refused_alone(workspace: Workspace) -> None:
    write_table(workspace.table, row(1), row(1, abstract="Another one of other words."))
    outcome = workspace.curate()
    assert outcome.result.code == 1
    assert workspace.summary(outcome)["filtered"] == {"refused": 1}
    assert "agent.csv, line 3: has the id" in workspace.stderr


def test_other_inputs_are_refused(workspace: Workspace) -> None:
    (workspace.folder / "agent.docx").write_text("x")
    for table, message in (
        ("nowhere.csv", "nowhere.csv"),
        ("agent.docx", ".docx"),
        ("corpus", "no annotations"),
    ):
        with pytest.raises(InputError, match=message):
            workspace.curate(table=table)


def test_columns_are_named_by_options(workspace: Workspace) -> None:
    renamed = {"doi": "10/a", "text": abstract(1), **moves(1)}
    write_table(workspace.table, renamed)
    workspace.judge.scores[1, ""] = 2.0
    workspace.curate("--abstract-column text --id-column doi")
    [found] = read_table(workspace.folder / "agent_rejected.csv")
    assert list(found)[:3] == ["doi", "title", "abstract"]
    assert found["doi"] == "10/a"


def test_variants_of_not_stated_are_unified(workspace: Workspace) -> None:
    write_table(workspace.table, row(1, limitation="not stated"))
    workspace.curate()
    # The judge knows no such annotation and rejects it.
    assert workspace.rejected()[ids(1)[0]]["limitation"] == nanda().not_stated


# Outputs


def test_every_suffix_is_written_with_the_kept_rows_alone(workspace: Workspace) -> None:
    workspace.rows(3, 1, 2)
    workspace.judge.scores[1, ""] = 2.0
    names = [
        f"a_curated{suffix}" for suffix in (".csv", ".jsonl", ".parquet", ".json", ".md", ".html")
    ]
    workspace.curate(save="save to " + " -o ".join(names))
    assert workspace.kept("a_curated.csv") == ids(3, 2)
    assert [one["arxiv_id"] for one in jsonl(workspace.folder / "a_curated.jsonl")] == ids(3, 2)
    array = json.loads((workspace.folder / "a_curated.json").read_text())
    assert [one["claim"] for one in array] == [moves(3)["claim"], moves(2)["claim"]]
    for name in ("a_curated.md", "a_curated.html"):
        text = (workspace.folder / name).read_text(encoding="utf-8")
        assert moves(3)["claim"] in text
        assert moves(1)["claim"] not in text
    again = workspace.again()
    assert workspace.summary(again.curate(table="a_curated.parquet", save=""))["kept"] == 2
    assert list(workspace.rejected("a_rejected.csv")) == ids(1)


def test_kept_rows_have_the_provenance_of_the_corpus(workspace: Workspace) -> None:
    name = saved("a.jsonl")(workspace, 1, 2)
    known = provenances(workspace)
    workspace.curate(table="agent.csv", save="save to b_curated.jsonl")
    workspace.curate(table=name, save="save to c_curated.jsonl")
    for target in ("b_curated.jsonl", "c_curated.jsonl"):
        found = {one["arxiv_id"]: one for one in jsonl(workspace.folder / target)}
        assert {number: one["provenance"] for number, one in found.items()} == known
        assert verify(found[ids(1)[0]], abstract(1)) == []


def test_kept_rows_have_the_provenance_of_the_file(workspace: Workspace) -> None:
    saved("a.parquet")(workspace, 1)
    known = provenances(workspace)
    workspace.curate("--db other.db", table="a.parquet", save="save to b_curated.jsonl")
    [found] = jsonl(workspace.folder / "b_curated.jsonl")
    assert found["provenance"] == known[ids(1)[0]]


def test_kept_rows_of_a_plain_table_are_marked_as_imported(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.curate(save="save to b_curated.jsonl")
    [found] = jsonl(workspace.folder / "b_curated.jsonl")
    assert (found["provenance"]["resolved"], found["provenance"]["where"]) == (
        "import",
        "agent.csv",
    )
    assert verify(found, abstract(1)) == []


def test_rejected_rows_have_reasons_and_can_be_curated_again(workspace: Workspace) -> None:
    write_table(workspace.table, row(1), gated(2), row(3))
    workspace.judge.scores |= {(1, "alpha"): 4.0, (1, "beta"): 2.25} | {
        (1, name): 2.5 for name in NAMES[2:]
    }
    workspace.curate()
    found = workspace.rejected()
    by_panel = found[ids(1)[0]]
    assert by_panel["reasons"] == " ".join(NAMES[1:])
    assert (by_panel["votes"], by_panel["mean"]) == ("1 of 5", "2.750")
    assert [by_panel[name] for name in NAMES] == ["4.000", "2.250", "2.500", "2.500", "2.500"]
    assert "777" in found[ids(2)[0]]["claim"]
    again = workspace.again()
    outcome = again.curate("--min-votes 1", table="agent_rejected.csv", save="save to b.csv")
    assert again.judge.asked == {}
    assert workspace.kept("b.csv") == ids(1)
    assert list(workspace.rejected("b_rejected.csv")) == ids(2)
    assert workspace.summary(outcome)["rows"] == 2


def test_the_log_has_the_run_and_all_votes(workspace: Workspace) -> None:
    write_table(workspace.table, row(1), gated(2))
    workspace.curate()
    [run] = workspace.log("run")
    assert run["summary"]["kept"] == 1
    one, other = workspace.log("annotation")
    assert (one["arxiv_id"], one["where"]) == (ids(1)[0], f"{workspace.table}, line 2")
    assert (one["decision"], one["for"], one["mean"]) == ("kept", 5, 5.0)
    assert [vote["persona"] for vote in one["votes"]] == list(NAMES)
    assert set(one["votes"][0]) == {
        *("persona", "score", "threshold", "passed", "mass", "answers", "entropy"),
        *("prompt_tokens", "cached_tokens", "seconds", "explanation"),
    }
    assert (one["votes"][0]["passed"], one["votes"][0]["mass"]) == (True, 0.95)
    assert (other["votes"], other["findings"][0]["code"]) == ([], "number")
    assert all(len(probe["votes"]) == len(NAMES) for probe in workspace.log("probe"))
    assert len(workspace.log("probe")) + 3 == len(
        jsonl(workspace.folder / "agent_curation_log.jsonl")
    )


@pytest.mark.parametrize(
    ("target", "stem"),
    [("a_curated.csv", "a"), ("b.jsonl", "b"), ("_curated.csv", "_curated"), ("c.d.csv", "c.d")],
)
def test_the_files_beside_a_target_are_named_after_it(
    workspace: Workspace, target: str, stem: str
) -> None:
    workspace.rows(1)
    outcome = workspace.curate(save=f"save to {target}")
    assert {path.name for path in outcome.saved} == {
        target,
        f"{stem}_rejected.csv",
        f"{stem}_curation_log.jsonl",
        f"{stem}_curation_report.html",
    }


def test_a_jsonl_that_cannot_be_read_again_is_reported(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.curate(save="save to agent_curated.csv")
    assert "not in the corpus" not in workspace.stderr
    workspace.curate("--force", save="save to agent_curated.jsonl")
    assert (
        "agent_curated.jsonl has no abstracts, and 2 of 2 papers are not in the corpus"
        in workspace.stderr
    )
    workspace.app.dispatch("/corpus add agent.csv")
    later = workspace.again()
    later.curate(save="save to agent_curated.jsonl")
    assert "not in the corpus" not in later.stderr
    later.app.dispatch("/finetune dataset --curated agent_curated.jsonl save to train.jsonl")


def test_without_a_target_only_the_report_is_shown(workspace: Workspace) -> None:
    workspace.rows(1)
    outcome = workspace.curate(save="")
    assert outcome.saved == ()
    assert "1 annotation: 1 kept" in outcome.result.text
    assert [path.name for path in workspace.folder.glob("*.*")] == ["agent.csv"]


@pytest.mark.parametrize(
    "name", ["agent_rejected.csv", "agent_curation_log.jsonl", "agent_curated.csv"]
)
def test_existing_files_are_refused_before_the_work(workspace: Workspace, name: str) -> None:
    workspace.rows(1)
    (workspace.folder / name).write_text("mine")
    assert_refuses(workspace.app, workspace.line(), f"{name}: exists already", code=4)
    workspace.curate("--force")
    assert (workspace.folder / name).read_text() != "mine"


def test_the_same_job_replaces_its_own_files(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.curate()
    workspace.rows(1, 2)
    again = workspace.again()
    again.curate("--min-votes 2 --limit 9 --explain --probes 2")
    assert again.kept() == ids(1, 2)
    other = write_table(workspace.folder / "other.csv", row(1))
    assert_refuses(again.app, again.line(table=other), "exists already", code=4)


@pytest.mark.parametrize(
    ("table", "save", "message"),
    [
        ("agent.csv", "agent.csv", "agent.csv: is the input itself"),
        ("agent_rejected.csv", "agent_curated.csv", "agent_rejected.csv: is the input itself"),
        ("agent.csv", "own.csv", "own.csv: is the corpus itself"),
        ("agent.csv", "own_curated.csv -o own_rejected.csv", "is written more than once"),
    ],
)
def test_inputs_are_never_overwritten(
    workspace: Workspace, table: str, save: str, message: str
) -> None:
    write_table(workspace.folder / table, row(1))
    before = (workspace.folder / table).read_bytes()
    with pytest.raises(UsageError, match=message):
        workspace.curate("--db own.csv --force", table=table, save=f"save to {save}")
    assert (workspace.folder / table).read_bytes() == before
    assert workspace.judge.requests == []
    assert not list(workspace.folder.glob("own*"))  # no corpus was made either


def test_a_target_never_becomes_a_part_of_the_input(workspace: Workspace) -> None:
    folder = workspace.folder / "parts"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist([row(1)]), folder / "a.parquet")
    with pytest.raises(UsageError, match="would be a part of the input"):
        workspace.curate(table="parts", save="save to parts/kept.parquet")
    assert workspace.judge.requests == []


def test_a_run_that_fails_writes_nothing(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.app.close()
    workspace.app = fake_app(workspace.folder, workspace.judge, unavailable="it is not there")
    with pytest.raises(ModelUnavailable, match="it is not there"):
        workspace.curate()
    assert not list(workspace.folder.glob("agent_*"))


# Frontends


def test_json_output_is_one_object(workspace: Workspace) -> None:
    write_table(workspace.table, row(1), gated(2))
    outcome = workspace.curate("--json")
    check_output(Curate(), "", outcome.result)
    found = json.loads(outcome.result.as_json())
    assert (found["kept"], found["rejected"], found["gated"]) == (1, 1, 1)
    assert found["judge"]["thresholds"] == dict.fromkeys(NAMES, 3.0)
    assert found["reject_rate"]["share"] == 0.5
    assert found["notes"][0].startswith("uncalibrated")


def test_the_repl_curates(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.judge.scores[2, ""] = 2.0
    with create_pipe_input() as keys:
        keys.send_text("/curate agent.csv --probes 1 save to agent_curated.csv\r\x04")
        Repl(workspace.app, keys, DummyOutput()).run()
    assert workspace.kept() == ids(1)
    assert "2 annotations: 1 kept, 1 rejected (0 by the gates, 1 by the panel)" in workspace.stderr


def test_a_table_may_be_piped_and_the_same_line_replaces_its_file(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.judge.scores[2, ""] = 2.0
    for _ in range(2):
        piped = Frontend("test", stdin=io.BytesIO(workspace.table.read_bytes()))
        line = "/curate - --probes 1 save to agent_curated.csv"
        summary = workspace.app.dispatch(line, frontend=piped).result.summary
        assert summary["input"] == "stdin"
        assert workspace.kept() == ids(1)
