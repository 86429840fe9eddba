"""Placeholders in the instructions of a skill, as other clients define them.

    $ARGUMENTS                what the user wrote after the name
    $1, $2, ...               its words, of which a quoted one may contain blanks
    {baseDir}, ${CLAUDE_SKILL_DIR}    the skill's folder
    ${CLAUDE_PLUGIN_ROOT}     the folder of the plugin that contains it, or else its own

A placeholder of a word that is missing is left as it is, and so is a price such as $1.50.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

PLUGIN = ".claude-plugin"
"""The folder that marks a plugin of another client."""
LEVELS = 6
"""Folders above a skill that are searched for it."""
_PLACEHOLDER = re.compile(
    r"(?P<all>\$ARGUMENTS\b)|\$(?P<number>[1-9]\d?)(?!\d|[.,]\d)"
    r"|(?P<own>\{baseDir\}|\$\{CLAUDE_SKILL_DIR\})|(?P<plugin>\$\{CLAUDE_PLUGIN_ROOT\})"
)


def substitute(body: str, arguments: str, folder: Path) -> str:
    """Return the body with its placeholders replaced; what is inserted is not searched again."""
    words = _words(arguments)

    def value(match: re.Match[str]) -> str:
        if match["all"]:
            return arguments
        if match["number"]:
            place = int(match["number"]) - 1
            return words[place] if place < len(words) else match[0]
        return str(folder if match["own"] else _plugin_root(folder))

    return _PLACEHOLDER.sub(value, body)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an apostrophe, as in "don't"
        return text.split()


def _plugin_root(folder: Path) -> Path:
    above = (folder, *folder.parents[:LEVELS])
    return next((place for place in above if (place / PLUGIN).is_dir()), folder)
