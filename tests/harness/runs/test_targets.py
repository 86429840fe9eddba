"""Targets are checked before the work and written atomically."""

import dataclasses
import io
import json
import os
import resource
from pathlib import Path
from typing import IO, ClassVar

import pytest
from killing import assert_killed, kill
from pydantic import Field

from harness import (
    Call,
    Interrupted,
    OutputError,
    Result,
    Skill,
    SkillFailed,
    SkillOptions,
    UsageError,
)
from harness.runs import targets
from harness.runs.frontend import Frontend, show
from harness.runs.invocation import parse, render_line
from harness.runs.run_log import Run
from harness.support.bounded_files import file_sha256
from harness.testing import fake_app


class Copy(Skill):
    name = "copy"
    summary = "saves its text"
    saves = (".txt", ".md")
    runs = 0

    def run(self, call: Call) -> Result:
        type(self).runs += 1
        renderers = {".txt": lambda: call.text, ".md": lambda: f"# {call.text}"}
        return Result(call.text, {"copied": call.text}, renderers)


def text(content):
    return lambda file: file.write(content.encode())


@pytest.fixture
def app(tmp_path):
    Copy.runs = 0
    return fake_app(tmp_path, None, Copy())


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.csl.json", ".csl.json"),
        ("a.CSL.JSON", ".csl.json"),
        ("a.json", ".json"),
        ("csl.json", ".json"),
        (".csl.json", ".json"),
        (".json", ""),
        ("a.csl", ""),
        ("json", ""),
    ],
)
def test_the_longest_suffix_of_a_target(name, suffix):
    assert targets.suffix_of(Path("folder") / name, (".json", ".csl.json", ".md")) == suffix


def test_a_skill_with_a_suffix_that_ends_in_another(tmp_path):
    class Twice(Copy):
        saves = (".json", ".csl.json")

        def run(self, call: Call) -> Result:
            return Result(renderers={".json": lambda: "plain", ".csl.json": lambda: "csl"})

    app = fake_app(tmp_path, None, Twice())
    app.dispatch(f"/copy x save to {tmp_path}/a.csl.json -o {tmp_path}/a.json")
    saved = {path.name: path.read_text() for path in tmp_path.glob("a.*")}
    assert saved == {"a.csl.json": "csl", "a.json": "plain"}


def test_a_result_is_saved_and_not_shown(app, tmp_path):
    target = tmp_path / "a b.txt"
    outcome = app.dispatch(f'/copy What\'s "this" save to "{target}"')
    assert target.read_text() == 'What\'s "this"'
    assert outcome.saved == (target,)
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert not list(tmp_path.glob(".*tmp"))


def test_a_run_may_have_two_targets(app, tmp_path):
    app.dispatch(f"/copy x save to {tmp_path}/a.txt -o {tmp_path}/a.md")
    assert (tmp_path / "a.txt").read_text() == "x"
    assert (tmp_path / "a.md").read_text() == "# x"
    assert Copy.runs == 1


@pytest.mark.parametrize(
    ("target", "error", "code", "message"),
    [
        ("a.docx", UsageError, 2, r"the suffix \.docx.*The skill saves \.txt, \.md"),
        ("a", UsageError, 2, "without a suffix"),
        ("nosuch/a.txt", OutputError, 4, "no folder"),
        ("folder.txt", OutputError, 4, "is a folder"),
        ("old.txt", OutputError, 4, "exists already.*--force"),
        ("a" * 300 + ".txt", OutputError, 4, "too long"),
        ("loop.txt", OutputError, 4, "[Ll]oop"),
    ],
)
def test_unwritable_targets_are_refused_before_the_work(
    app, tmp_path, target, error, code, message
):
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    (tmp_path / "old.txt").write_text("old")
    with pytest.raises(error, match=message) as caught:
        app.dispatch(f"/copy x save to {tmp_path / target}")
    assert caught.value.exit_code == code
    assert Copy.runs == 0
    assert (tmp_path / "old.txt").read_text() == "old"


def test_a_read_only_folder_is_refused_before_the_work(app, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # since root may write anywhere
    with pytest.raises(OutputError, match="not writable"):
        app.dispatch(f"/copy x save to {tmp_path}/a.txt")
    assert Copy.runs == 0


def test_force_overwrites(app, tmp_path):
    (tmp_path / "old.txt").write_text("old")
    app.dispatch(f"/copy x --force save to {tmp_path}/old.txt")
    assert (tmp_path / "old.txt").read_text() == "x"


def test_only_the_same_job_replaces_its_file(app, tmp_path):
    line = f"/copy x save to {tmp_path}/a.txt"
    app.dispatch(line)
    app.dispatch(line)
    assert Copy.runs == 2
    with pytest.raises(OutputError, match="exists"):
        app.dispatch(f"/copy y save to {tmp_path}/a.txt")
    (tmp_path / "a.txt").write_text("edited by hand")
    with pytest.raises(OutputError, match="exists"):
        app.dispatch(line)
    assert (tmp_path / "a.txt").read_text() == "edited by hand"


def test_another_stdin_is_another_job(tmp_path):
    target = tmp_path / "a.txt"
    for text in (b"one", b"one"):
        app = fake_app(tmp_path, None, Copy(), door=Frontend("test", stdin=io.BytesIO(text)))
        app.dispatch(f"/copy - save to {target}")
    app = fake_app(tmp_path, None, Copy(), door=Frontend("test", stdin=io.BytesIO(b"two")))
    with pytest.raises(OutputError, match="exists"):
        app.dispatch(f"/copy - save to {target}")
    assert target.read_text() == "one"


def test_another_working_folder_is_another_job(tmp_path):
    target = tmp_path / "a.txt"
    fake_app(tmp_path, None, Copy()).dispatch(f"/copy x.md save to {target}")
    app = fake_app(tmp_path, None, Copy())
    app.settings = dataclasses.replace(app.settings, project_dir=tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="exists"):
        app.dispatch(f"/copy x.md save to {target}")


@pytest.mark.parametrize("answer", [True, False])
def test_a_session_asks_before_it_overwrites(tmp_path, answer):
    asked = []
    door = Frontend("repl", confirm=lambda question: asked.append(question) or answer)
    app = fake_app(tmp_path, None, Copy(), door=door)
    target = tmp_path / "old.txt"
    target.write_text("old")
    if answer:
        app.dispatch(f"/copy x save to {target}")
    else:
        with pytest.raises(OutputError):
            app.dispatch(f"/copy x save to {target}")
    assert target.read_text() == ("x" if answer else "old")
    assert len(asked) == 1


def test_a_skill_without_formats_refuses_targets(app, tmp_path):
    with pytest.raises(UsageError, match="nothing to save"):
        app.dispatch(f"/skills save to {tmp_path}/a.txt")


def test_a_full_disk_keeps_the_old_file_and_shows_the_result(app, tmp_path, monkeypatch):
    target = tmp_path / "old.txt"
    target.write_text("old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left") as caught:
        app.dispatch(f"/copy precious --force save to {target}")
    assert caught.value.exit_code == 4
    assert target.read_text() == "old"
    assert app.screen.out.getvalue() == "precious\n"
    assert sorted(p.name for p in tmp_path.glob("*.t*")) == ["old.txt"]
    [run] = app.run_log.recent(1)
    assert (run["status"], run["exit_code"]) == ("failed", 4)


def test_a_reader_of_the_old_file_is_not_disturbed(tmp_path):
    (tmp_path / "old.txt").write_text("old")
    with (tmp_path / "old.txt").open() as reader:
        targets.write(tmp_path / "old.txt", text("new"))
        assert reader.read() == "old"
    assert (tmp_path / "old.txt").read_text() == "new"


class Meanwhile(Skill):
    """Changes a file during the run, as another program might."""

    name = "meanwhile"
    summary = "takes its time"
    saves = (".txt",)

    def run(self, call: Call) -> Result:
        Path(call.text).write_text("somebody else's")
        return Result("precious", renderers={".txt": lambda: "precious"})


def test_a_file_that_appears_during_the_run_is_not_replaced(tmp_path):
    app = fake_app(tmp_path, None, Meanwhile())
    target = tmp_path / "a.txt"
    with pytest.raises(OutputError, match=r"a\.txt: exists already.*--force") as caught:
        app.dispatch(f"/meanwhile {target} save to {target}")
    assert caught.value.exit_code == 4
    assert target.read_text() == "somebody else's"
    assert app.screen.out.getvalue() == "precious\n"
    app.dispatch(f"/meanwhile {target} --force save to {target}")
    app.dispatch(f"/meanwhile {tmp_path / 'x'} save to {tmp_path}/b.txt")
    assert target.read_text() == (tmp_path / "b.txt").read_text() == "precious"
    assert not list(tmp_path.glob(".*tmp"))


@pytest.mark.parametrize("confirm", [None, lambda question: True], ids=["own", "asked"])
def test_a_file_that_changes_during_the_run_is_not_replaced(tmp_path, confirm):
    app = fake_app(tmp_path, None, Meanwhile(), door=Frontend("test", confirm=confirm))
    target, other = tmp_path / "a.txt", tmp_path / "b.txt"
    app.dispatch(f"/meanwhile {other} save to {target}")
    line = f"/meanwhile {target} save to {target}"
    if confirm is None:  # as if the same line had made the file
        run = Run()
        app.run_log.start(door="test", line=line, skill="meanwhile", options={}, job="", run=run)
        run.wrote(target, file_sha256(target))
        app.run_log.made = lambda *args: True
    with pytest.raises(OutputError, match="exists already"):
        app.dispatch(line)
    assert target.read_text() == "somebody else's"


@pytest.mark.parametrize("log", ["", "--no-log "])
def test_two_targets_may_be_the_same_file(app, tmp_path, log):
    (tmp_path / "link.txt").symlink_to("a.txt")
    app.dispatch(f"/copy {log}x save to {tmp_path}/a.txt -o {tmp_path}/link.txt")
    assert (tmp_path / "a.txt").read_text() == "x"


def test_a_working_folder_may_have_a_name_that_is_not_utf8(tmp_path, monkeypatch):
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    monkeypatch.chdir(folder)
    app = fake_app(folder, None, Copy())
    for _ in range(2):  # the second run may replace the file of the first
        app.dispatch("/copy x save to a.txt")
    assert Path("a.txt").read_text() == "x"
    assert not app.screen.err.getvalue()


def test_nan_becomes_null_in_json():
    data = {"scores": [0.5, float("nan"), (float("inf"), 1)], "path": Path("a")}
    shown = {"scores": [0.5, None, [None, 1]], "path": "a"}
    assert json.loads(Result(data=data).as_json(), parse_constant=pytest.fail) == shown


def test_a_recursive_result_cannot_be_written_as_json():
    data = {}
    data["itself"] = data
    with pytest.raises(SkillFailed, match="cannot be written as JSON"):
        Result(data=data).as_json()


def test_a_target_name_may_have_the_maximum_length(tmp_path):
    target = tmp_path / ("a" * 251 + ".txt")
    targets.write(target, text("new"))
    assert target.read_text() == "new"


def test_a_replaced_file_keeps_its_mode(tmp_path):
    target = tmp_path / "private.txt"
    target.write_text("old")
    target.chmod(0o600)
    targets.write(target, text("new"))
    assert target.stat().st_mode & 0o777 == 0o600


def test_an_unwritten_file_matters_more_than_a_closed_pipe(app, tmp_path, monkeypatch):
    def gone(text):
        raise BrokenPipeError

    monkeypatch.setattr(app.screen.out, "write", gone)
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OutputError, match="full"):
        app.dispatch(f"/copy x save to {tmp_path}/a.txt")


def test_a_symbolic_link_is_kept(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    targets.write(tmp_path / "link.txt", text("new"))
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_a_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "old.txt"
    target.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match="too large"):
            targets.write(target, text("x" * 100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["old.txt"]


def test_a_device_is_never_replaced(app, tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(OutputError, match="not a regular file"):
        app.dispatch(f"/copy x --force save to {tmp_path}/pipe.txt")
    assert Copy.runs == 0


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class Many(Skill):
    name = "many"
    summary = "writes what is too large for one text, and may stop early"
    text = "optional"
    saves = (".bin", ".txt")
    subcommands: ClassVar = {"export": "to a file", "page": "to many.txt"}
    target_text: ClassVar = {"export": "", "page": "many.txt"}

    class Options(SkillOptions):
        manner: ClassVar = frozenset({"workers"})
        workers: int = Field(1, description="at once")
        stop: bool = Field(False, description="stop early")
        notes: bool = Field(False, description="write notes beside it")
        broken: bool = Field(False, description="break while writing")

    def companions(self, target, options, subcommand):
        if options.notes:
            names = {"notes": f"{target.stem}_notes.log", "unwritten": "unwritten.log"}
            return {name: target.with_name(file) for name, file in names.items()}
        return {}

    def run(self, call: Call) -> Result:
        def write(file: IO[bytes]) -> None:
            file.write(b"\x00\xff")
            if call.options.broken:
                raise RuntimeError("no more")

        stopped = Interrupted("interrupted", hint="1 of 2 rows is done.")
        return Result(
            writers={".bin": write, ".txt": write},
            companions={"notes": lambda file: file.write(b"all")},
            summary={"rows": 2},
            stopped=stopped if call.options.stop else None,
        )


@pytest.fixture
def many(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return fake_app(tmp_path, None, Many())


def test_a_writer_writes_bytes(many, tmp_path):
    many.dispatch("/many save to a.bin")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff"


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("/many export b.bin", "b.bin"),
        ('/many export "b c.bin"', "b c.bin"),
        ("/many page", "many.txt"),
        ("/many page save to c.txt", "c.txt"),
    ],
)
def test_the_text_of_a_subcommand_may_be_the_target(many, tmp_path, line, made):
    assert many.dispatch(line).saved == (Path(made),)
    assert (tmp_path / made).exists()
    (tmp_path / made).write_text("somebody else's")
    with pytest.raises(OutputError, match="exists already"):
        many.dispatch(line)


def test_a_missing_target_text_is_refused(many):
    with pytest.raises(UsageError, match="needs a file to write"):
        many.dispatch("/many export")


def test_a_failing_writer_leaves_no_file(many, tmp_path):
    with pytest.raises(SkillFailed, match="no more"):
        many.dispatch("/many --broken save to a.bin")
    assert not list(tmp_path.glob("*.bin")) + list(tmp_path.glob(".*.tmp"))


def test_finished_work_is_saved_before_the_error_is_shown(many, tmp_path):
    outcome = many.dispatch("/many --stop --json save to a.bin")
    show(outcome, many.screen)
    assert (tmp_path / "a.bin").exists()
    assert outcome.result.code == 130
    assert many.screen.err.getvalue() == "Saved to a.bin\nInterrupted. 1 of 2 rows is done.\n"
    assert json.loads(many.screen.out.getvalue()) == {"rows": 2, "saved": ["a.bin"]}
    assert many.run_log.recent(1)[0]["status"] == "interrupted"


def test_options_of_manner_do_not_change_the_job(many):
    many.dispatch("/many save to a.bin")
    many.dispatch("/many --workers 4 save to a.bin")
    with pytest.raises(OutputError, match="exists already"):
        many.dispatch("/many --stop save to a.bin")


def test_a_job_killed_before_the_rename_may_replace_its_file(many):
    many.dispatch("/many save to a.bin")
    last = many.run_log.recent(1)[0]["id"]
    Run(many.run_log, last).wrote(Path("a.bin"), "0" * 64)  # the job was killed after this
    many.dispatch("/many save to a.bin")


def test_a_job_killed_after_the_rename_may_replace_its_file(many, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("harness.runs.targets._sync_folder", lambda folder: kill())
        assert_killed(lambda: many.dispatch("/many save to a.bin"))
    assert Path("a.bin").exists()
    many.dispatch("/many save to a.bin")


def test_companions_are_written_beside_every_target(many, tmp_path):
    (tmp_path / "sub").mkdir()
    outcome = many.dispatch("/many --notes save to a.bin -o sub/b.txt")
    beside = (Path("a_notes.log"), Path("sub/b_notes.log"))
    assert outcome.saved == (Path("a.bin"), Path("sub/b.txt"), *beside)
    assert [path.read_text() for path in beside] == ["all", "all"]
    assert not (tmp_path / "unwritten.log").exists()


def test_an_error_in_companions_is_a_failure_of_the_skill(many, tmp_path, monkeypatch):
    def companions(target, options, subcommand):
        raise ValueError("no luck")

    monkeypatch.setattr(many.catalogue.skills["many"].skill, "companions", companions)
    with pytest.raises(SkillFailed, match="/many failed: ValueError: no luck"):
        many.dispatch("/many save to a.bin")
    assert not list(tmp_path.glob("a*"))


def test_companions_of_other_jobs_are_not_replaced(many, tmp_path):
    (tmp_path / "a_notes.log").write_text("somebody else's")
    with pytest.raises(OutputError, match="exists already"):
        many.dispatch("/many --notes save to a.bin")
    assert not (tmp_path / "a.bin").exists()
    many.dispatch("/many --notes --force save to a.bin")
    assert (tmp_path / "a_notes.log").read_text() == "all"
    many.dispatch("/many --notes save to a.bin")  # this job has made both files


class Fill(Copy):
    name = "fill"

    def saves_folder(self, target, options, subcommand):
        return True

    def run(self, call):
        [folder] = call.targets
        folder.mkdir()
        return Result(summary={"parts": 0})


def test_a_skill_fills_a_folder_itself(tmp_path):
    app = fake_app(tmp_path, None, Fill())
    outcome = app.dispatch(f"/fill text save to {tmp_path}/parts/")
    assert outcome.saved == (tmp_path / "parts",)
    with pytest.raises(UsageError, match="without a suffix"):
        fake_app(tmp_path, None, Copy()).dispatch(f"/copy text save to {tmp_path}/other/")


class Notes(Copy):
    name = "notes"
    folders = ("", ".vault")

    def run(self, call):
        def fill(folder):
            folder.mkdir(exist_ok=True)
            (folder / "a.txt").write_text(call.text)

        return dataclasses.replace(super().run(call), folders={"": fill, ".vault": fill})


@pytest.mark.parametrize(
    "name",
    ["notes/", "notes.v2/", "notes.vault", "notes.vault/", "'my notes/'", "new/folder/notes/"],
)
def test_a_result_is_written_into_a_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    app = fake_app(tmp_path, None, Notes())
    outcome = app.dispatch(f"/notes some text save to {name} -o a.txt")
    folder = Path(name.strip("'"))
    assert outcome.saved == (folder, Path("a.txt"))
    assert (folder / "a.txt").read_text() == "some text"


@pytest.mark.parametrize(
    ("target", "error", "problem"),
    [
        ("notes", UsageError, r"a name without a suffix.*FOLDER/, NAME\.vault/"),
        ("file/", OutputError, "is not a folder"),
        ("file/notes.vault", OutputError, "there is no folder|Not a directory"),
    ],
)
def test_folders_that_cannot_be_written_are_refused_before_the_work(
    tmp_path, monkeypatch, target, error, problem
):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    skill = Notes()
    monkeypatch.setattr(Notes, "run", lambda *_: pytest.fail("it ran"))
    with pytest.raises(error, match=problem):
        fake_app(tmp_path, None, skill).dispatch(f"/notes text save to {target}")


def test_a_folder_keeps_its_slash_in_the_line(tmp_path):
    skill = Notes()
    parsed = parse(skill, "text save to notes/ -o 'my notes/' -o a.txt")
    line = render_line(skill, parsed)
    assert line == '/notes text save to notes/ -o "my notes/" -o a.txt'
    assert parse(skill, line.removeprefix("/notes ")) == parsed


@pytest.mark.parametrize(("target", "what"), [("a/", "a folder"), ("a.vault", r"\.vault")])
def test_a_result_without_its_folder_is_a_fault_of_the_skill(tmp_path, monkeypatch, target, what):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Notes, "run", lambda self, call: Result("text"))
    with pytest.raises(SkillFailed, match=f"has no result to save as {what}"):
        fake_app(tmp_path, None, Notes()).dispatch(f"/notes text save to {target}")
