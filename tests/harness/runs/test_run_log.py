"""The run log: rows are opened before the work and closed with its status."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from harness import Call, GenerationFailed, HarnessError, Interrupted, InvalidReply, Result, Skill
from harness.errors import OutputError
from harness.models.served import Usage
from harness.runs.frontend import Frontend
from harness.runs.run_log import Run, RunLog, m004_allowed
from harness.support import sqlite
from harness.support.sqlite import migrate
from harness.testing import FakeModel, fake_app


class Probe(Skill):
    name = "probe"
    summary = "raises what it is given"
    error: BaseException | None = None

    def run(self, call: Call) -> Result:
        with closing(sqlite3.connect(call.settings.run_log)) as db:
            [row] = db.execute("SELECT status FROM runs").fetchall()
        assert row == ("running",)
        if self.error is not None:
            raise self.error
        return Result("fine")


@pytest.mark.parametrize(
    ("error", "status", "code", "raw"),
    [
        (None, "done", 0, None),
        (InvalidReply("no", raw="the reply"), "failed", 1, "the reply"),
        (GenerationFailed("cut", partial="so far"), "failed", 1, "so far"),
        (KeyboardInterrupt(), "interrupted", 130, None),
        (Interrupted("stopped"), "interrupted", 130, None),
        (ValueError("bug"), "failed", 1, None),
    ],
)
def test_a_run_is_closed_with_its_status(tmp_path, error, status, code, raw):
    skill = Probe()
    skill.error = error
    app = fake_app(tmp_path, None, skill)
    if error is None:
        app.dispatch("/probe What's up?")
    else:
        with pytest.raises(HarnessError):
            app.dispatch("/probe What's up?")
    [run] = app.run_log.recent(5)
    assert (run["status"], run["exit_code"], run["raw_reply"]) == (status, code, raw)
    assert run["line"] == "/probe What's up?"
    assert run["seconds"] >= 0
    assert run["door"] == "test"


def test_a_result_with_failures_is_closed_as_failed(tmp_path):
    class Half(Skill):
        name = "half"
        summary = "does half of it"
        text = "none"

        def run(self, call: Call) -> Result:
            return Result("half", exit_code=1)

    app = fake_app(tmp_path, None, Half())
    assert app.dispatch("/half").result.text == "half"
    [run] = app.run_log.recent(1)
    assert (run["status"], run["exit_code"]) == ("failed", 1)


def test_resolution_and_tokens_are_logged(tmp_path):
    app = fake_app(tmp_path, FakeModel("one two three"))
    app.dispatch("hello there")
    [run] = app.run_log.recent(1)
    assert (run["requested"], run["resolved"], run["served"]) == (
        "producer",
        "producer",
        "fake producer",
    )
    assert (run["prompt_tokens"], run["completion_tokens"], run["generations"]) == (7, 3, 1)


def test_no_log_is_respected(tmp_path):
    app = fake_app(tmp_path, FakeModel("hi"))
    app.dispatch("/chat --no-log hello")
    assert not app.settings.run_log.exists()


def test_the_log_is_private(tmp_path):
    app = fake_app(tmp_path, FakeModel("hi"))
    app.dispatch("hello")
    for path in app.settings.data_dir.glob("runs.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_unwritable_log_is_reported_once(tmp_path):
    app = fake_app(tmp_path, FakeModel("hi"))
    app.settings.data_dir.parent.mkdir(exist_ok=True)
    app.settings.data_dir.write_text("a file where the folder should be")
    assert app.dispatch("hello").result.text == "hi"
    assert app.dispatch("hello").result.text == "hi"
    assert app.screen.err.getvalue().count("run log cannot be used") == 1


def test_runs_of_dead_processes_are_closed(tmp_path):
    path = tmp_path / "runs.db"
    log = RunLog(path, print)
    log.start(door="test", line="/x", skill="x", options={}, job="j", run=Run())
    log.execute("UPDATE runs SET pid = ?", [_dead_pid()])
    [run] = RunLog(path, print).recent(1)
    assert (run["status"], run["error"]) == ("interrupted", "the process died")


def test_temporary_files_of_killed_processes_are_removed_at_the_next_start(tmp_path):
    app = fake_app(tmp_path, FakeModel("hi"))
    app.dispatch("hello")
    settings, dead = app.settings, _dead_pid()
    (settings.cache_dir / "models").mkdir(parents=True)
    names = {
        settings.cache_dir / "digests.json.{}.tmp",
        settings.cache_dir / "models" / "fetch-merged-ab12-{}-x_9y",
        settings.config_dir / "trusted.json.{}.tmp",
    }
    settings.config_dir.mkdir(exist_ok=True)
    for name in names:
        for pid in (dead, os.getpid()):
            Path(str(name).format(pid)).mkdir()
    app.close()
    fake_app(tmp_path, FakeModel("hi")).dispatch("hello")
    assert all(Path(str(name).format(dead)).exists() for name in names), "no process had died"
    app.run_log.execute("UPDATE runs SET status = 'running', pid = ?", [dead])
    fake_app(tmp_path, FakeModel("hi")).dispatch("hello")
    assert not any(Path(str(name).format(dead)).exists() for name in names)
    assert all(Path(str(name).format(os.getpid())).exists() for name in names)


def test_a_target_is_not_written_while_the_log_is_locked(tmp_path, monkeypatch):
    """Else the same line would later refuse to replace it."""
    monkeypatch.setattr(sqlite, "PATIENCE", 0.1)
    monkeypatch.chdir(tmp_path)
    app = fake_app(tmp_path, FakeModel("hi"))
    app.dispatch("hello")
    db = sqlite3.connect(app.settings.run_log, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    app.close()
    locked = fake_app(tmp_path, FakeModel("hi"))
    with pytest.raises(OutputError, match="the run log cannot be written: database is locked"):
        locked.dispatch("/chat hello save to out.txt")
    assert not (tmp_path / "out.txt").exists()
    assert fake_app(tmp_path, FakeModel("hi")).dispatch("hello").result.text == "hi"
    db.close()
    for _ in range(2):
        fake_app(tmp_path, FakeModel("hi")).dispatch("/chat hello save to out.txt")
    assert (tmp_path / "out.txt").read_text() == "hi\n"


def test_running_runs_are_not_closed(tmp_path):
    log = RunLog(tmp_path / "runs.db", print)
    log.start(door="test", line="/x", skill="x", options={}, job="j", run=Run())
    [run] = RunLog(log.path, print).recent(1)
    assert run["status"] == "running"


def test_processes_are_checked_without_a_signal(tmp_path, monkeypatch):
    """On Windows `os.kill(pid, 0)` sends Ctrl-C."""
    log = RunLog(tmp_path / "runs.db", print)
    log.start(door="test", line="/x", skill="x", options={}, job="j", run=Run())
    asked = []
    monkeypatch.setattr("psutil.pid_exists", lambda pid: bool(asked.append(pid)))
    [run] = RunLog(log.path, print).recent(1)
    assert (asked, run["status"]) == ([os.getpid()], "interrupted")


def test_text_that_is_not_utf8_is_escaped(tmp_path):
    """A file name in another encoding, and a lone surrogate in a reply."""
    notices = []
    log = RunLog(tmp_path / "runs.db", notices.append)
    run = Run()
    log.start(door="test", line="/x", skill="x", options={}, job="j", run=run)
    odd = Path(os.fsdecode(b"/tmp/caf\xe9/a.txt"))
    run.wrote(odd, "0" * 64)
    run.close("failed", 1, Usage(), raw_reply="half \ud83d")
    assert log.made(odd, "0" * 64, "j")
    kept = log.get(run.id)
    assert kept["raw_reply"] == r"half \ud83d"
    assert kept["outputs"][0]["path"] == r"/tmp/caf\udce9/a.txt"
    assert not notices


def test_a_migration_is_applied_once(tmp_path):
    def m005_more(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE more (x)")

    db = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    for migrations in ([m004_allowed], [m004_allowed, m005_more], [m004_allowed, m005_more]):
        migrate(db, migrations)
    applied = db.execute("SELECT name FROM _migrations ORDER BY name").fetchall()
    assert applied == [("m004_allowed",), ("m005_more",)]
    db.close()


def test_a_log_of_an_earlier_version_is_refused_with_what_to_do(tmp_path):
    def m001_runs(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY)")

    path, notices = tmp_path / "runs.db", []
    db = sqlite3.connect(path, isolation_level=None)
    migrate(db, [m001_runs])
    db.close()
    assert RunLog(path, notices.append).recent(1) == []
    [notice] = notices
    assert notice.startswith("the run log cannot be used: table runs already exists")
    assert notice.endswith("move that file away to begin with an empty one")


def test_a_failed_migration_changes_nothing(tmp_path):
    def m005_fails(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE half (x)")
        raise RuntimeError("no luck")

    db = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    with pytest.raises(RuntimeError):
        migrate(db, [m004_allowed, m005_fails])
    assert db.execute("SELECT * FROM sqlite_master").fetchall() == []
    db.close()


def test_logs_lists_runs_and_shows_one(tmp_path):
    app = fake_app(tmp_path, FakeModel("hi"), door=Frontend("test"))
    assert app.dispatch("/logs").result.text == "No runs yet."
    app.dispatch("hello there")
    app.dispatch("good-bye")
    listed = app.dispatch("/logs --limit 1").result
    assert "good-bye" in listed.text
    assert "hello" not in listed.text
    assert len(listed.data["runs"]) == 1
    assert "line: hello there" in app.dispatch("/logs 1").result.text
    assert app.dispatch("/logs path").result.text == str(app.settings.run_log)
    with pytest.raises(HarnessError, match="no run 99") as caught:
        app.dispatch("/logs 99")
    assert caught.value.exit_code == 1
    with pytest.raises(HarnessError, match="'x' is not the number of a run"):
        app.dispatch("/logs x")


def _dead_pid() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid
