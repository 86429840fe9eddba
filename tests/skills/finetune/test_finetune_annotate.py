"""The lesson's training script: its arguments as an invocation of /finetune."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.settings import CODE_ROOT
from skills.finetune.finetune_annotate import invocation, main
from skills.finetune.run_folder import RunDir

SCRIPT = CODE_ROOT / "skills" / "finetune" / "finetune_annotate.py"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run in finetune_output and one in ft, and folders of the user of its own."""
    for name in ("CACHE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"HARNESS_{name}", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    for name in ("finetune_output", "ft"):
        Path(name).mkdir()
        RunDir(Path(name), "").remember({"data": "kept.jsonl"})
    return tmp_path


@pytest.mark.parametrize(
    ("words", "text", "options"),
    [
        ("", "", {}),
        ("rows.jsonl", "rows.jsonl", {}),
        ("--resume", "", {"resume": True}),
        ("rows.jsonl --resume", "rows.jsonl", {"resume": True}),
        ("--resume rows.jsonl", "rows.jsonl", {"resume": True}),
        ("--resume ft", "ft", {"resume": True}),
        ("--resume finetune_output/c-3", "", {"checkpoint": Path("finetune_output/c-3")}),
        ("--resume=ft/checkpoint-3", "", {"checkpoint": Path("ft/checkpoint-3")}),
        (
            "--resume --out ft --max-steps=4 rows.jsonl",
            "rows.jsonl",
            {"resume": True, "out": Path("ft"), "max_steps": 4},
        ),
        ("--set training.warmup=0.1 rows.jsonl", "rows.jsonl", {"set": ("training.warmup=0.1",)}),
    ],
)
def test_arguments_become_an_invocation(words: str, text: str, options: dict[str, object]) -> None:
    parsed = invocation(words.split())
    assert (parsed.name, parsed.subcommand, parsed.text) == ("finetune", "", text)
    assert parsed.options.model_dump(exclude_unset=True) == options


def test_general_options_targets_and_help_are_parsed() -> None:
    parsed = invocation(["rows.jsonl", "--resume", "--json", "--force", "-o", "x.json"])
    assert (parsed.general.as_json, parsed.general.force) == (True, True)
    assert parsed.targets == (Path("x.json"),)
    assert invocation(["--help"]).help


def test_blanks_and_quotes_in_paths_are_kept() -> None:
    parsed = invocation(["my rows.jsonl", "--out", 'the "best" run'])
    assert parsed.text == "my rows.jsonl"
    assert parsed.options.model_dump()["out"] == Path('the "best" run')


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("a.jsonl b.jsonl", "expected one TRAIN.jsonl|TABLE, got 2: a.jsonl, b.jsonl"),
        ("rows.jsonl --epochs", "--epochs needs a value"),
        ("--out new", "no training set is given, new has no run, and there is no train.jsonl"),
        ("--resume new/checkpoint-3", "new has no run"),
    ],
)
def test_words_that_are_refused(words: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        invocation(words.split())
    assert said in str(caught.value)


def test_train_jsonl_is_taken_where_no_run_was_begun(capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.jsonl").touch()
    assert invocation(["--out", "new"]).text == "train.jsonl"
    assert "using train.jsonl" in capsys.readouterr().err
    assert invocation(["--out", "ft"]).text == "", "the run there has its own"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.jsonl"], "none.jsonl: there is no such file"),
        (["--golden", "gold.csv"], "has no option --golden"),
        (["plan"], "has no subcommand 'plan'"),
        (["rows.jsonl", "--preset", "none"], "there is no preset 'none'"),
    ],
)
def test_it_has_the_exit_codes_of_the_harness(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("started", [["-m", "skills.finetune.finetune_annotate"], [str(SCRIPT)]])
def test_it_runs_by_itself_and_as_a_module(started: list[str], here: Path) -> None:
    """Started by its path, it finds the library's modules, whatever files are beside it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if started[0] == "-m":
        environment["PYTHONPATH"] = str(CODE_ROOT)
    ran = subprocess.run(
        [sys.executable, *started, "--resume", "ft/checkpoint-300"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=here,
        check=False,
    )
    assert ran.returncode == 2
    assert "Error: ft: has no valid recipe" in ran.stderr


def test_a_python_without_the_dependencies_hands_over(here: Path) -> None:
    """As agent.py does; there is no environment beside a copy."""
    checkout = here / "checkout"
    checkout.mkdir()
    (checkout / "agent.py").write_text((CODE_ROOT / "agent.py").read_text())
    for name in ("harness", "models", "pyproject.toml"):
        (checkout / name).symlink_to(CODE_ROOT / name)
    script = checkout / "skills" / "finetune" / "finetune_annotate.py"
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPT.read_text())
    bare = here / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    ran = subprocess.run(
        [bare / "bin" / "python", script, "--help"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "make install" in ran.stderr
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    ran = subprocess.run(
        [bare / "bin" / "python", script, "--resume"], capture_output=True, text=True, check=False
    )
    assert ran.stdout == f"-I {script} --resume\n"
