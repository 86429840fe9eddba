"""The frame of bench/attack.py: outcomes, seeds, the environment, and the short form."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import attack


@pytest.fixture(autouse=True)
def restored_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def area(folder: Path, chance: random.Random) -> Iterator[str | None]:
    for number in range(20):
        (folder / str(number)).touch()
        yield f"failure {chance.random()}" if number == 1 else None


def test_each_try_has_an_outcome_that_the_seed_repeats() -> None:
    first, again, other = (attack.attack("one", area, seed, short=False) for seed in (1, 1, 2))
    assert len(first) == 20
    assert [number for number, outcome in enumerate(first) if outcome] == [1]
    assert first == again != other


def test_the_short_form_ends_after_a_few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(attack.attack("one", area, 1, short=True)) == attack.SHORT_TRIES
    monkeypatch.setattr(attack, "SHORT_SECONDS", 0.01)

    def slow(folder: Path, chance: random.Random) -> Iterator[str | None]:
        while True:
            time.sleep(0.02)
            yield None

    assert attack.attack("slow", slow, 1, short=True) == [None]


def test_an_area_that_raises_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path, chance: random.Random) -> Iterator[str | None]:
        yield None
        raise RuntimeError("no server")

    outcomes = attack.attack("broken", broken, 1, short=False)
    assert outcomes[0] is None
    assert "no server" in str(outcomes[1])


def test_no_key_and_no_folder_of_the_user_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")

    def look(folder: Path, chance: random.Random) -> Iterator[str | None]:
        folders = {os.environ[name] for name in os.environ if name.startswith("HARNESS_")}
        yield os.environ.get("OPENAI_API_KEY")
        yield None if all(str(folder.parent) in one for one in folders) else str(folders)

    assert attack.attack("look", look, 1, short=False) == [None, None]


def test_unknown_areas_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["attack.py", "nowhere"])
    with pytest.raises(SystemExit):
        attack.main()
    assert "unknown area nowhere" in capsys.readouterr().err


def test_a_failure_ends_the_program_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attack, "find_areas", lambda: {"one": area, "two": area})
    monkeypatch.setattr("sys.argv", ["attack.py", "two", "--seed", "7"])
    assert attack.main() == 1
    out = capsys.readouterr().out
    assert out.startswith("seed 7\n")
    assert "two: failure" in out
    assert "one" not in out
