"""Train a model on annotations, and register it for /annotate.

    python -m skills.finetune.finetune_annotate [TRAIN.jsonl] [--resume [CHECKPOINT]] [OPTION ...]
    python skills/finetune/finetune_annotate.py --resume finetune_output/checkpoint-300

This program is equivalent to `/finetune TRAIN.jsonl`: options and exit codes are the same.
`--resume` continues from the latest complete checkpoint. `--resume CHECKPOINT` continues from the
given checkpoint, and writes to the folder that contains the checkpoint. Without TRAIN.jsonl, the
training set of the run in the output folder is used; if this folder has no run, train.jsonl in the
working directory is used.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.runs.invocation import Invocation

DEFAULT_DATA = "train.jsonl"
"""The training set if the arguments name no training set, and the output folder has no run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `/finetune` with the arguments, and return the exit code.

    Without `argv`, the arguments of the process are used, and the function may end the process.
    Under torchrun, only rank 0 runs the command; the other ranks only take part in the training.
    """
    from skills.finetune import ranks

    if not ranks.is_main():
        from skills.finetune.training.processes import follow

        return follow()
    from harness.cli.main import run_script

    return run_script(invocation, argv)


def invocation(words: list[str]) -> Invocation:
    """Return the invocation of /finetune for the arguments.

    Raises:
        UsageError: an option is invalid, or no training set is found.
        InputError: the manifest in the output folder cannot be read.
    """
    from harness.runs.invocation import from_words
    from skills.finetune.plugin import Finetune

    parsed = from_words(Finetune(), _with_checkpoint(words))
    if parsed.help or parsed.text:
        return parsed
    return replace(parsed, text=_default(parsed.options))


def _with_checkpoint(words: list[str]) -> list[str]:
    """Return the words, with `--checkpoint=CHECKPOINT` in place of `--resume CHECKPOINT`."""
    left, expanded = deque(words), []
    while left:
        word = left.popleft()
        name, equals, value = word.partition("=")
        if name == "--resume" and (equals or (left and _is_checkpoint(left[0]))):
            word = f"--checkpoint={value if equals else left.popleft()}"
        expanded.append(word)
    return expanded


def _is_checkpoint(word: str) -> bool:
    """Return True if a word after --resume is neither an option, a data set nor a run's folder."""
    from harness.support.text_input import at_home
    from skills.finetune.run_folder import MANIFEST

    path = at_home(word)
    return not (word.startswith("-") or path.suffix == ".jsonl" or (path / MANIFEST).is_file())


def _default(options: Any) -> str:
    """Return `DEFAULT_DATA`, and announce it; return "" if `options.run_folder` contains a run.

    Raises:
        UsageError: there is neither a run nor a default training set.
        InputError: the manifest in `options.run_folder` cannot be read.
    """
    from harness.errors import UsageError
    from harness.terminal.console import Screen
    from skills.finetune.run_folder import RunDir

    if RunDir(options.run_folder, "").run:
        return ""
    if not Path(DEFAULT_DATA).is_file():
        raise UsageError(
            f"no training set is given, {options.run_folder} has no run, and there is no "
            f"{DEFAULT_DATA} here",
            hint="Name a training set; "
            f"`/finetune dataset --gold FILE save to {DEFAULT_DATA}` makes it.",
        )
    Screen().notice(f"no training set is given: using {DEFAULT_DATA}")
    return DEFAULT_DATA


if __name__ == "__main__":
    # The first entry of `sys.path` is the folder of this file or, with `-m`, the current folder.
    # Import from the root of the project instead.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    import agent

    agent.forget_current_folder()
    agent.end_on_ctrl_c()
    if (code := agent.hand_over(str(Path(__file__).resolve()))) is not None:
        sys.exit(code)
    sys.exit(main())
