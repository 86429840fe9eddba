"""A run of /finetune: which stages are performed, which are skipped, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from finetune_artifacts import work_in

from harness.errors import HarnessError, InputError, UsageError
from harness.terminal.console import Progress
from harness.testing import assert_refuses, fake_app
from skills.finetune import run_folder as stages
from skills.finetune.run_folder import Done, Stage, StageContext, perform


def test_a_stage_is_repeated_only_if_inputs_or_outputs_changed(tmp_path: Path) -> None:
    context = work_in(tmp_path, base=tmp_path)
    made, given = [], {"rows": 1}

    def write(context: StageContext) -> Done:
        made.append(dict(given))
        context.run_dir.f16.write_text(str(given))
        return Done([context.run_dir.f16])

    stage = Stage("gguf", "write it", lambda _: dict(given), write)
    perform(context, stage)
    perform(context, stage)
    assert len(made) == 1
    given["rows"] = 2
    perform(context, stage)
    assert len(made) == 2
    context.run_dir.f16.write_text("somebody else's")
    perform(context, stage)
    assert len(made) == 3


def test_stages_of_a_run_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def show(context: StageContext) -> Done:
        with context.call.screen.progress("writing"):
            return Done([])

    monkeypatch.setattr(stages, "stage_named", lambda name: Stage(name, "", lambda _: {}, show))
    reports: list[Progress] = []
    context = work_in(tmp_path, base=tmp_path)
    context.call.screen.on_progress = reports.append
    assert [name for name, _ in stages.perform_all(context, ("train", "register"))] == [
        "train",
        "register",
    ]
    assert [report.message for report in reports] == [
        "stage 2 of 9, writing",
        "stage 8 of 9, writing",
    ]


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
