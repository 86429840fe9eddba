"""/annotate TABLE --cascade, and the lower bound of the share of right anchors."""

from __future__ import annotations

import _thread
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotate_workspace import Annotator, Workspace, counting_reads, paper, write_table
from protocol_server import ProtocolServer
from quoting_model import QuotingModel

from harness.errors import InputError, ModelError, ModelUnavailable, OutputError, UsageError
from harness.models.backend import Model
from harness.models.registry import ServeEntry
from harness.models.weights import FileStore
from harness.runs.frontend import Outcome
from skills.annotate import cascade as cascade_module
from skills.annotate.cascade import lower_bound
from skills.annotate.plan import PaperFile
from skills.annotate.plugin import Annotate
from skills.corpus.db.connection import open_corpus
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper
from skills.reader.backend import ReaderBackend

REGISTRY = """\
version: 1
models:
  nanda-annotator:
    tasks: [annotate]
    form: quotes
    serve: [{{backend: fake, model: small}}]
  middle:
    tasks: []
    form: quotes
    serve: [{{backend: fake, model: middle}}]
  better:
    tasks: []
    serve: [{{backend: openai, model: better, url: "{url}/v1"}}]
  best:
    tasks: []
    serve: [{{backend: openai, model: best, url: "{url}/v1"}}]
"""
SURE = {2: 0.65, 4: 0.5, 5: 0.85}
"""Paper 4 is the least certain, then 2 and 5; 1 and 3 are sure."""
LINE = "--cascade better --until .9 save to out.jsonl"


class Cascade:
    """A folder with five papers, and a server with a scripted better annotator."""

    def __init__(self, folder: Path, server: ProtocolServer, small: QuotingModel | Model) -> None:
        self.folder, self.server, self.small = folder, server, small
        registry = folder / "models.yaml"
        registry.write_text(REGISTRY.format(url=server.url), encoding="utf-8")
        self.workspace = Workspace(folder, small, registry=registry)
        self.workspace.rows(1, 2, 3, 4, 5)

    @property
    def better(self) -> Annotator:
        assert isinstance(self.server.model, Annotator)
        return self.server.model

    def annotate(self, rest: str = LINE) -> Outcome:
        return self.workspace.annotate(rest)

    def summary(self, rest: str = LINE) -> Any:
        found = self.annotate(rest).result.summary
        assert found is not None
        return found["cascade"]

    def models(self) -> dict[str, str]:
        """Return the model of each saved annotation by the last digit of the id."""
        lines = (self.folder / "out.jsonl").read_text(encoding="utf-8").splitlines()
        records = map(json.loads, lines)
        return {r["arxiv_id"][-1]: r["provenance"]["resolved"] for r in records}

    def again(self) -> Cascade:
        """Return the same folder as a new process sees it."""
        self.workspace.app.close()
        return Cascade(self.folder, self.server, QuotingModel(SURE))


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer(Annotator(), names=("better", "best")) as running:
        yield running


@pytest.fixture
def cascade(tmp_path: Path, server: ProtocolServer) -> Cascade:
    return Cascade(tmp_path, server, QuotingModel(SURE))


def certain_below(cascade: Cascade, count: int) -> str:
    """Annotate, and return a limit below which `count` papers are."""
    cascade.annotate("save to first.jsonl")
    lines = (cascade.folder / "first.jsonl").read_text(encoding="utf-8").splitlines()
    means = sorted(sum(json.loads(line)["confidence"].values()) / 8 for line in lines)
    return f"{(means[count - 1] + means[count]) / 2:.4f}"


def test_the_table_of_a_cascade_is_opened_and_parsed_once(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counting_reads(monkeypatch) as reads:
        found = cascade.summary("--cascade better --until .9 save to out.jsonl -o out.csv")
    assert found["models"]["better"]["papers"] > 0
    assert reads == {"opened papers.csv": 1, "parsed papers.csv": 1}


def test_papers_below_the_certainty_go_on(cascade: Cascade) -> None:
    limit = certain_below(cascade, 2)
    found = cascade.summary(f"--cascade better --until {limit} save to out.jsonl")
    assert cascade.models() == {
        "1": "nanda-annotator",
        "2": "better",
        "3": "nanda-annotator",
        "4": "better",
        "5": "nanda-annotator",
    }
    assert cascade.better.counts == {2: 1, 4: 1}
    assert found["review"] == []
    assert found["models"]["nanda-annotator"]["papers"] == 5
    assert (found["models"]["better"]["papers"], found["models"]["better"]["failed"]) == (2, 0)
    tokens = found["models"]["better"]["tokens"]
    assert tokens["completion"] == 40
    assert tokens["prompt"] > 0
    assert "cascade: 5 papers by nanda-annotator, then 2 papers by better, then 0 for" in (
        cascade.workspace.stderr
    )
    assert f"better {sum(tokens.values()):,}" in cascade.workspace.stderr
    with open_corpus(cascade.workspace.corpus) as db:
        sql = "SELECT model FROM annotations WHERE current ORDER BY paper_id"
        current = [row["model"] for row in db.execute(sql)]
        runs = [row["model"] for row in db.execute("SELECT model FROM runs ORDER BY id")]
    assert current == [cascade.models()[str(number)] for number in range(1, 6)]
    assert runs == ["nanda-annotator", "better"]


def test_a_budget_takes_the_least_certain_and_leaves_the_others_for_review(
    cascade: Cascade,
) -> None:
    limit = certain_below(cascade, 3)
    outcome = cascade.annotate(f"--cascade better --budget 20% --until {limit} save to out.jsonl")
    assert cascade.better.counts == {4: 1}
    assert outcome.result.summary is not None
    assert outcome.result.summary["cascade"]["review"] == ["2401.00002", "2401.00005"]
    assert outcome.result.next.endswith("out.jsonl --review save to gold.csv")


def test_the_next_line_of_the_summary_counts_its_own_tokens(cascade: Cascade) -> None:
    cascade.annotate()
    with open_corpus(cascade.workspace.corpus) as db:
        summaries = [json.loads(row["summary"]) for row in db.execute("SELECT summary FROM runs")]
    made = cascade.better.counts.values()
    assert summaries[1]["tokens"]["completion"] == 20 * sum(made)


def test_a_paper_goes_on_through_all_models(cascade: Cascade) -> None:
    found = cascade.summary("--cascade middle,best --until 1.0 --budget 60% save to out.jsonl")
    # 3 of the 5 papers go on to the middle model, and 1 of these 3 to the best model. The 2 papers
    # that stay with the first model and the 2 that stay with the middle model are for review.
    assert {m: one["papers"] for m, one in found["models"].items()} == {
        "nanda-annotator": 5,
        "middle": 3,
        "best": 1,
    }
    assert cascade.models()["4"] == "best"
    assert len(found["review"]) == 4


def test_the_same_line_continues(cascade: Cascade) -> None:
    cascade.server.fail("refuse")
    outcome = cascade.annotate()
    first = outcome.result.summary
    assert outcome.result.code == 1
    assert first is not None
    failed = first["cascade"]["models"]["better"]["failed"]
    assert failed > 0
    assert set(cascade.models().values()) == {"nanda-annotator"}
    assert len(first["cascade"]["review"]) == failed
    cascade.server.fail(None)
    later = cascade.again()
    assert later.annotate(f"--retry-failed {LINE}").result.code == 0
    assert sum(later.better.counts.values()) == failed
    last = later.again()
    outcome = last.annotate()
    assert outcome.result.summary is not None
    assert outcome.result.summary["made"] == 0
    assert last.small.papers == []
    assert list(last.models().values()).count("better") == failed


def test_ctrl_c_in_the_second_model_keeps_what_is_done(cascade: Cascade) -> None:
    limit = certain_below(cascade, 3)
    line = f"--cascade better --until {limit} save to out.jsonl"

    def interrupt() -> str:
        _thread.interrupt_main()
        threading.Event().wait(0.3)
        return json.dumps(dict.fromkeys(nanda().names, "Not stated."))

    cascade.better.faults[2] = interrupt
    outcome = cascade.annotate(line)
    assert outcome.result.code == 130
    assert len(cascade.models()) == 5
    assert outcome.result.summary is not None
    assert outcome.result.summary["cascade"]["pending"] > 0
    cascade.better.faults.clear()
    later = cascade.again()
    assert later.annotate(line).result.code == 0
    assert list(later.models().values()).count("better") == 3
    assert later.small.papers == []


def test_a_server_that_goes_away_keeps_the_small_models_work(cascade: Cascade) -> None:
    cascade.server.fail("missing", model="better")
    outcome = cascade.annotate()
    assert outcome.result.code == 3
    assert set(cascade.models().values()) == {"nanda-annotator"}


def test_a_full_disk_between_two_models_keeps_the_small_models_work(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk(PaperFile):
        def append(self, paper: Paper) -> None:
            raise OutputError("a temporary file cannot be written: database or disk is full")

    monkeypatch.setattr(cascade_module, "PaperFile", FullDisk)
    outcome = cascade.annotate()
    assert outcome.result.code == OutputError.exit_code
    assert "not passed on yet" in cascade.workspace.stderr
    assert list(cascade.models().values()) == ["nanda-annotator"] * 5


def test_a_sample_bounds_the_share_of_right_anchors(cascade: Cascade) -> None:
    claims = dict.fromkeys(nanda().names, "Not stated.")
    rows = [{**paper(n), **claims, "claim": f"We present method {n}."} for n in (1, 2, 3, 4, 5, 9)]
    write_table(cascade.folder / "gold.csv", *rows)
    found = cascade.summary(f"--sample gold.csv {LINE}")["right_anchors"]
    # Each abstract has one sentence, so that every anchor is right; all papers are in the sample.
    assert (found["papers"], found["of"], found["share"]) == (5, 5, 1.0)
    assert found["least"] == pytest.approx(1.0, abs=0.001)
    assert "at least 100.0% over all 5 with 95% probability" in cascade.workspace.stderr


def test_without_a_sample_nothing_is_guaranteed(cascade: Cascade) -> None:
    assert cascade.summary()["right_anchors"] is None
    assert "nothing is guaranteed without --sample" in cascade.workspace.stderr


def test_a_sample_of_other_papers_is_refused_before_the_work(cascade: Cascade) -> None:
    other = {**paper(9), **dict.fromkeys(nanda().names, "Not stated.")}
    write_table(cascade.folder / "gold.csv", other)
    with pytest.raises(InputError, match="has gold of none of these papers"):
        cascade.annotate(f"--sample gold.csv {LINE}")
    assert cascade.small.papers == []


def test_a_first_model_without_confidences_is_an_error_before_the_work(
    cascade: Cascade,
) -> None:
    cascade.workspace.app.general["model"] = "better"
    with pytest.raises(ModelError, match="better gives no confidences") as caught:
        cascade.annotate("--cascade best --until .9 save to out.jsonl")
    assert "select passages of the abstract" in caught.value.hint
    with open_corpus(cascade.workspace.corpus) as db:
        assert db.execute("SELECT count(*) FROM annotations").fetchone()[0] == 0


def test_a_middle_model_without_confidences_stops_the_cascade(cascade: Cascade) -> None:
    outcome = cascade.annotate("--cascade better,best --until .9 save to out.jsonl")
    assert "better gives no confidences" in str(outcome.result.stopped)
    assert outcome.result.code != 0
    assert len(cascade.models()) == 5
    assert cascade.better.counts == {}


def test_unknown_and_unavailable_models_are_refused_before_the_work(cascade: Cascade) -> None:
    with pytest.raises(UsageError, match="nobody"):
        cascade.annotate("--cascade nobody --until .9")
    with pytest.raises(ModelUnavailable):
        cascade.annotate("--cascade openai/missing --until .9")
    with pytest.raises(
        UsageError, match="occurs twice in the cascade: nanda-annotator, better, better"
    ):
        cascade.annotate("--cascade better,better --until .9")
    assert cascade.small.papers == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--budget 20%", "--budget goes with --cascade"),
        ("--until .9", "--until goes with --cascade"),
        ("--cascade better", "--cascade goes with --budget or --until"),
        ("--cascade better --until 2025", "--until does not apply to a table"),
        ("--cascade better --budget 120%", "--budget"),
        ("--cascade better --budget much", "--budget"),
        ("--cascade better --until soon", "--until"),
        ("--cascade better --until 1.5", r"'1\.5' is neither a certainty such as \.9 nor a date"),
    ],
)
def test_wrong_combinations(cascade: Cascade, options: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        cascade.annotate(options)


def test_a_model_asks_before_it_sends_papers_to_another() -> None:
    options = Annotate.Options(cascade="better", budget="20%")  # type: ignore[arg-type]
    assert options.budget == 0.2
    assert Annotate().effects(options, "") == "sends papers to better"


@pytest.mark.model
def test_the_embedded_model_begins_a_cascade(
    tmp_path: Path, server: ProtocolServer, model_files: FileStore
) -> None:
    model = ReaderBackend(model_files).load(ServeEntry(backend="reader", file="nanda-reader"))
    cascade = Cascade(tmp_path, server, model)
    found = cascade.summary("--cascade better --budget 40% --until 1.0 save to out.jsonl")
    assert {m: one["papers"] for m, one in found["models"].items()} == {
        "nanda-annotator": 5,
        "better": 2,
    }
    assert len(found["review"]) == 3
    assert found["models"]["nanda-annotator"]["tokens"]["prompt"] > 0


def test_options_of_a_cascade_are_for_tables(cascade: Cascade) -> None:
    with pytest.raises(UsageError, match="does not apply"):
        cascade.workspace.app.dispatch("/annotate tool-using agents --cascade better --budget 20%")
    with pytest.raises(UsageError, match=r"--until: 0\.9 is not a date"):
        cascade.workspace.app.dispatch("/annotate tool-using agents --until .9")


@pytest.mark.parametrize("mean", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("size", [10, 60])
def test_it_holds_in_95_percent_of_samples(mean: float, size: int) -> None:
    random = np.random.default_rng(size)
    population = (random.random(120) < mean).astype(float)  # 0 and 1 have the largest spread
    samples = [random.permutation(population)[:size] for _ in range(200)]
    held = sum(lower_bound(sample.tolist(), 120) <= population.mean() for sample in samples)
    assert held >= (0.95 - 2 * 0.0154) * 200  # 0.0154 is the standard error


def test_it_is_the_mean_of_a_whole_population() -> None:
    values = [0.5, 1.0, 0.25, 0.75, 0.5]
    assert lower_bound(values, 5) == pytest.approx(0.6, abs=1e-6)


def test_it_is_closer_than_hoeffdings_if_the_values_differ_little() -> None:
    values = np.random.default_rng(0).uniform(0.7, 0.9, 100)
    hoeffding = values.mean() - np.sqrt(np.log(20) / 200)
    assert hoeffding + 0.05 < lower_bound(values.tolist(), 10_000) < values.mean()


def test_it_rises_with_the_sample_and_the_confidence_that_is_given_up() -> None:
    values = [0.8, 0.9, 1.0, 0.7] * 25
    bounds = [lower_bound(values[:size], 1000) for size in (4, 20, 100)]
    assert bounds == sorted(bounds)
    assert lower_bound(values, 1000, risk=0.2) > bounds[-1]


def test_an_empty_sample_bounds_nothing() -> None:
    assert lower_bound([], 10) == 0.0
