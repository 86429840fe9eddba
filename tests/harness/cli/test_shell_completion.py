"""`nanda completion SHELL`: scripts that real shells run, with Tab pressed in a terminal."""

import contextlib
import os
import re
import shutil
import time
from pathlib import Path

import pexpect
import pyte
import pytest

from harness.cli import main
from harness.cli.shell_completion import script
from harness.errors import UsageError
from harness.testing import fake_app

PATIENCE = 60
START = {
    "bash": ("bash", ["--norc", "--noprofile"], "PS1='$ '; source {}; echo star''ted"),
    "zsh": (
        "zsh",
        ["-f"],
        "PS1='$ '; autoload -U compinit; compinit -D; source {}; echo star''ted",
    ),
    "fish": (
        "fish",
        ["--private", "--no-config"],
        "function fish_prompt; printf '$ '; end; source {}; echo star''ted",
    ),
}
"""Program, arguments, and the line that prepares each shell."""


class Shell:
    """A shell in a terminal, in which keys are pressed and the last line of the screen is read."""

    def __init__(self, name: str, folder: Path, completion: Path) -> None:
        program, arguments, prepare = START[name]
        self._screen = pyte.Screen(120, 40)
        self._stream = pyte.ByteStream(self._screen)
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "xterm-256color"}
        environment["INPUTRC"] = os.devnull
        self.process = pexpect.spawn(
            program, arguments, cwd=str(folder), env=environment, dimensions=(40, 120)
        )
        self._screen.write_process_input = self.process.send  # answers queries by fish
        self.process.sendline(prepare.format(completion))
        self._until(lambda lines: lines[-2:] == ["started", "$"])

    def press(self, keys: str, shown: str) -> None:
        """Press keys at an empty prompt, and wait until the line is `shown`."""
        self.process.sendcontrol("u")
        self._until(lambda lines: lines[-1] == "$")
        for key in keys.split("\t")[:-1]:
            self.process.send(f"{key}\t")
            time.sleep(0.05)  # fish completes while it reads more keys
        self._until(lambda lines: lines[-1] == f"$ {shown}".rstrip())

    def _until(self, done) -> None:
        end = time.monotonic() + PATIENCE
        lines: list[str] = []
        while not done(lines := [line.rstrip() for line in self._screen.display if line.strip()]):
            assert time.monotonic() < end, lines
            with contextlib.suppress(pexpect.TIMEOUT):
                received = self.process.read_nonblocking(4096, timeout=1)
                self._stream.feed(re.sub(rb"\x1b\[[=<>][\d;]*\w", b"", received))  # unknown to pyte


@pytest.fixture(params=sorted(START))
def shell(request, tmp_path, capfd, monkeypatch):
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    for variable in ("HARNESS_DATA", "HARNESS_CONFIG", "HARNESS_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    assert main.main(["completion", request.param]) == 0
    completion = tmp_path / "completion"
    completion.write_text(capfd.readouterr().out)
    work = tmp_path / "work"
    (work / "examples").mkdir(parents=True)
    for name in ("papers.csv", "my paper.txt", "examples/abstract.txt"):
        (work / name).touch()
    opened = Shell(request.param, work, completion)
    opened.name = request.param
    yield opened
    opened.process.close(force=True)


def test_tab_completes_lines_with_and_without_quotes(shell):
    closes = {"bash": '"', "zsh": "", "fish": '"'}[shell.name]  # the quote after a file
    word = "" if shell.name != "fish" else '"'  # the quote after another word
    for keys, shown in {
        "nanda /anno\t": "nanda /annotate",
        'nanda "/anno\t': f'nanda "/annotate{word}',
        "nanda /annotate pap\t": "nanda /annotate papers.csv",
        'nanda "/annotate pap\t': f'nanda "/annotate papers.csv{closes}',
        "nanda '/annotate pap\t": "nanda '/annotate papers.csv" + closes.replace('"', "'"),
        'nanda "/annotate exa\tabs\t': f'nanda "/annotate examples/abstract.txt{closes}',
        'nanda /annotate "my p\t': 'nanda /annotate "my paper.txt"',
        'nanda "/corpus sea\t': f'nanda "/corpus search{word}',
        "nanda --json /corpus search --categ\t": "nanda --json /corpus search --category",
        'nanda "/annotate --model nanda-\t': f'nanda "/annotate --model nanda-annotator{word}',
        "nanda /annotate --model ollama/qwen2.5:3\t": "nanda /annotate --model ollama/qwen2.5:32b",
        "nanda /finetune --preset=smollm2-c\t": "nanda /finetune --preset=smollm2-cpu",
        "nanda /annotate papers.csv save to exa\t": "nanda /annotate papers.csv save to examples/",
        "nanda /help corp\tsear\t": "nanda /help corpus search",
        "nanda comp\tzs\t": "nanda completion zsh",
        "nanda what is in pap\t": "nanda what is in papers.csv",
    }.items():
        shell.press(keys, shown)


def test_the_words_are_those_of_the_session(tmp_path):
    app = fake_app(tmp_path)
    text = script("powershell", app.catalogue, [("it's-a-model", ""), ("mine", "the user's own")])
    [table] = [part for part in text.split("'") if "\nline\t" in part]
    rows = [row.split("\t") for row in table.splitlines()]
    assert all(len(row) == 3 for row in rows)
    words = {(context, word) for context, word, _ in rows}
    assert {("line", f"/{name}") for name in app.catalogue.skills} < words
    assert {("* --model", "mine"), ("* --model", ":none"), ("/logs", "--limit")} & words == {
        ("* --model", "mine"),
        ("/logs", "--limit"),
    }
    assert ("/logs --limit", ":none") in words
    assert not any("it's" in word for _, word in words)


@pytest.mark.parametrize(("shell", "message"), [("", "the shell is missing"), ("tcsh", "'tcsh'")])
def test_other_shells_are_refused(tmp_path, shell, message):
    with pytest.raises(UsageError, match=message) as caught:
        script(shell, fake_app(tmp_path).catalogue, [])
    assert "bash, zsh, fish, powershell" in caught.value.hint


def test_a_sentence_that_begins_with_completion_is_plain_text(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    lines = []
    monkeypatch.setattr(main, "run_lines", lambda app, given: lines.extend(given) or 0)
    assert main.main(["completion", "of", "a", "sentence"]) == 0
    assert lines == ["completion of a sentence"]
    assert main.main(["completion", "tcsh"]) == 2
    assert "no completion for 'tcsh'" in capsys.readouterr().err
