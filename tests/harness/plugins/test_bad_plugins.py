"""Isolation of faulty plugins, on the command line and in a session."""

import json
import os
import subprocess
import sys
import time

import pytest
from plugin_folders import GOOD, entry_point, lenient, plugin
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from pydantic import model_validator

from harness import Result, Skill, SkillFailed, SkillOptions
from harness.cli import main
from harness.cli.interactive_session import Repl
from harness.runs.invocation import parse
from harness.settings import CODE_ROOT
from harness.testing import fake_app

HOOK = "from harness import hookimpl\n@hookimpl\ndef "


def good_with(old, new):
    code = GOOD.format(name="bad")
    assert old in code
    return code.replace(old, new)


def attribute(line):
    return good_with('    text = "optional"', f"    {line}")


OPTIONS = "    class Options(__import__('harness').SkillOptions):\n"
FIELD = "__import__('pydantic').Field"
BAD = {
    "import-error": ("import nosuchmodule", "ModuleNotFoundError"),
    "raises-at-import": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "exits-at-import": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "interrupts-at-import": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "generator-exit": ("raise GeneratorExit", "GeneratorExit"),
    "own-base-exception": ("class Odd(BaseException): ...\nraise Odd('x')", "Odd: x"),
    "syntax-error": ("def (", "SyntaxError"),
    "null-byte": ("x = 1\0", "null bytes"),
    "hangs-at-import": ("import time; time.sleep(600)", "not loaded within 2 s"),
    "hangs-in-hook": (
        HOOK + "register_skills(register):\n    import time; time.sleep(600)",
        "not loaded within 2 s",
    ),
    "waits-for-input": ("input()", "EOFError"),
    "handles-signals": (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "ValueError: signal only works in main thread",
    ),
    "wrong-signature": (HOOK + "register_skills(register, wrong): ...", "wrong"),
    "misspelt-hook": (HOOK + "register_skill(register): ...", "register_skill"),
    "no-hook": ("x = 1", "no hook that registers anything"),
    "raises-in-hook": (HOOK + "register_skills(register): 1 / 0", "ZeroDivisionError"),
    "exits-in-hook": (HOOK + "register_skills(register): raise SystemExit(0)", "SystemExit"),
    "not-a-skill": (HOOK + "register_skills(register): register(1)", "skill name None"),
    "bad-name": (GOOD.format(name="Bad Name"), "'Bad Name'"),
    "duplicate": (GOOD.format(name="help"), "/help is already taken by the skill from built in"),
    "duplicate-of-shipped": (GOOD.format(name="annotate"), "/annotate is already taken by the"),
    "duplicate-within": (
        good_with("    register(Good())", "    register(Good())\n    register(Good())"),
        "it registers /bad twice",
    ),
    "takes-a-general-option": (
        good_with("    def run", f"{OPTIONS}        model: str = 'x'\n\n    def run"),
        "--model belongs to the harness",
    ),
    "takes-the-option-help": (
        good_with("    def run", f"{OPTIONS}        help: bool = False\n\n    def run"),
        "--help belongs to the harness",
    ),
    "options-that-clash": (
        good_with(
            "    def run",
            f"{OPTIONS}        top_n: int = 1\n"
            f"        n: int = {FIELD}(2, alias='top-n')\n\n    def run",
        ),
        "two of the options have the same name",
    ),
    "option-without-a-schema": (
        good_with(
            "    def run",
            f"{OPTIONS}        how: __import__('typing').Callable = print\n\n    def run",
        ),
        "Options have no JSON Schema: Cannot generate",
    ),
    "a-default-that-is-no-json": (
        good_with(
            "    def run",
            f"{OPTIONS}        size: __import__('typing').Any = object()\n\n    def run",
        ),
        "Options have no JSON Schema: Default value <object",
    ),
    "no-options": (attribute("Options = dict"), "Options is not a subclass"),
    "summary-is-no-text": (attribute("summary = 5"), "no summary"),
    "details-are-no-text": (attribute("details = None"), "details is not a string"),
    "text-is-no-choice": (attribute("text = 'always'"), "'always'"),
    "folders-is-one-text": (attribute("folders = '.site'"), "folders is not a tuple"),
    "saves-is-one-text": (attribute("saves = '.txt'"), "saves is not a tuple"),
    "output-is-no-model": (attribute("output = dict"), "output is not a pydantic model"),
    "an-output-is-no-model": (
        attribute("output_summary = {'add': 3}"),
        "output_summary is not a pydantic model",
    ),
    "output-without-a-schema": (
        attribute(
            "output = __import__('pydantic').create_model('O', f=__import__('typing').Callable)"
        ),
        "output has no JSON Schema: Cannot generate",
    ),
    "impact-unknown": (attribute("impact = {'': 'none'}"), "impact is 'none', not one of reads"),
    "impact-of-nothing": (
        attribute("impact = {'add': 'adds'}"),
        "'add', which is not a subcommand",
    ),
    "saves-no-suffix": (attribute("saves = ('txt',)"), "'txt' is not a suffix"),
    "bad-trigger": (attribute("triggers = ('(',)"), "unterminated subpattern"),
    "bad-subcommands": (attribute("subcommands = ['a']"), "subcommands is not a mapping"),
    "long-reason": (
        "raise RuntimeError('\\x1b[2J' + 'x' * 9999 + '\\nmore')",
        "RuntimeError: [2Jxxx",
    ),
}
SLOW = ("hangs-at-import", "hangs-in-hook")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home folders of a user, set in the environment."""
    for name in ("CACHE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"HARNESS_{name}", str(tmp_path / name.lower()))
    monkeypatch.delenv("HARNESS_PLUGIN_DEADLINE", raising=False)
    monkeypatch.delenv("HARNESS_STRICT_PLUGINS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def session(app, *lines):
    """Return what a session prints to stdout for the lines."""
    with create_pipe_input() as keys:
        keys.send_text("".join(f"{line}\r" for line in lines) + "\x04")
        Repl(app, keys, DummyOutput()).run()
    return app.screen.out.getvalue()


@pytest.mark.parametrize("kind", BAD)
def test_bad_plugin_is_left_out_in_both_frontends(home, kind, capsys, monkeypatch):
    code, reason = BAD[kind]
    monkeypatch.setenv("HARNESS_PLUGIN_DEADLINE", "2")
    own = home / "config" / "skills"
    plugin(own, "aa-good", GOOD.format(name="aa-good"))
    plugin(own, kind, code)
    plugin(own, "zz-good", GOOD.format(name="zz-good"))

    assert main.main(["/zz-good x"]) == 0
    out, err = capsys.readouterr()
    assert out == "good: x\n"
    [line] = err.splitlines()
    assert line.startswith(f"plugin {kind} left out: ")
    assert reason in line
    assert line.isprintable()
    assert len(line) < 500

    app = lenient(home, deadline=2)
    assert session(app, "/aa-good x", "/zz-good y", "/help aa-good").startswith(
        "good: x\ngood: y\nUsage: /aa-good"
    )
    assert "annotate" in app.catalogue.skills
    [failure] = app.catalogue.failures
    shown = app.dispatch("/skills").result
    assert failure.traceback.rstrip() in shown.text
    assert shown.data["failures"][0]["reason"] == failure.reason
    if kind in SLOW:
        assert f"`/skills disable {kind}`" in failure.reason


def agent(home, *words, stdin=None):
    return subprocess.run(
        [sys.executable, CODE_ROOT / "agent.py", *words],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        cwd=home,
        timeout=120,
    )


def own_plugin(home, name, code):
    return plugin(home / "config" / "skills", name, code)


@pytest.mark.parametrize("code", ["import time; time.sleep(600)", "while True: pass"])
def test_hanging_plugin_does_not_block_exit(home, code, monkeypatch):
    monkeypatch.setenv("HARNESS_PLUGIN_DEADLINE", "2")
    own_plugin(home, "hanging", code)
    own_plugin(home, "zz-good", GOOD.format(name="zz-good"))
    done = agent(home, "/zz-good x")
    assert (done.returncode, done.stdout) == (0, "good: x\n")


def test_late_plugin_registers_nothing(home):
    go = home / "go"
    code = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
    own_plugin(home, "late", code + "print('late')\n" + GOOD.format(name="late"))
    app = lenient(home, deadline=0.5)
    go.touch()
    time.sleep(0.5)
    assert "late" not in app.catalogue.skills


def test_entry_points_are_isolated(home, monkeypatch):
    site = home / "site"
    entry_point(site, "hanging-point", "import time; time.sleep(600)")
    entry_point(site, "raising-point", "raise SystemExit(0)")
    entry_point(site, "working-point", GOOD.format(name="working-point"))
    broken = site / "damaged-1.dist-info"
    broken.mkdir()
    (broken / "entry_points.txt").write_text("[harness.skills]\ndamaged = damaged\n")
    monkeypatch.syspath_prepend(site)
    app = lenient(home, deadline=2)
    assert app.dispatch("/working-point x").result.text == "good: x"
    assert {f.name: f.reason.partition(".")[0] for f in app.catalogue.failures} == {
        "damaged": "ModuleNotFoundError: No module named 'damaged'",
        "hanging-point": "it was not loaded within 2 s",
        "raising-point": "SystemExit: 0",
    }


RUN = """
import asyncio, os, subprocess, sys, threading, time
from harness import Call, Result, Skill, hookimpl

class Rogue(Skill):
    name = "rogue"
    summary = "misbehaves as told"

    def run(self, call):
        return WHAT[call.text]()

def no_luck(): raise ValueError("no luck")
def leave(): sys.exit(0)
def interrupt(): raise KeyboardInterrupt
def cancelled(): raise asyncio.CancelledError
def nothing(): return None
def number(): return Result(5)
def code(): return Result("x", exit_code=256)
def stopped(): return Result("x", stopped="no")
def renderers(): return Result("x", renderers=[1])
def prints():
    print("by print")
    sys.__stdout__.write("by __stdout__\\n")
    os.write(1, b"by write\\n")
    subprocess.run(["echo", "by a process"], check=True)
    return Result("done")
def closes():
    sys.stdout.close()
    sys.__stdout__.close()
    return Result("done")
def threads():
    threading.Thread(target=time.sleep, args=(600,), name="left-behind").start()
    return Result("done")
def pool():
    from concurrent.futures import ThreadPoolExecutor
    pool = globals()["kept"] = ThreadPoolExecutor(1)
    pool.submit(print).result()
    return Result("done")
def late():
    def chatter():
        while True:
            print("much later")
            time.sleep(0.05)
    threading.Thread(target=chatter, name="chatter").start()
    return Result("done")

WHAT = {name: value for name, value in globals().items() if callable(value)}

@hookimpl
def register_skills(register):
    register(Rogue())
"""


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("no_luck", 1, "Error: /rogue failed: ValueError: no luck"),
        ("leave", 1, "Error: /rogue failed: SystemExit: 0"),
        ("cancelled", 1, "Error: /rogue failed: CancelledError"),
        ("interrupt", 130, "Interrupted."),
        ("nothing", 1, "Error: /rogue returned NoneType, not a Result"),
        ("number", 1, "Error: /rogue failed: ValidationError: Result, 0: Input should be"),
        ("code", 1, "Error: /rogue failed: ValidationError: Result, exit_code: Input should be"),
        ("stopped", 1, "Error: /rogue failed: ValidationError: Result, stopped: Input should be"),
        (
            "renderers",
            1,
            "Error: /rogue failed: ValidationError: Result, renderers: ",
        ),
    ],
)
def test_failing_skill_ends_only_its_run(home, what, code, said, capsys):
    own_plugin(home, "rogue", RUN)
    own_plugin(home, "zz-good", GOOD.format(name="zz-good"))
    assert main.main([f"/rogue {what}"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith(said)
    app = lenient(home)
    assert session(app, f"/rogue {what}", "/zz-good y") == "good: y\n"
    assert said in app.screen.err.getvalue()
    [run] = [run for run in app.run_log.recent(9) if run["door"] == "test"][1:]
    assert (run["status"], run["exit_code"]) == ("interrupted" if code == 130 else "failed", code)
    if what == "no_luck":
        assert "raise ValueError" in run["traceback"]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("prints", "by print\nby __stdout__\nby write\nby a process\n"),
        ("closes", ""),
        ("pool", "\n"),
        ("threads", "exiting although threads are still running: left-behind\n"),
    ],
)
def test_stdout_stays_usable_after_a_skill_misuses_it(home, what, said):
    """Piped lines are run by one process, like those of a session."""
    own_plugin(home, "rogue", RUN)
    own_plugin(home, "zz-good", GOOD.format(name="zz-good"))
    done = agent(home, stdin=f"/rogue {what}\n/zz-good y\n")
    assert done.stdout == "done\ngood: y\n", done.stderr
    assert sorted(done.stderr.splitlines()) == sorted(said.splitlines())
    assert done.returncode == 0


def test_prints_of_a_remaining_thread_go_to_stderr(home):
    own_plugin(home, "rogue", RUN)
    done = agent(home, "--json", "/rogue late")
    assert json.loads(done.stdout) == {"text": "done"}
    assert "much later" in done.stderr
    assert "still running: chatter" in done.stderr


LOADING = """
import os, subprocess, sys
print("by print")
os.write(1, b"by write\\n")
subprocess.run(["echo", "by a process"], check=True)
{more}
""" + GOOD.format(name="loud").replace(
    "    register(", "    print('by a hook')\n    register("
).replace("{", "{{").replace("}", "}}")


@pytest.mark.parametrize("more", ["", "sys.stdout.close()", "sys.__stdout__.close()"])
def test_output_of_a_plugin_during_loading_goes_to_stderr(home, more):
    own_plugin(home, "loud", LOADING.format(more=more))
    done = agent(home, "--json", "/loud x")
    assert json.loads(done.stdout) == {"text": "good: x"}, done.stderr
    assert "by print\nby write\nby a process\n" in done.stderr
    assert "by a hook" in done.stderr


def test_plugin_cannot_read_stdin_of_the_command(home):
    own_plugin(home, "greedy", "import sys; sys.stdin.read()\n" + GOOD.format(name="greedy"))
    assert agent(home, "/greedy -", stdin="piped").stdout == "good: piped\n"


def test_closed_stdout_is_reported(home):
    own_plugin(home, "zz-good", GOOD.format(name="zz-good"))
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} {CODE_ROOT / 'agent.py'} '/zz-good x' >&-"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=home,
    )
    assert done.returncode == 4
    assert done.stderr == "Error: stdout is closed\n"


@pytest.mark.parametrize("given", ["0", "-1", "soon", "nan", "inf"])
def test_invalid_deadline_is_refused(home, given, monkeypatch, capsys):
    monkeypatch.setenv("HARNESS_PLUGIN_DEADLINE", given)
    assert main.main(["/help"]) == 2
    assert f"HARNESS_PLUGIN_DEADLINE: {given!r}" in capsys.readouterr().err


def test_ctrl_c_ends_a_hanging_import(home):
    own_plugin(home, "hanging", "import os, time; os.write(2, b'ready\\n'); time.sleep(600)")
    process = subprocess.Popen(
        [sys.executable, CODE_ROOT / "agent.py", "/help"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
        env={**os.environ, "HARNESS_PLUGIN_DEADLINE": "100"},
    )
    while process.stderr.readline() != "ready\n":
        pass
    process.send_signal(2)
    process.communicate(timeout=60)
    assert process.returncode == 130


class Checked(SkillOptions):
    size: int = 1

    @model_validator(mode="after")
    def check(self):
        if self.size > 1:
            raise RAISES[self.size]
        return self


RAISES = {2: RuntimeError("no luck"), 3: SystemExit(0)}


class Raising(Skill):
    name = "raising"
    summary = "raises wherever its class is asked anything"
    text = "optional"
    saves = (".txt",)
    Options = Checked

    def companions(self, target, options, subcommand):
        if "raises" in target.name:
            raise RAISES[int(target.stem[-1])]
        return 5 if "number" in target.name else {"more": f"{target}.more"}

    def effects(self, options, subcommand):
        raise SystemExit(0)

    def run(self, call):
        return Result("x", renderers={".txt": lambda: "x"}, companions={"more": lambda f: None})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("/raising -o raises2.txt", "/raising failed: RuntimeError: no luck"),
        ("/raising -o raises3.txt", "/raising failed: SystemExit: 0"),
        ("/raising -o number.txt", "/raising failed: AttributeError"),
        ("/raising --size 2", "the skill's options failed: RuntimeError: no luck"),
        ("/raising --size 3", "the skill's options failed: SystemExit: 0"),
    ],
)
def test_errors_before_the_run_end_only_the_run(home, line, reason):
    app = fake_app(home, None, Raising())
    assert session(app, line, "/raising -o fine.txt", "/raising x") == "x\n"
    assert reason in app.screen.err.getvalue()
    assert "internal error" not in app.screen.err.getvalue()
    assert (home / "fine.txt.more").exists()


def test_failing_effects_do_not_permit_a_run(home):
    app = fake_app(home, None, Raising())
    with pytest.raises(SkillFailed, match="/raising failed: SystemExit: 0"):
        app.run_called(parse(app.catalogue.skills["raising"].skill, "x"), "/raising x")
