"""Train a model on annotations, and put it where /annotate finds it.

    python -m skills.finetune.finetune_annotate [TRAIN.jsonl] [--resume [CHECKPOINT]] [OPTION ...]
    python skills/finetune/finetune_annotate.py --resume finetune_output/checkpoint-300

The same as `/finetune TRAIN.jsonl`, with its options and exit codes. `--resume` goes on from the
newest checkpoint that is whole, `--resume CHECKPOINT` from that one, in the folder that it lies in.
Without TRAIN.jsonl it is the training set that the run in the folder was begun with, and where none
was begun, train.jsonl of the working folder.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

DEFAULT_DATA = "train.jsonl"
"""What the documents save a data set as."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `/finetune` with these words; return its exit code."""
    from skills.finetune.run import shell

    return shell.run(as_line, argv)


def as_line(words: list[str]) -> str:
    """The words of a shell as a line of the harness, every value in quotes.

    Raises:
        UsageError: there is no training set, or more than one; an option lacks its value; or a word
            cannot be quoted.
        InputError: the folder's manifest cannot be read.
    """
    from harness.errors import UsageError
    from skills.finetune.run.shell import quoted

    if "--help" in words or "-h" in words:
        return "/help finetune"
    options, given = _parted(words)
    if len(given) > 1:
        raise UsageError(
            f"there are {len(given)} training sets: {', '.join(given)}"[:200],
            hint='Name one. A stage alone is `python agent.py "/finetune STAGE FOLDER"`.',
        )
    if not given and (data := _default(options)) is not None:
        given = [data]
    said = [name if value is None else f"{name} {quoted(value)}" for name, value in options]
    return " ".join(("/finetune", *said, *map(quoted, given)))


def _parted(words: list[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """The options, each with its value if it takes one, and what is none.

    Raises:
        UsageError: an option lacks its value.
    """
    from harness.api.options import GeneralOptions, flags
    from harness.errors import UsageError
    from skills.finetune.plugin import Finetune

    known = flags(Finetune.Options, GeneralOptions).values()
    takes = {flag.name for flag in known if flag.sets is None}
    options: list[tuple[str, str | None]] = []
    rest = []
    waiting = deque(words)
    while waiting:
        word = waiting.popleft()
        name, has_value, value = word.partition("=")
        if name == "--resume":
            if not has_value and waiting and _is_checkpoint(waiting[0]):
                value = waiting.popleft()
            options.append(("--checkpoint", value) if value else (name, None))
        elif not word.startswith("--") and word != "-o":
            rest.append(word)
        elif has_value:
            options.append((name, value))
        elif name in takes or name == "-o":
            if not waiting:
                raise UsageError(f"{name} needs a value")
            options.append((name, waiting.popleft()))
        else:
            options.append((name, None))  # one that there is not is refused with all others
    return options, rest


def _is_checkpoint(word: str) -> bool:
    """Whether a word after --resume is no option, no data set and no folder of a run."""
    from skills.finetune.run.run_dir import MANIFEST

    path = Path(word).expanduser()
    is_data = word.startswith("-") or path.suffix == ".jsonl" or (path / MANIFEST).is_file()
    return not is_data


def _default(options: list[tuple[str, str | None]]) -> str | None:
    """The data set where none is named; None where the run in the folder remembers its own.

    Raises:
        UsageError: there is none.
        InputError: the folder's manifest cannot be read.
    """
    from harness.errors import UsageError
    from harness.terminal.console import Screen
    from skills.finetune.plugin import Finetune
    from skills.finetune.run.run_dir import RunDir

    named = {name: value for name, value in options if value is not None}
    folder = Path(str(Finetune.Options.model_fields["out"].default))
    if (out := named.get("--out")) is not None:
        folder = Path(out)
    elif (checkpoint := named.get("--checkpoint")) is not None:
        folder = Path(checkpoint).parent
    if RunDir(folder.expanduser(), "").run:
        return None
    if not Path(DEFAULT_DATA).is_file():
        raise UsageError(
            f"no training set is named, no run was begun in {folder}, "
            f"and here is no {DEFAULT_DATA}",
            hint=f"Name one; `/finetune dataset --gold FILE save to {DEFAULT_DATA}` makes it.",
        )
    Screen().notice(f"no training set is named: {DEFAULT_DATA} is taken")
    return DEFAULT_DATA


if __name__ == "__main__":
    if not __package__:  # started by its path: its own folder is no place to find modules in
        sys.path[0] = str(Path(__file__).resolve().parents[2])
        import agent

        if (code := agent.hand_over(Path(__file__).resolve())) is not None:
            sys.exit(code)
    sys.exit(main())
