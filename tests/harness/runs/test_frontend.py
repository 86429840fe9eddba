"""What a frontend shows of a result, and lines that another program runs."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pseudo_terminal import pseudo_terminal
from skill_project import make

from harness import Call, Interrupted, Progress, Result, Screen, Skill
from harness.api.options import GeneralOptions
from harness.errors import NotAllowed
from harness.runs.frontend import Frontend, Outcome, show
from harness.runs.progress import ProgressEstimate, show_progress
from harness.settings import CODE_ROOT
from harness.support.stop_token import StopToken
from harness.testing import FakeModel, calling, fake_app, tool_call


def draw() -> str:
    return "drawn"


RESULT = Result("plain", {"a": 1}, terminal=draw, next="/corpus stats")
SAVED = (Path("a.md"),)


def on_terminal(result: Result, saved: tuple[Path, ...] = (), **general: Any) -> list[str]:
    with pseudo_terminal(80) as terminal:
        screen = Screen(terminal.stream, terminal.stream)
        show(Outcome(result, GeneralOptions(**general), saved), screen)
    return terminal.lines


def test_a_terminal_shows_the_rendering_and_the_next_line() -> None:
    assert on_terminal(RESULT) == ["drawn", "Next: /corpus stats"]
    assert on_terminal(RESULT, SAVED) == ["drawn", "Saved to a.md", "Next: /corpus stats"]


def test_without_a_rendering_a_terminal_shows_the_text() -> None:
    plain = Result("plain")
    assert on_terminal(plain) == ["plain"]
    assert on_terminal(plain, SAVED) == ["Saved to a.md"]


@pytest.mark.parametrize("saved", [(), SAVED])
def test_pipes_and_json_get_what_they_got_before(saved: tuple[Path, ...]) -> None:
    def fail() -> str:
        raise AssertionError("it is not shown")

    result = replace(RESULT, terminal=fail)
    out, err = io.StringIO(), io.StringIO()
    show(Outcome(result, GeneralOptions(), saved), Screen(out, err))
    assert out.getvalue() == ("" if saved else "plain\n")
    assert err.getvalue() == ("Saved to a.md\n" if saved else "")
    as_json = "".join(on_terminal(result, saved, json=True))
    assert as_json.startswith("{")
    assert "Next" not in as_json


def test_a_rendering_that_fails_costs_only_itself() -> None:
    def fail() -> str:
        raise ValueError("no such column")

    notice, text, _ = on_terminal(replace(RESULT, terminal=fail))
    assert notice == "the result cannot be rendered: ValueError('no such column')"
    assert text == "plain"


class Rows(Skill):
    """Has three rows of work, and notices a stop between them."""

    name = "rows"
    summary = "does some rows"
    text = "none"

    def __init__(self, started: threading.Event | None = None, rows: int = 3) -> None:
        self.started, self.rows = started or threading.Event(), rows

    def effects(self, options, subcommand):
        return "does rows"

    def run(self, call: Call) -> Result:
        estimate = ProgressEstimate(self.rows, self.rows, unit="rows")
        with show_progress(estimate, call.screen, "working") as update:
            for number in range(self.rows):
                self.started.set()
                call.cancel.check()
                estimate.finish_row(str(number), 1, 0)
                update()
                if self.rows > 3:
                    time.sleep(0.01)
        with call.screen.progress("saving") as tick:
            tick("a file")
        return Result("done")


def console() -> Screen:
    return Screen(io.StringIO(), io.StringIO())


def test_progress_reaches_a_caller_without_a_terminal(tmp_path):
    events: list[Progress] = []
    outcome = fake_app(tmp_path, None, Rows()).dispatch("/rows", progress=events.append)
    assert outcome.result.text == "done"
    assert events == [
        Progress(0, 3, "working: 0 of 3 rows"),
        *(Progress(n, 3, f"working: {n} of 3 rows") for n in (1, 2, 3)),
        Progress(0, None, "saving"),
        Progress(1, None, "saving: a file"),
    ]


def test_notices_and_answers_go_to_the_console_of_the_caller(tmp_path):
    app, ours = fake_app(tmp_path, FakeModel("one two")), console()
    app.dispatch("count", console=ours)
    assert ours.out.getvalue() == "one two"
    assert ours.err.getvalue().startswith("model: producer")
    assert (app.screen.out.getvalue(), app.screen.err.getvalue()) == ("", "")


def test_another_thread_stops_the_run(tmp_path):
    started, cancel = threading.Event(), threading.Event()
    app = fake_app(tmp_path, None, Rows(started, 100_000))
    caught: list[Exception] = []

    def run() -> None:
        try:
            app.dispatch("/rows", cancel=cancel)
        except Interrupted as exc:
            caught.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    cancel.set()
    thread.join()
    assert len(caught) == 1
    assert [row["status"] for row in app.run_log.recent(1)] == ["interrupted"]


def test_the_frontend_of_the_caller_answers_for_the_calls_of_a_model(tmp_path):
    asked: list[str] = []
    model = FakeModel(calling(tool_call("rows")), "Done.", takes_tools=True)
    app = fake_app(tmp_path, model, Rows())
    ours = Frontend("test", confirm=lambda question: not asked.append(question))
    events: list[Progress] = []
    outcome = app.dispatch("do the rows", frontend=ours, console=console(), progress=events.append)
    assert asked == ["/rows does rows. Allow it?"]
    assert outcome.result.data["calls"][0]["exit_code"] == 0
    assert Progress(3, 3, "working: 3 of 3 rows") in events
    assert [row["door"] for row in app.run_log.recent(2)] == ["model", "test"]
    assert app.frontend.confirm is None


def test_two_callers_at_once_have_their_own_output(tmp_path):
    together = threading.Barrier(2)

    def reply(request):
        together.wait()
        return request.messages[-1].content

    app = fake_app(tmp_path, FakeModel(reply))
    ours = [console(), console()]
    threads = [
        threading.Thread(target=app.dispatch, args=[f"/chat --new {n}"], kwargs={"console": c})
        for n, c in enumerate(ours)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [c.out.getvalue() for c in ours] == ["0", "1"]


def test_a_failed_run_leaves_the_caller_before(tmp_path):
    app = fake_app(tmp_path, None, Rows())
    with pytest.raises(NotAllowed):
        app.run_called(_invocation(app), "/rows")
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Interrupted):
        app.dispatch("/rows", console=console(), cancel=cancel)
    assert app.dispatch("/rows").result.text == "done"
    assert app.screen.err.getvalue() == ""


def _invocation(app):
    from harness.runs.invocation import parse

    return parse(app.catalogue.skills["rows"].skill, "")


def test_the_example_of_the_guide_works(tmp_path, monkeypatch):
    monkeypatch.chdir(make(tmp_path, monkeypatch))
    monkeypatch.setenv("PYTHONPATH", str(CODE_ROOT))
    script = CODE_ROOT / "tests" / "data" / "embedding" / "run_line.py"
    table = "id,abstract\n" + "".join(f"{n},{'word ' * 40}\n" for n in range(2))
    (tmp_path / "project" / "papers.csv").write_text(table)
    ran = subprocess.run(
        [sys.executable, str(script), "/corpus add papers.csv"], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "0 of ? adding papers.csv\n")
    assert json.loads(ran.stdout)["papers"] == 2


def test_a_waiting_token_notices_its_parent():
    parent = threading.Event()
    threading.Timer(0.05, parent.set).start()
    assert StopToken(parent).wait(30)
    assert not StopToken(threading.Event()).wait(0.05)
