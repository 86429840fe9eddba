"""`/finetune dataset` and `python -m`: files, messages, token counts and the manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from declared_outputs import check_output
from finetune_tables import abstract, row, rows, table

from harness import settings
from harness.cli.app import App
from harness.errors import HarnessError, InputError, UsageError
from harness.models import registry
from harness.models.backend import Message, Model, Request
from harness.models.weights import FileStore
from harness.testing import assert_refuses, fake_app
from skills.finetune.build_finetune_from_annotations import build_dataset, main
from skills.finetune.dataset.token_counts import RENDERED, histogram, open_counter
from skills.finetune.plugin import Finetune
from skills.nanda.framework import nanda

LINE = "/finetune dataset --gold gold.csv --agent agent.csv"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """An application beside gold.csv (papers 0 to 4) and agent.csv (papers 3 to 9)."""
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "gold.csv", rows(range(5)))
    table(tmp_path / "agent.csv", [*rows(range(3, 10), "agent"), row(10, claim="")])
    made = fake_app(tmp_path)
    yield made
    made.close()


def messages_of(app: App) -> str:
    return app.screen.err.getvalue()  # type: ignore[attr-defined,no-any-return]


def texts_of(example: Mapping[str, Any]) -> tuple[str, str, str]:
    return example["system"], example["prompt"], example["completion"]


def manifest_of(path: str = "train.manifest.json") -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "options",
    [
        "--gold own.jsonl",
        "--gold gold.csv --agent own.jsonl",
        "--gold gold.csv --curated own.jsonl",
        "--gold gold.csv --dev own.jsonl",
        "--gold gold.csv --test ./own.jsonl",
    ],
)
def test_inputs_are_not_overwritten(app: App, options: str) -> None:
    Path("own.jsonl").write_text(json.dumps(row(11)) + "\n")
    line = f"/finetune dataset {options} --force save to own.jsonl"
    assert_refuses(app, line, "own.jsonl: is also an input. Save to another file.")


def test_a_data_set_is_saved_with_its_manifest(app: App) -> None:
    outcome = app.dispatch(f"{LINE} save to train.jsonl")
    assert outcome.saved == (Path("train.jsonl"), Path("train.manifest.json"))
    saved = [json.loads(line) for line in Path("train.jsonl").read_text().splitlines()]
    assert [each["source"] for each in saved] == ["gold"] * 5 + ["agent"] * 5
    made = manifest_of()
    assert made["rows"] == 10
    assert made["sha256"] == hashlib.sha256(Path("train.jsonl").read_bytes()).hexdigest()
    assert made["inputs"] == [
        {
            "role": role,
            "path": f"{role}.csv",
            "sha256": hashlib.sha256(Path(f"{role}.csv").read_bytes()).hexdigest(),
        }
        for role in ("gold", "agent")
    ]
    assert made["framework"]["digest"] == nanda().digest
    assert made["options"] == {
        "curated_only": False,
        "max_similarity": 0.6,
        "weights": {"gold": 1.0, "curated": 0.75, "agent": 0.5},
        "rare_weight": 1.0,
    }
    assert made["counts"]["agent"] == {
        "read": 8,
        "rejected": 1,
        "repeated": 0,
        "excluded": 0,
        "overridden": 2,
        "not_curated": 0,
        "near_duplicate": 0,
        "written": 5,
    }
    [wrong] = made["left_out"]
    assert (wrong["where"], wrong["reason"]) == ("agent.csv, line 9", "claim is empty")


def test_same_command_writes_and_replaces_the_same_files(app: App) -> None:
    def saved() -> list[bytes]:
        app.dispatch(f"{LINE} save to train.jsonl")
        return [Path(name).read_bytes() for name in ("train.jsonl", "train.manifest.json")]

    assert saved() == saved()


def test_a_manifest_of_others_is_refused_before_the_work(app: App) -> None:
    Path("train.manifest.json").write_text("{}")
    assert_refuses(app, f"{LINE} save to train.jsonl", "train.manifest.json: exists", code=4)
    app.dispatch(f"{LINE} --force save to train.jsonl")
    assert manifest_of()["rows"] == 10


def test_left_out_rows_are_reported(app: App) -> None:
    table(Path("dev.csv"), [{"arxiv_id": "2499.00001", "abstract": abstract(9)}])
    app.dispatch(f"{LINE} --dev dev.csv --test 2401.00001,no-such-id save to train.jsonl")
    lines = messages_of(app).splitlines()
    assert "agent.csv, line 9: claim is empty" in lines
    assert "1 row is rejected; the manifest lists them" in lines
    assert (
        "agent.csv, line 8: its abstract is that of a paper kept for dev"
        " (2499.00001, dev.csv, line 2)" in lines
    )
    assert "2 rows are held out of training; the manifest lists them" in lines
    assert "--test: no row has the id no-such-id" in lines
    assert "Papers held out of training: 1 for dev, 2 for test." in lines
    made = manifest_of()
    assert made["held_out"] == [
        {"split": "dev", "path": "dev.csv", "papers": 1},
        {"split": "test", "path": None, "papers": 2},
    ]
    assert made["rows"] == 8


def test_only_the_first_left_out_rows_are_named(app: App) -> None:
    table(Path("wrong.csv"), [row(0), *(row(n, scope="") for n in range(1, 9))])
    app.dispatch("/finetune dataset --gold wrong.csv save to train.jsonl")
    assert messages_of(app).count("scope is empty") == 5
    assert "8 rows are rejected, 5 of them shown here; the manifest lists them" in messages_of(app)
    assert len(manifest_of()["left_out"]) == 8


def test_overridden_rows_are_counted_but_not_listed(app: App) -> None:
    table(Path("curated.csv"), [row(3, "curated"), row(4, "curated", abstract=abstract(77))])
    app.dispatch(f"{LINE} --curated curated.csv --curated-only save to train.jsonl")
    made = manifest_of()
    assert [each["reason"] for each in made["left_out"]] == [
        "gold has the paper with another abstract",
        "claim is empty",
    ]
    assert made["counts"]["agent"]["not_curated"] == 5
    assert made["options"]["curated_only"] is True


def test_without_a_target_a_summary_is_printed(app: App) -> None:
    outcome = app.dispatch(LINE)
    check_output(Finetune(), "dataset", outcome.result)
    first, *_ = outcome.result.text.splitlines()
    assert first == "10 rows"
    assert "the data set is not saved" in messages_of(app)
    as_json = json.loads(app.dispatch(f"{LINE} --json").result.as_json())
    assert as_json["rows"] == 10
    assert sorted(path.name for path in Path().iterdir() if path.is_file()) == [
        "agent.csv",
        "gold.csv",
    ]


def test_weights_can_be_chosen(app: App) -> None:
    app.dispatch(f"{LINE} --agent-weight 0.25 save to train.jsonl")
    saved = [json.loads(line) for line in Path("train.jsonl").read_text().splitlines()]
    assert {each["source"]: each["weight"] for each in saved} == {"gold": 1.0, "agent": 0.25}


def test_rare_moves_are_reported_with_their_weight(app: App) -> None:
    table(Path("gold.csv"), [*rows(range(3)), row(3, limitation="It is slow.")])
    result = app.dispatch("/finetune dataset --gold gold.csv --rare-weight 3").result
    assert "state a rare move have 3 times the weight: limitation (1 of 4)." in result.text
    assert "what few do" not in app.dispatch("/finetune dataset --gold gold.csv").result.text


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("/finetune", InputError, "no run was started here"),
        ("/finetune datasets", UsageError, "/finetune has no subcommand 'datasets'"),
        ("/finetune dataset gold.csv", UsageError, "does not accept text: 'gold.csv'"),
        ("/finetune dataset", InputError, "there are no annotations"),
        (f"{LINE} --curated-only", InputError, "--curated-only requires curated annotations"),
        (f"{LINE} --rare-weight 0", UsageError, "--rare-weight: '0' should be greater than 0"),
        (f"{LINE} --agent-weight 0", UsageError, "--agent-weight: '0' should be greater than 0"),
        (f"{LINE} --max-similarity 0.2", UsageError, "--max-similarity: '0.2' should be greater"),
        (f"{LINE} --tokenizer none.json", InputError, "none.json: there is no such file"),
        (f"{LINE} --tokenizer gold.csv", InputError, "gold.csv: the tokenizer cannot be read"),
        (f"{LINE} --dev none.csv", InputError, "none.csv: there is no such file"),
        (f"{LINE} save to train.csv", UsageError, "/finetune cannot save to the suffix .csv"),
    ],
)
def test_lines_that_are_refused(
    app: App, line: str, error: type[HarnessError], message: str
) -> None:
    assert isinstance(assert_refuses(app, line, message), error)


def byte_level_tokenizer(folder: Path) -> Path:
    """A tokenizer.json that joins "t", "h", "e" and nothing else."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in visible]
    signs = [*map(chr, visible), *(chr(256 + number) for number in range(len(others)))]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    level["use_regex"] = True
    end = {"id": 0, "content": "<|end|>", "special": True, "normalized": False}
    end |= {"single_word": False, "lstrip": False, "rstrip": False}
    tokens = ["<|end|>", *signs, "th", "the"]
    made = {
        "version": "1.0",
        "added_tokens": [end],
        "pre_tokenizer": level,
        "decoder": level,
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": ["t h", "th e"],
        },
    }
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    return path


@pytest.mark.parametrize("as_folder", [False, True])
def test_tokens_are_counted_by_a_tokenizer_file(app: App, tmp_path: Path, as_folder: bool) -> None:
    path = byte_level_tokenizer(tmp_path)
    given = tmp_path if as_folder else path
    app.dispatch(f'{LINE} --tokenizer "{given}" save to train.jsonl')
    tokens = manifest_of()["tokens"]
    assert tokens["tokenizer"] == {
        "name": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "counts": "the texts alone, without a chat template",
    }
    with open_counter(path, app.pool.registry, tmp_path) as counter:
        example = {"system": "the", "prompt": "the é", "completion": "the\nthe"}
        assert counter.count(*texts_of(example)) == (1 + 4, 3)


def test_token_counts_are_estimated_without_a_tokenizer(app: App) -> None:
    app.dispatch(f"{LINE} save to train.jsonl")
    tokens = manifest_of()["tokens"]
    assert tokens["tokenizer"]["name"] == "estimate: 3 bytes a token"
    assert "no tokenizer is available" in messages_of(app)
    example = json.loads(Path("train.jsonl").read_text().splitlines()[0])
    system, prompt = (-(-len(example[part].encode()) // 3) for part in ("system", "prompt"))
    with open_counter(None, app.pool.registry, app.settings.cache_dir) as counter:
        assert counter.count(*texts_of(example))[0] == system + prompt


def test_histogram_of_row_lengths() -> None:
    pairs = [(length, 1) for length in (0, *range(1, 100), 300)]
    made = histogram("words", None, "words", pairs)
    assert made["prompt"] == {
        "p50": 50,
        "p95": 95,
        "max": 300,
        "sum": 4950 + 300,
        "bin_width": 128,
        "bins": [100, 0, 1],
    }
    assert made["completion"]["bins"] == [101]
    assert made["total"]["max"] == 301
    single = histogram("words", None, "words", pairs[5:6])
    assert (single["prompt"]["p50"], single["prompt"]["p95"]) == (5, 5)


@pytest.mark.model
def test_the_embedded_model_counts_what_it_would_be_sent(
    model_files: FileStore, embedded: Model, tmp_path: Path
) -> None:
    [example] = build_dataset(table(tmp_path / "gold.csv", [row(0)]), None).examples()
    configured = settings.from_environment()
    shipped = registry.load(configured.shipped_registry)
    with open_counter(None, shipped, configured.cache_dir) as counter:
        assert counter.counts == RENDERED
        prompt, completion = counter.count(*texts_of(example))
        longer = counter.count(*texts_of({**example, "completion": example["completion"] + " end"}))
    messages = Message("system", example["system"]), Message("user", example["prompt"])
    assert prompt == embedded.count_tokens(Request(messages))
    assert counter.sha256 == model_files.digest("smollm2-135m-instruct")
    assert longer == (prompt, completion + 1)
    said_alone = Message("user", example["completion"]), Message("user", "")
    text, nothing = (embedded.count_tokens(Request((message,))) or 0 for message in said_alone)
    assert completion == text - nothing


def test_nothing_is_fetched_for_counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object) -> Path:
        raise AssertionError("a wheel was fetched")

    monkeypatch.setattr("harness.models.downloads.download_wheel", fetch)
    notices: list[str] = []
    shipped = registry.load(settings.from_environment().shipped_registry)
    with open_counter(None, shipped, tmp_path / "cache", notices.append) as counter:
        assert counter.name == "estimate: 3 bytes a token"
    assert [line.partition(",")[0] for line in notices] == ["no tokenizer is available"]


def test_python_m_does_the_same(app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CACHE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"HARNESS_{name}", str(tmp_path / name))
    Path("gold.csv").rename("my gold's.csv")
    Path("agent.csv").rename('the "agent".csv')
    words = ["--gold", "my gold's.csv", '--agent=the "agent".csv', "--agent-weight", "0.25"]
    assert main([*words, "--out", "train.jsonl"]) == 0
    tables = """--gold "my gold's.csv" --agent 'the "agent".csv'"""
    app.dispatch(f"/finetune dataset {tables} --agent-weight 0.25 save to own.jsonl")
    assert Path("train.jsonl").read_bytes() == Path("own.jsonl").read_bytes()
    assert manifest_of()["sha256"] == manifest_of("own.manifest.json")["sha256"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gold", "gold.csv"], "no output file is given"),
        (["--gold", "gold.csv", "--out"], "-o needs a value"),
        (["--gold", "none.csv", "--out", "train.jsonl"], "none.csv: there is no such file"),
        (["--gold", "a\"b'c.csv", "--out=train.jsonl"], "a\"b'c.csv: there is no such file"),
        (["--golden", "gold.csv", "-o", "train.jsonl"], "has no option --golden"),
    ],
)
def test_python_m_has_the_exit_codes_of_the_harness(
    app: App,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    for name in ("CACHE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"HARNESS_{name}", str(tmp_path / name))
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_python_m_prints_its_options(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--curated-only" in capsys.readouterr().out
