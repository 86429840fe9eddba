"""A run of /finetune: which stages are performed, which are skipped, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from finetune_artifacts import work_in

from harness.errors import HarnessError, InputError, ModelUnavailable, UsageError
from harness.support.bounded_files import MAX_JSON_BYTES
from harness.terminal.console import Progress
from harness.testing import assert_refuses, fake_app
from skills.finetune import pipeline, plan
from skills.finetune.run_folder import MANIFEST, Entry, RunDir, StageContext


def test_a_stage_is_repeated_only_if_inputs_or_outputs_changed(tmp_path: Path) -> None:
    context = work_in(tmp_path, base=tmp_path)
    made = []

    def write(rows: int) -> Entry:
        stage = context.begin("gguf", "write it", {"rows": rows})
        if stage.unchanged is not None:
            return stage.unchanged
        made.append(rows)
        context.run_dir.f16.write_text(str(rows))
        return stage.record([context.run_dir.f16])

    assert write(1) == write(1)
    assert made == [1]
    write(2)
    assert made == [1, 2]
    context.run_dir.f16.write_text("somebody else's")
    write(2)
    assert made == [1, 2, 2]


def test_the_stages_of_a_run_are_performed_in_order_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    performed = []

    def stage_named(name: str) -> Callable[[StageContext], Entry]:
        def perform(context: StageContext) -> Entry:
            performed.append(name)
            with context.call.screen.progress("writing"):
                if name == "ollama":
                    raise ModelUnavailable("no server")
            return context.begin(name, "", {}).record(facts={"default": False})

        return perform

    for name in pipeline.STAGES:
        monkeypatch.setitem(pipeline.STAGES, name, stage_named(name))
    monkeypatch.setattr(pipeline, "check", lambda context: None)
    monkeypatch.setattr(plan, "make_plan", lambda context: SimpleNamespace(refusals=()))
    monkeypatch.setattr(pipeline, "train_inputs", lambda context: {})
    reports: list[Progress] = []
    context = work_in(tmp_path, base=tmp_path, host=None, as_name=None, name=None)
    context.call.screen.on_progress = reports.append

    done = pipeline._perform_all(context)

    assert performed == [*pipeline.STAGES]
    assert [*done] == [name for name in performed if name != "ollama"]
    assert [report.message for report in reports] == [
        f"stage {number} of 9, writing" for number in range(1, 10)
    ]

    refused = SimpleNamespace(refusals=[InputError("too little memory")])
    monkeypatch.setattr(plan, "make_plan", lambda context: refused)
    other = work_in(tmp_path / "other", base=tmp_path, host=None, as_name=None, name=None)
    performed.clear()
    with pytest.raises(InputError, match="too little memory"):
        pipeline._perform_all(other)
    assert performed == ["prepare"]


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("/finetune", InputError, "no run was started here"),
        ("/finetune trian", UsageError, "has no subcommand 'trian', and there is no such folder"),
        ("/finetune merge there", InputError, "no run was started here"),
        ("/finetune plan t.jsonl --preset none", UsageError, "there is no preset 'none'"),
        ("/finetune plan t.jsonl --set x", UsageError, "is not NAME=VALUE"),
        ("/finetune plan t.jsonl --set trainin.seed=1", UsageError, "a recipe has no setting"),
        ("/finetune plan t.jsonl --set base.seed=1", UsageError, "a recipe has no setting"),
        (
            "/finetune plan t.jsonl --set training.sed=1",
            UsageError,
            "Known settings: epochs, batch",
        ),
        ("/finetune plan t.jsonl --set training.seed=x", UsageError, "should be a valid integer"),
        ("/finetune merge there --resume", UsageError, "--resume does not apply to merge"),
        ("/finetune merge there save to a.jsonl", UsageError, "writes its files into a folder"),
    ],
)
def test_refused_commands(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    error: type[HarnessError],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert isinstance(assert_refuses(fake_app(tmp_path), line, message), error)


def test_an_unfinished_training_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.jsonl").write_text("{}\n")
    (tmp_path / "ft" / "checkpoint-3").mkdir(parents=True)
    line = "/finetune t.jsonl --out ft"
    assert_refuses(fake_app(tmp_path), line, "unfinished training here (checkpoint-3)", "--resume")


def test_a_manifest_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with (tmp_path / MANIFEST).open("wb") as file:
        file.truncate(MAX_JSON_BYTES + 1)
    with pytest.raises(
        InputError, match=r"manifest\.json: cannot be read \(it has more than 32 MB"
    ):
        RunDir(tmp_path, "").entry("train")
