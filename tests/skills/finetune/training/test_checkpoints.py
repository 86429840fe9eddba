"""Checkpoints, the settings of a resumed run, and earlier training in its folder."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from finetune_artifacts import work_in

from harness.errors import InputError, OutputError, UsageError
from harness.testing import fake_app
from skills.finetune.run_folder import StageContext
from skills.finetune.training import checkpoints

GUARD = {"training.learning_rate": 2e-4, "base_digest": "a" * 64, "training.seed": 42}


def saved(folder: Path, step: int, best: tuple[int, float] | None = None) -> Path:
    """A sealed checkpoint, with files as the trainer writes them."""
    staged = folder / checkpoints.STAGING / f"checkpoint-{step}"
    staged.mkdir(parents=True)
    (staged / "adapter_model.safetensors").write_bytes(bytes([step % 256]) * 100)
    (staged / "adapter_config.json").write_text('{"base_model_name_or_path": "/a/path", "r": 4}')
    (staged / "optimizer.pt").write_bytes(b"moments" * step)
    (staged / "training_args.bin").write_bytes(b"pickled")
    (staged / "README.md").write_text("a card")
    state = {"global_step": step, "best_model_checkpoint": "/a/path"}
    if best is not None:
        state |= {"best_global_step": best[0], "best_metric": best[1]}
    (staged / "trainer_state.json").write_text(json.dumps(state))
    return checkpoints.seal(staged, folder, step, GUARD, "smollm2")


def test_sealed_checkpoint_is_valid_and_contains_no_local_path(tmp_path: Path) -> None:
    path = saved(tmp_path, 20, best=(20, 1.5))
    assert path == tmp_path / "checkpoint-20"
    assert checkpoints.damage_of(path) is None
    found = checkpoints.load(path, tmp_path)
    assert (found.step, found.guard, found.best) == (20, GUARD, (20, 1.5))
    assert "/a/path" not in "".join(file.read_text() for file in path.glob("*.json"))
    assert json.loads((path / "adapter_config.json").read_text())["r"] == 4
    assert not {"README.md", "training_args.bin"} & {file.name for file in path.iterdir()}


def _cut(path: Path) -> None:
    file = path / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:-1])


def _flipped(path: Path) -> None:
    file = path / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")


def _unsealed(path: Path) -> None:
    (path / checkpoints.SEAL).unlink()


def _lost(path: Path) -> None:
    (path / "trainer_state.json").unlink()


def _garbled(path: Path) -> None:
    (path / checkpoints.SEAL).write_text('{"format": 1')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "optimizer.pt was changed"),
        (_flipped, "adapter_model.safetensors was changed"),
        (_unsealed, "was not completely saved"),
        (_lost, "trainer_state.json is missing"),
        (_garbled, "cannot be read"),
    ],
)
def test_damaged_newest_checkpoint_is_skipped_with_a_notice(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    older, newest = saved(tmp_path, 9), saved(tmp_path, 100)
    notices: list[str] = []
    assert checkpoints.newest_valid(tmp_path, notices.append) == newest
    assert notices == []
    damage(newest)
    assert checkpoints.newest_valid(tmp_path, notices.append) == older
    assert len(notices) == 1
    assert notices[0].startswith("checkpoint-100 is skipped: ")
    assert message in notices[0]
    with pytest.raises(InputError, match="is damaged") as caught:
        checkpoints.to_resume(tmp_path, newest, notices.append)
    assert caught.value.hint == "Valid are checkpoint-9."


def test_renamed_checkpoint_is_damaged(tmp_path: Path) -> None:
    saved(tmp_path, 20).rename(tmp_path / "checkpoint-40")
    assert checkpoints.damage_of(tmp_path / "checkpoint-40") == "it belongs to step 20"


def test_without_checkpoints_training_starts_at_step_0(tmp_path: Path) -> None:
    notices: list[str] = []
    assert checkpoints.to_resume(tmp_path, True, notices.append) is None
    assert "starts at step 0" in notices[0]
    assert checkpoints.to_resume(tmp_path, None, notices.append) is None
    assert len(notices) == 1


def test_new_run_does_not_overwrite_checkpoints(tmp_path: Path) -> None:
    saved(tmp_path, 20)
    for resume in (None, False):
        with pytest.raises(InputError, match="checkpoint-20 of an earlier run") as caught:
            checkpoints.to_resume(tmp_path, resume, print)
        assert "--resume" in str(caught.value.hint)


def test_a_checkpoint_of_another_folder_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "one", 20)
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="not a checkpoint of the run"):
        checkpoints.to_resume(tmp_path / "other", path, print)
    with pytest.raises(InputError, match="does not exist"):
        checkpoints.to_resume(tmp_path / "one", tmp_path / "one" / "checkpoint-7", print)


def test_rotation_keeps_the_best_checkpoint(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40):
        saved(tmp_path, step, best=(10, 1.0))
    checkpoints.rotate(tmp_path, 40, None, 10)
    assert len(list(tmp_path.glob("checkpoint-*"))) == 4
    checkpoints.rotate(tmp_path, 40, 1, 10)
    left = {path.name for path in tmp_path.glob("checkpoint-*")}
    assert left == {"checkpoint-10", "checkpoint-40"}
    assert checkpoints.best(tmp_path, 40, print).step == 10


@pytest.mark.parametrize("damaged", [True, False])
def test_rotation_ignores_checkpoints_of_later_steps(tmp_path: Path, damaged: bool) -> None:
    """The run was resumed from 300: 400 is damaged, or another checkpoint was named."""
    for step in (200, 300, 400):
        saved(tmp_path, step)
    if damaged:
        _cut(tmp_path / "checkpoint-400")
    saved(tmp_path, 350)
    checkpoints.rotate(tmp_path, 350, 1, None)
    assert checkpoints.steps(tmp_path) == [350, 400]
    assert checkpoints.damage_of(tmp_path / "checkpoint-350") is None


def test_newest_checkpoint_replaces_a_damaged_best_one(tmp_path: Path) -> None:
    best = saved(tmp_path, 10, best=(10, 1.0))
    saved(tmp_path, 20, best=(10, 1.0))
    _cut(best)
    notices: list[str] = []
    assert checkpoints.best(tmp_path, 20, notices.append).step == 20
    assert "checkpoint-10, the best checkpoint, is damaged, so checkpoint-20 is used" in notices[0]


def test_sealing_a_step_again_replaces_its_checkpoint(tmp_path: Path) -> None:
    path = saved(tmp_path, 20)
    _cut(path)
    assert checkpoints.damage_of(saved(tmp_path, 20)) is None


def test_checkpoint_that_cannot_be_sealed_is_not_renamed(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="checkpoint-5 was not written"):
        checkpoints.seal(tmp_path / "absent", tmp_path, 5, GUARD, "smollm2")
    assert not (tmp_path / "checkpoint-5").exists()


def test_changed_setting_is_refused_with_both_values() -> None:
    checkpoints.check_guard(GUARD, dict(GUARD), "checkpoint-20")
    earlier = {**GUARD, "training.checkpointing": False}  # earlier versions compared this, too
    checkpoints.check_guard(earlier, dict(GUARD), "checkpoint-20")
    now = {**GUARD, "training.learning_rate": 1e-4, "base_digest": "b" * 64, "new": 1}
    with pytest.raises(InputError) as caught:
        checkpoints.check_guard(GUARD, now, "checkpoint-20")
    assert caught.value.where == "checkpoint-20"
    assert caught.value.message == (
        "the run was started with other settings: "
        "base_digest was aaaaaaaaaaaa, is bbbbbbbbbbbb; "
        "new was unknown, is 1; "
        "training.learning_rate was 0.0002, is 0.0001"
    )


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
