"""The command /evaluate: resuming, early refusals, and an unchanged corpus."""

from __future__ import annotations

import _thread
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from declared_outputs import check_output
from evaluate_workspace import ABSTRACT, Workspace, gold, row
from killing import assert_killed, kill

from harness.errors import (
    GenerationFailed,
    HarnessError,
    InputError,
    Interrupted,
    LoopingReply,
    ModelUnavailable,
    UsageError,
)
from harness.models.backend import Model, Request
from harness.models.registry import ServeEntry
from harness.models.weights import FileStore
from harness.runs import progress
from harness.runs.frontend import Outcome
from harness.terminal.console import Screen
from harness.testing import FakeModel, fake_app, run_skill, temporary_registry
from skills.corpus.db import store
from skills.corpus.db.connection import open_corpus
from skills.evaluate.annotators import LEAD, OTHER
from skills.evaluate.plugin import Evaluate
from skills.nanda.framework import nanda
from skills.reader.backend import ReaderBackend


def broken(request: Request) -> str:
    raise RuntimeError("a wire came loose")


def metric(outcome: Outcome, name: str, annotator: int = 0, move: str = "overall") -> Any:
    return outcome.result.data["annotators"][annotator]["metrics"][name][move]["value"]


def test_a_model_is_measured_beside_three_baselines(space: Workspace) -> None:
    outcome = space.evaluate("--models producer --details save to report.json")
    data = json.loads((space.folder / "report.json").read_text(encoding="utf-8"))
    assert data == json.loads(json.dumps(outcome.result.data))
    check_output(Evaluate(), "", outcome.result)
    assert outcome.result.code == 0
    assert [one["name"] for one in data["annotators"]] == ["producer", LEAD, OTHER]
    assert metric(outcome, "valid") == 1.0
    assert metric(outcome, "kappa") == 1.0
    assert metric(outcome, "rouge_l", move="claim") == 1.0
    assert metric(outcome, "rouge_l") == pytest.approx(2 / 8)  # six moves are stated by neither
    assert metric(outcome, "completion_tokens") == 20
    assert metric(outcome, "rouge_l", annotator=2) < 0.25
    won = data["differences"][0]["papers"]
    assert (won["win"], won["tie"], won["loss"]) == (6, 0, 0)
    assert "ROUGE-L (macro)" in outcome.result.text
    assert f"producer - {LEAD}: by paper (agreement) 6 won, 0 tied, 0 lost" in outcome.result.text


def test_the_work_is_announced_and_counted_in_annotations(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, str]] = []
    monkeypatch.setattr(
        progress, "_lines", lambda pace, _: lambda: shown.append((pace.phase, pace.count))
    )
    space.evaluate("--models producer --unconstrained --consistency 2")
    stderr = space.app.screen.err.getvalue()  # type: ignore[attr-defined]
    assert "6 papers for 1 model, and 2 of them 6 times more (not with --consistency 0)" in stderr
    assert ": 24 annotations" in stderr
    assert "rows" not in stderr
    assert shown[-1] == ("producer, again in 6 variations", "24 of 24 annotations")
    assert list(dict.fromkeys(phase for phase, _ in shown)) == [
        "producer",
        "producer, without constrained output",
        "producer, again in 6 variations",
    ]
    space.evaluate("--models producer --unconstrained --consistency 2")
    assert shown[-1][1] == "0 of 0 annotations", "all are done already"
    with open_corpus(space.corpus) as db:  # /serve names a job by its command
        assert {row["skill"] for row in db.execute("SELECT skill FROM runs")} == {"evaluate"}


def test_repeating_a_command_sends_no_request(space: Workspace) -> None:
    first = space.evaluate("--models producer --unconstrained")
    asked = dict(space.model.asked)
    assert asked == {(n, held): 1 for n in range(1, 7) for held in (True, False)}
    second = space.evaluate("--models producer --unconstrained")
    assert space.model.asked == asked
    assert second.result.data == first.result.data


def test_consistency_uses_other_seeds_and_reworded_prompts(space: Workspace) -> None:
    def other(request: Request) -> str:
        usual = request.messages[0].content.startswith(nanda().instructions.strip())
        return json.dumps({**gold(2), **({} if usual else {"comparison": "Heaps are slower."})})

    space.model.faults[2] = other
    outcome = space.evaluate("--models producer --consistency 2 --details")
    again = [one for one in space.model.requests if one.temperature > 0]
    assert sorted(one.seed for one in again) == [1, 1, 2, 2, 3, 3]
    assert len({one.messages[0].content for one in space.model.requests}) == 4
    assert len(space.model.requests) == 6 + 2 * 6
    assert metric(outcome, "seeds") == 1.0
    assert metric(outcome, "prompts") < 1.0
    assert metric(outcome, "prompts_stated") < 1.0
    papers = outcome.result.data["annotators"][0]["metrics"]["prompts"]["overall"]["papers"]
    assert papers == 2
    [shown] = [line for line in outcome.result.text.splitlines() if "alike by seeds" in line]
    assert "n=2" in shown, "the head has the number of papers, 6"

    space.evaluate("--models producer --consistency 2")
    assert len(space.model.requests) == 6 + 2 * 6


def test_repeated_answers_do_not_become_current(space: Workspace) -> None:
    space.model.faults[1] = lambda r: "{}" if r.seed == 0 else json.dumps(gold(1))
    outcome = space.evaluate("--models producer --consistency 2")
    assert len([one for one in space.model.requests if one.seed]) == 3  # repeats for paper 2
    assert outcome.result.data["annotators"][0]["failed"] == {"InvalidReply": 1}
    with open_corpus(space.corpus) as db:
        rows = db.execute("SELECT paper_id, sum(current) AS n FROM annotations GROUP BY 1")
        assert [row["n"] for row in rows] == [1] * 5
        assert db.execute("SELECT count(*) AS n FROM annotations").fetchone()["n"] == 5 + 6


def test_a_fault_in_a_repetition_fails_the_run(space: Workspace) -> None:
    def broken(request: Request) -> str:
        if request.seed == 2:
            raise RuntimeError("a wire came loose")
        return json.dumps(gold(1))

    space.model.faults[1] = broken
    outcome = space.evaluate("--models producer --consistency 1")
    assert outcome.result.code == 1
    assert outcome.result.data["annotators"][0]["failed"] == {"RuntimeError": 1}


def test_annotations_of_annotate_are_reused(space: Workspace) -> None:
    space.app.dispatch(f"/annotate {space.table} --model producer save to out.jsonl")
    space.evaluate()
    assert set(space.model.asked.values()) == {1}


def test_an_interrupted_run_can_be_resumed(space: Workspace) -> None:
    def interrupt(request: Request) -> str:
        _thread.interrupt_main()
        return json.dumps(gold(3))

    space.model.faults[3] = interrupt
    with pytest.raises(Interrupted, match="the same line continues the job"):
        space.evaluate()
    del space.model.faults[3]
    done = set(space.model.asked)
    assert 3 <= len(done) < 6
    outcome = space.evaluate()
    assert outcome.result.data["annotators"][0]["speed"]["papers"] == 6
    assert space.model.asked == dict.fromkeys([(n, True) for n in range(1, 7)], 1)


def test_an_invalid_answer_is_a_finding(space: Workspace) -> None:
    space.model.faults[2] = lambda request: "Well, it sorts papers."
    outcome = space.evaluate("--models producer --unconstrained")
    assert outcome.result.code == 0
    assert outcome.result.data["annotators"][0]["failed"] == {"InvalidReply": 1}
    assert metric(outcome, "valid") == pytest.approx(5 / 6, abs=1e-4)
    assert metric(outcome, "recall") == pytest.approx(10 / 12, abs=1e-4)
    assert space.model.asked[2, True] == 2  # an answer and its repair
    assert space.model.asked[2, False] == 1  # no repair, since the first answer is measured
    assert outcome.result.data["worst"][0]["id"] == "2401.00002"


def test_a_repaired_answer_is_not_valid_at_first(space: Workspace) -> None:
    space.model.faults[2] = lambda r: "{}" if len(r.messages) == 2 else json.dumps(gold(2))
    outcome = space.evaluate()
    assert metric(outcome, "valid") == pytest.approx(5 / 6, abs=1e-4)
    assert metric(outcome, "recall") == 1.0
    assert metric(outcome, "completion_tokens") == pytest.approx(140 / 6, abs=1e-3)


def test_an_answer_out_of_order_is_not_valid_without_constraint(space: Workspace) -> None:
    space.model.faults[2] = lambda r: json.dumps(dict(reversed(gold(2).items())))
    outcome = space.evaluate("--models producer --unconstrained")
    assert metric(outcome, "valid") == 1.0
    assert metric(outcome, "valid_freely") == pytest.approx(5 / 6, abs=1e-4)


def test_a_fault_of_the_run_fails_it_and_can_be_retried(space: Workspace) -> None:
    space.model.faults[2] = broken
    outcome = space.evaluate()
    assert outcome.result.code == 1
    assert outcome.result.data["annotators"][0]["failed"] == {"RuntimeError": 1}
    assert "1 answer failed by a fault of the run" in outcome.result.text
    del space.model.faults[2]
    assert space.evaluate("--models producer --retry-failed").result.code == 0


def test_a_retry_includes_papers_that_were_never_sent(space: Workspace) -> None:
    space.model.faults[2] = broken
    space.evaluate("--models producer --consistency 6")
    del space.model.faults[2]
    outcome = space.evaluate("--models producer --consistency 6 --unconstrained --retry-failed")
    assert metric(outcome, "prompts") == metric(outcome, "seeds") == 1.0
    assert metric(outcome, "valid_freely") == 1.0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InputError("9,000 tokens are too many"), "the prompt does not fit the model"),
        (LoopingReply("the model repeats itself"), "the answer repeated itself"),
    ],
)
def test_a_failure_of_the_model_is_a_finding(
    space: Workspace, error: HarnessError, reason: str
) -> None:
    def failing(request: Request) -> str:
        raise error

    space.model.faults[2] = failing
    outcome = space.evaluate("--models producer --unconstrained")
    assert outcome.result.code == 0
    assert outcome.result.data["annotators"][0]["failed"] == {type(error).__name__: 1}
    assert f"1 failed ({reason})" in outcome.result.text
    assert "fault of the run" not in outcome.result.text
    assert metric(outcome, "valid") == metric(outcome, "valid_freely") == pytest.approx(0.8333)
    assert metric(outcome, "recall") == pytest.approx(10 / 12, abs=1e-4)


@pytest.mark.parametrize(("papers", "repeated"), [(4, 0), (5, 5), (11, 10)])
def test_few_papers_are_not_repeated_unless_requested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, papers: int, repeated: int
) -> None:
    monkeypatch.chdir(tmp_path)
    space = Workspace(tmp_path, rows=papers)
    outcome = space.app.dispatch(f"/evaluate {space.table} --models producer")
    assert len(space.model.requests) == papers + 6 * repeated
    hint = "Consistency was not measured: --consistency N"
    assert (hint in outcome.result.text) == (not repeated)


def test_an_abstract_that_is_too_long_is_refused_with_its_row(space: Workspace) -> None:
    space.write([row(1), {**row(2), "abstract": "word " * 1501}])
    outcome = space.evaluate()
    assert outcome.result.code == 1
    [refused] = outcome.result.data["refused"]
    assert refused["where"].endswith("gold.csv, line 3")
    assert "1,501 words are too many" in refused["reason"]
    assert outcome.result.data["papers"] == 1


def test_failed_papers_count_for_the_speed(space: Workspace) -> None:
    space.model.faults[2] = lambda request: "{}"
    outcome = space.evaluate()
    assert outcome.result.data["annotators"][0]["speed"]["papers"] == 6


def test_the_current_annotation_stays_current(space: Workspace) -> None:
    space.app.dispatch(f"/corpus add {space.table}")
    space.evaluate("--models producer --unconstrained")
    with open_corpus(space.corpus) as db:
        rows = db.execute("SELECT model, sum(current) AS n FROM annotations GROUP BY model")
        assert {row["model"]: row["n"] for row in rows} == {"import": 6, "producer": 0}


def test_a_kill_leaves_the_current_annotation(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = store.save

    def killed(*args: Any, **options: Any) -> int:
        save(*args, **options)
        kill()
        return 0

    space.app.dispatch(f"/corpus add {space.table}")
    monkeypatch.setattr(store, "save", killed)
    assert_killed(space.evaluate)
    with open_corpus(space.corpus) as db:
        rows = db.execute("SELECT model, sum(current) AS n FROM annotations GROUP BY model")
        assert {row["model"]: row["n"] for row in rows} == {"import": 6, "producer": 0}


def test_a_picture_is_drawn(space: Workspace) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plots or finetune")
    from matplotlib.image import imread

    one, two = space.folder / "one.png", space.folder / "two.PNG"
    space.evaluate("--models producer save to one.png")
    space.evaluate("save to two.PNG")
    assert imread(two).shape[0] > imread(one).shape[0] > 500  # a fourth annotator needs more space


def test_a_matplotlibrc_changes_no_picture(space: Workspace) -> None:
    """matplotlib reads one in the current folder at import; it may require TeX to be run."""
    pytest.importorskip("matplotlib", reason="needs the extra plots or finetune")
    from matplotlib import rc_context

    one, two = space.folder / "one.png", space.folder / "two.png"
    space.evaluate("--models producer save to one.png")
    with rc_context({"text.usetex": True, "savefig.facecolor": "red"}):
        space.evaluate("--models producer save to two.png")
    assert one.read_bytes() == two.read_bytes()


def test_a_picture_of_a_table_with_dollars_in_its_name(space: Workspace) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plots or finetune")
    space.table = space.folder / "run_$5_to_$9%.csv"
    space.write([row(number) for number in range(1, 4)])
    assert space.evaluate("save to one.png").result.code == 0


def test_a_picture_that_cannot_be_drawn_is_refused_first(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skills.evaluate.report_files.MODULES", ("no_such_library",))
    message = space.refused("--models producer save to one.png")
    assert "this needs no_such_library" in message


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("--models producr", "no model 'producr' in the registry"),
        ("--models producer,", "no model '' in the registry"),
        ("--models producer --csabstruct x.jsonl", "exclude each other"),
        ("--models producer save to gold.json --abstract-column nothing", "no column 'nothing'"),
    ],
)
def test_a_wrong_command_is_refused_before_a_model_is_used(
    space: Workspace, rest: str, message: str
) -> None:
    assert message in space.refused(rest)


def test_a_table_without_gold_is_refused(space: Workspace) -> None:
    space.write([{"abstract": ABSTRACT.format(1), "claim": "It sorts."}])
    assert "has no column evidence, method" in space.refused("", InputError)


def test_a_table_without_rows_is_refused(space: Workspace) -> None:
    space.table.write_text(",".join(row(1)) + "\n", encoding="utf-8")
    assert "has no rows below its header" in space.refused("", InputError)


def test_a_folder_of_parquet_files_is_a_table(space: Workspace) -> None:
    space.table = space.folder / "gold"
    space.table.mkdir()
    for number in (1, 2):
        pq.write_table(pa.Table.from_pylist([row(number)]), space.table / f"{number}.parquet")
    assert space.evaluate().result.data["papers"] == 2


def test_an_empty_move_is_named(space: Workspace) -> None:
    space.write([row(1), {**row(2), "scope": " "}])
    outcome = space.evaluate()
    assert outcome.result.code == 1
    [refused] = outcome.result.data["refused"]
    assert refused["where"].endswith("gold.csv, line 3")
    assert refused["reason"] == "scope is empty"


def test_a_command_without_input_is_refused(space: Workspace) -> None:
    with pytest.raises(UsageError, match="needs TABLE, or --csabstruct FILE"):
        space.app.dispatch("/evaluate --models producer")
    with pytest.raises(UsageError, match="--id-column does not apply to --csabstruct"):
        space.app.dispatch("/evaluate --csabstruct x.jsonl --id-column id")


def test_an_unavailable_model_is_reported_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    space = Workspace(tmp_path)
    space.app = fake_app(tmp_path, space.model, unavailable="it is out")
    assert "it is out" in space.refused("--models producer", ModelUnavailable)


def test_the_models_of_annotate_are_the_default(space: Workspace) -> None:
    data = space.evaluate("").result.data
    names = [one["name"] for one in data["annotators"] if one["kind"] == "model"]
    assert names == ["nanda-annotator", "producer"]
    assert [one["other"] for one in data["differences"]] == ["producer", LEAD, OTHER]
    assert data["differences"][0]["papers"]["tie"] == 6


def test_a_table_of_one_paper_has_two_baselines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = Workspace(tmp_path, rows=1).evaluate()
    assert [one["name"] for one in outcome.result.data["annotators"]] == [
        "producer",
        LEAD,
    ]
    assert outcome.result.data["annotators"][0]["metrics"]["kappa"]["overall"]["low"] is None


def test_labelled_sentences_are_compared(space: Workspace) -> None:
    space.write_labels()
    outcome = space.app.dispatch(
        "/evaluate --csabstruct labels.jsonl --models producer --consistency 0 --details"
    )
    # The gold's method has the words of the result, and no evidence is stated.
    assert metric(outcome, "label_precision", move="method") == 0.0
    assert metric(outcome, "label_prior", move="method") == pytest.approx(1 / 3, abs=1e-4)
    assert metric(outcome, "label_lift", move="method") == pytest.approx(-1 / 3, abs=1e-4)
    assert metric(outcome, "label_precision", move="evidence") is None
    assert metric(outcome, "placed") == 0.0
    assert metric(outcome, "placed", annotator=1) == 0.0  # the first two sentences are the other's
    assert outcome.result.data["annotators"][0]["anchors"]["method"]["result"] == 6
    assert "label precision" in outcome.result.text


@pytest.mark.model
def test_the_embedded_model_is_measured(
    embedded: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    space = Workspace(tmp_path, rows=2)
    short = {**nanda().model_dump(mode="json"), "max_chars": 60}
    short["moves"] = [move for move in short["moves"] if move["name"] in ("claim", "method")]
    framework = tmp_path / "short.yaml"  # short, since an untuned model fills each move
    framework.write_text(json.dumps(short), encoding="utf-8")
    options = {"models": "fake-model", "framework": framework, "consistency": 1}
    result = run_skill(Evaluate(), str(space.table), model=embedded, form="tagged", options=options)
    model = result.data["annotators"][0]
    valid = model["metrics"]["valid"]["overall"]
    assert (valid["value"], valid["papers"]) == (1.0, 2)
    assert model["digests"]
    assert model["metrics"]["completion_tokens"]["overall"]["value"] > 20


def test_a_reader_is_not_repeated(
    model_files: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no prompt that could be worded differently, and no seed."""
    monkeypatch.chdir(tmp_path)
    space = Workspace(tmp_path, rows=5)
    model = ReaderBackend(model_files).load(ServeEntry(backend="reader", file="nanda-reader"))
    options = {"models": "fake-model", "consistency": 2}
    notices: list[str] = []
    monkeypatch.setattr(Screen, "notice", lambda _, text: notices.append(text))
    result = run_skill(Evaluate(), str(space.table), model=model, form="quotes", options=options)
    assert "5 papers for 1 model: 5 annotations;" in notices[0]
    assert "Consistency was not measured" not in result.text
    assert not {"seeds", "prompts"} & result.data["annotators"][0]["metrics"].keys()
    assert len(result.data["annotators"][0]["by_paper"]) == 5


def test_a_transient_error_is_retried(space: Workspace) -> None:
    calls = iter([GenerationFailed("the stream broke off"), None])

    def once(request: Request) -> str:
        if error := next(calls):
            raise error
        return json.dumps(gold(2))

    space.model.faults[2] = once
    assert metric(space.evaluate(), "valid") == 1.0


def test_an_unconstrained_answer_has_no_decoding(tmp_path: Path) -> None:
    reply = json.dumps({name: {"confidence": 0.9} for name in nanda().names})
    space = Workspace(tmp_path, rows=1)
    serve = [{"backend": "fake", "model": "annotator"}]
    quoting = {"tasks": ["annotate"], "form": "quotes", "serve": serve}
    with temporary_registry({"quoting": quoting}) as registry:
        space.app = fake_app(tmp_path, FakeModel(reply), registry=registry)
        space.evaluate("--models quoting --unconstrained")
    with open_corpus(space.corpus) as db:
        found = [
            json.loads(one["record"])["provenance"]
            for one in db.execute("SELECT * FROM annotations")
        ]
    assert [one["decoding"] is None for one in found] == [False, True]
