"""Confirmation by the user before a model's call changes anything.

A model follows instructions in the text it reads, such as an abstract. So no file is written and
nothing is trained for a model unless the user confirms that call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from harness.api.skill import UNKNOWN_EFFECTS
from harness.errors import NotAllowed

BY_YES = "--yes"
"""How a call is allowed: by the option of the user's line."""
ANSWERED = "answered:"
"""Followed by the answer of the user to the question about a call."""


def changes(effects: str, files: Sequence[Path], elsewhere: str = "") -> str:
    """Describe the changes of a run; "" if there are none.

    Args:
        effects: result of `Skill.effects`; a plugin may return None by mistake.
        files: files that would be written.
        elsewhere: what else the run does that needs consent.
    """
    effects = effects if isinstance(effects, str) else UNKNOWN_EFFECTS
    written = ", ".join(
        f"{in_one_line(str(path))}{' (which exists)' if path.exists() else ''}" for path in files
    )
    parts = [f"writes {written}"] * bool(written)
    parts += [in_one_line(text) for text in (effects, elsewhere) if text]
    return " and ".join(parts)


def ask(name: str, changed: str, confirm: Callable[[str], bool] | None) -> str:
    """Ask the user whether the skill `name` may make these changes; return how they allowed it.

    Raises:
        NotAllowed: they refuse, or there is nobody to ask.
    """
    if confirm is None:
        raise NotAllowed(
            f"/{name} {changed}, and nobody is here to allow that",
            hint="`--yes` before the line allows it.",
        )
    if not confirm(f"/{name} {changed}. Allow it?"):
        raise NotAllowed(f"/{name} {changed}, and the user did not allow that")
    return f"{ANSWERED} yes"


def refuse_protected(name: str, given: Iterable[Path], protected: Iterable[Path]) -> None:
    """Refuse paths to files and folders that control the harness, even with `--yes`.

    A paper could make a model write trust decisions or instructions of a skill there.

    Raises:
        NotAllowed: naming the path.
    """
    places = [*protected]
    for path in given:
        if is_protected(path, places):
            raise NotAllowed(
                f"a model may not give /{name} {in_one_line(str(path))}: files there control the "
                "harness",
                hint="Use another folder.",
            )


def is_protected(path: Path, protected: Iterable[Path]) -> bool:
    """Return True if `path` is, or is below, one of the protected files and folders."""
    return any(_is_within(path.resolve(), place.resolve()) for place in protected)


def _is_within(path: Path, place: Path) -> bool:
    """Return True if `path` is `place` or below it, also under another name of the same file."""
    if not place.exists():  # file systems may ignore case
        return Path(str(path).casefold()).is_relative_to(str(place).casefold())
    return path.is_relative_to(place) or any(_same(above, place) for above in (path, *path.parents))


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them does not exist or is not readable
        return False


def in_one_line(text: str, most: int | None = None) -> str:
    """Return text of a model without control characters, shortened in the middle.

    The end is kept, since the files to write are named there.
    """
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if most is None or len(shown) <= most:
        return shown
    return f"{shown[: most // 2]} ... {shown[-most // 2 :]}"
