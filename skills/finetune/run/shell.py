"""The words of a shell as a line of the harness, for the commands that have a name of their own.

They are the same command: a line goes through `harness.cli`, with its options and exit codes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from harness.errors import HarnessError, UsageError


def run(as_line: Callable[[list[str]], str], argv: Sequence[str] | None = None) -> int:
    """Run the line that `as_line` makes of the words; return its exit code.

    Args:
        argv: the words; None for those of this process, which is then all the command's own.
    """
    from harness.cli import main
    from harness.runs.render import print_error
    from harness.terminal.console import Screen

    try:
        if argv is None:
            return main.command([as_line(sys.argv[1:])])
        return main.main([as_line(list(argv))])
    except HarnessError as error:
        print_error(error, Screen())
        return error.exit_code


def quoted(word: str) -> str:
    """A word of a shell as a value of a line.

    Raises:
        UsageError: it has both kinds of quotes, or a line break.
    """
    quote = "'" if '"' in word else '"'
    if quote in word or "\n" in word:
        raise UsageError(f"{word[:60]!r} cannot be quoted", hint="Rename the file.")
    return f"{quote}{word}{quote}"
