"""A run of /finetune: which stages are done, which are not done again, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from finetune_artifacts import work_in

from harness.errors import HarnessError, InputError, UsageError
from harness.testing import assert_refuses, fake_app
from skills.finetune.run import stages
from skills.finetune.run.run_dir import Done
from skills.finetune.run.stage import Stage, StageContext


def test_a_stage_is_done_once_and_again_when_inputs_or_files_have_changed(tmp_path: Path) -> None:
    context = work_in(tmp_path, base=tmp_path)
    made, given = [], {"rows": 1}

    def perform(context: StageContext) -> Done:
        made.append(dict(given))
        context.run_dir.f16.write_text(str(given))
        return Done([context.run_dir.f16])

    stage = Stage("gguf", "write it", lambda _: dict(given), perform)
    stages.perform(context, stage)
    stages.perform(context, stage)
    assert len(made) == 1
    given["rows"] = 2
    stages.perform(context, stage)
    assert len(made) == 2
    context.run_dir.f16.write_text("somebody else's")
    stages.perform(context, stage)
    assert len(made) == 3


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        ("/finetune", UsageError, "needs a training set or a subcommand"),
        ("/finetune trian", UsageError, "has no subcommand 'trian', and there is no such folder"),
        ("/finetune merge there", InputError, "no run was begun here"),
        ("/finetune plan t.jsonl --preset none", UsageError, "there is no preset 'none'"),
        ("/finetune plan t.jsonl --set x", UsageError, "is not NAME=VALUE"),
        ("/finetune plan t.jsonl --set trainin.seed=1", UsageError, "no recipe has the setting"),
        ("/finetune plan t.jsonl --set base.seed=1", UsageError, "no recipe has the setting"),
        ("/finetune plan t.jsonl --set training.sed=1", UsageError, "There are epochs, batch"),
        ("/finetune plan t.jsonl --set training.seed=x", UsageError, "should be a valid integer"),
        ("/finetune merge there --resume", UsageError, "--resume does not apply to merge"),
        ("/finetune merge there save to a.jsonl", UsageError, "keeps what it makes in a folder"),
    ],
)
def test_lines_that_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, error: type[HarnessError], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert isinstance(assert_refuses(fake_app(tmp_path), line, said), error)


def test_a_training_that_has_not_ended_is_not_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.jsonl").write_text("{}\n")
    (tmp_path / "ft" / "checkpoint-3").mkdir(parents=True)
    line = "/finetune t.jsonl --out ft"
    assert_refuses(fake_app(tmp_path), line, "has not ended (checkpoint-3)", "--resume")
