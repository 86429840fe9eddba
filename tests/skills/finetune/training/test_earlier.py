"""An earlier training in a folder is resumed, moved aside or refused, never lost."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest
from finetune_artifacts import work_in

from harness.errors import InputError, UsageError
from harness.testing import fake_app
from skills.finetune.run_folder import StageContext
from skills.finetune.training import checkpoints

LEFT = {
    "checkpoint-2/adapter_model.safetensors": "two",
    "checkpoint-10/adapter_model.safetensors": "ten",
    "adapter/adapter_model.safetensors": "kept",
    "metrics.jsonl": "{}",
    "run.json": "{}",
    "loss.png": "drawn",
}


def left_in(folder: Path) -> None:
    for name, text in LEFT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    """A run with a finished training in its folder."""
    context = work_in(tmp_path, base=tmp_path, resume=False, checkpoint=None)
    left_in(context.run_dir.folder)
    context.run_dir.record("train", {"rows": 1}, [context.run_dir.adapter])
    return context


def messages_of(context: StageContext) -> str:
    assert isinstance(context.call.screen.err, io.StringIO)
    return context.call.screen.err.getvalue()


def test_force_moves_the_earlier_training_aside(context: StageContext) -> None:
    context.call.force = True
    checkpoints.make_room(context, done=False)
    folder = context.run_dir.folder
    for name, text in LEFT.items():
        assert not (folder / name).exists()
        assert (folder / "earlier-1" / name).read_text() == text
    assert context.run_dir.entry("train") is None, "nothing is trained here now"
    assert "(checkpoint-2 to checkpoint-10) was moved to" in messages_of(context)
    assert "earlier-1; delete it if you do not need it" in messages_of(context)
    left_in(folder)
    checkpoints.make_room(context, done=False)
    assert (folder / "earlier-1" / "run.json").exists()
    assert (folder / "earlier-2" / "run.json").exists()


def test_adapter_without_checkpoints_is_not_overwritten(
    context: StageContext,
) -> None:
    for checkpoint in context.run_dir.folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    with pytest.raises(UsageError, match=r"other rows or settings here \(adapter\)"):
        checkpoints.make_room(context, done=False)
    context.call.force = True
    checkpoints.make_room(context, done=False)
    moved = context.run_dir.folder / "earlier-1" / "adapter" / "adapter_model.safetensors"
    assert moved.read_text() == "kept"
    assert "(adapter) was moved to" in messages_of(context)


def test_force_moves_nothing_if_training_is_done(context: StageContext) -> None:
    """--force also registers a shortened run under the recipe's name."""
    context.call.force = True
    checkpoints.make_room(context, done=True)
    checkpoints.check_earlier(context)
    assert all((context.run_dir.folder / name).exists() for name in LEFT)


@pytest.mark.parametrize("options", [{"resume": True}, {"checkpoint": Path("checkpoint-2")}])
def test_resume_moves_nothing_even_with_force(
    context: StageContext, options: dict[str, object]
) -> None:
    context.call.force = True
    vars(context.call.options).update(options)
    context.run_dir.forget("train")
    checkpoints.make_room(context, done=False)
    assert all((context.run_dir.folder / name).exists() for name in LEFT)


def test_earlier_training_is_refused_without_force(context: StageContext) -> None:
    checkpoints.check_earlier(context)
    with pytest.raises(UsageError, match=r"other rows or settings here \(checkpoint-10\)"):
        checkpoints.make_room(context, done=False)
    context.run_dir.forget("train")
    for refused in (
        checkpoints.check_earlier,
        lambda context: checkpoints.make_room(context, done=False),
    ):
        with pytest.raises(
            UsageError, match=r"unfinished training here \(checkpoint-10\)"
        ) as caught:
            refused(context)
        assert "--force starts again and moves it to out/earlier-1" in str(caught.value)
    assert all((context.run_dir.folder / name).exists() for name in LEFT)


@pytest.mark.parametrize("line", ["/finetune new.jsonl --out ft", "/finetune train ft --epochs 1"])
def test_refused_command_does_not_change_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("new.jsonl").write_text("{}\n")
    context = work_in(tmp_path, base=tmp_path)
    left_in(tmp_path / "ft")
    before = {"recipe": context.recipe.model_dump(mode="json"), "data": "old.jsonl", "dev": None}
    out = type(context.run_dir).of(Path("ft"), context.recipe)
    out.remember(before)
    with pytest.raises(UsageError, match="unfinished training"):
        fake_app(tmp_path).dispatch(line)
    assert out.run == before


@pytest.mark.parametrize("line", ["/finetune out", "/finetune train out"])
def test_missing_checkpoint_is_refused_after_training(
    context: StageContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    context.run_dir.remember({"recipe": context.recipe.model_dump(mode="json")})
    with pytest.raises(InputError, match="does not exist"):
        fake_app(tmp_path).dispatch(f"{line} --checkpoint out/checkpoint-9")


@pytest.mark.parametrize(
    ("line", "within"),
    [
        ("/finetune new.jsonl --out ft", "skills.finetune.pipeline.check"),
        ("/finetune train ft", "skills.finetune.training.checkpoints.check_earlier"),
        ("/finetune prepare ft", "skills.finetune.tokenization.prepare.require"),
        ("/finetune merge ft", "skills.finetune.export.merge.require"),
    ],
)
def test_same_command_is_refused_while_the_first_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, within: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("new.jsonl").write_text("{}\n")
    context = work_in(tmp_path, base=tmp_path)
    out = type(context.run_dir).of(Path("ft"), context.recipe)
    if "--out" not in line:
        out.make()
        out.remember({"recipe": context.recipe.model_dump(mode="json"), "data": None, "dev": None})
    lines = iter((line,))

    def again(*_: object) -> None:
        for second in lines:
            before = list(Path("ft").rglob("*"))
            with pytest.raises(UsageError) as caught:
                fake_app(tmp_path).dispatch(second)
            folder = Path("ft").resolve()
            assert f"{folder} is locked by process {os.getpid()}" in str(caught.value)
            assert list(Path("ft").rglob("*")) == before
        raise InputError("that is enough")

    monkeypatch.setattr(within, again)
    for _ in range(2):  # the folder is free again when the line has ended, even by an error
        with pytest.raises(InputError, match="that is enough"):
            fake_app(tmp_path).dispatch(line)
