"""The question before a line that a model made changes anything that stays.

A model does what it reads, and it reads papers: an abstract may tell it to write a file. Whatever
it is told, no file is written and nothing is trained unless the user says yes to that very call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from harness.api.skill import UNTOLD
from harness.errors import NotAllowed


def changes(effects: str, files: Sequence[Path]) -> str:
    """What a run changes, in words; "" if nothing.

    Args:
        effects: what `Skill.effects` says; a stranger's may have forgotten to return anything.
        files: what would be written.
    """
    effects = effects if isinstance(effects, str) else UNTOLD
    written = ", ".join(
        f"{in_one_line(str(path))}{' (which exists)' if path.exists() else ''}" for path in files
    )
    parts = [f"writes {written}"] * bool(written) + [in_one_line(effects)] * bool(effects)
    return " and ".join(parts)


def ask(name: str, changed: str, confirm: Callable[[str], bool] | None) -> None:
    """Ask whether the skill `name`, which changes so much, may run.

    Raises:
        NotAllowed: it may not, or there is nobody to ask.
    """
    if confirm is None:
        raise NotAllowed(
            f"/{name} {changed}, and nobody is here to allow that",
            hint="`--yes` before the line allows it.",
        )
    if not confirm(f"/{name} {changed}. Allow it?"):
        raise NotAllowed(f"/{name} {changed}, and the user did not allow that")


def refuse_obeyed(name: str, given: Iterable[Path], obeyed: Iterable[Path]) -> None:
    """Refuse to give the skill `name` a path to what the harness goes by, or into a folder of that.

    No yes allows that: what a paper has a model write there, trust or the instructions of a skill,
    would be followed from then on.

    Raises:
        NotAllowed: naming the path.
    """
    kept = [path.resolve() for path in obeyed]
    for path in given:
        if any(_leads_into(path.resolve(), place) for place in kept):
            raise NotAllowed(
                f"a model may not give /{name} {in_one_line(str(path))}: the harness goes by what "
                "stands there",
                hint="Name another place.",
            )


def _leads_into(path: Path, place: Path) -> bool:
    """Whether `path` is `place` or lies within it, by whatever name.

    A disk that does not tell capitals apart finds `skills` under `Skills` too.
    """
    if not place.exists():
        return Path(str(path).casefold()).is_relative_to(str(place).casefold())
    return path.is_relative_to(place) or any(_same(above, place) for above in (path, *path.parents))


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there, or may not be looked at
        return False


def in_one_line(text: str, most: int | None = None) -> str:
    """Text of a model's for the terminal: without line breaks and control characters, and cut in
    the middle, since files to write stand at the end."""
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if most is None or len(shown) <= most:
        return shown
    return f"{shown[: most // 2]} ... {shown[-most // 2 :]}"
