"""/word-count: count words and check a limit, without a model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from pydantic import Field

from harness import Call, Result, Skill, SkillOptions, hookimpl

_SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s|\Z)")


def counts(text: str) -> dict[str, int]:
    """Return the counts; a word is separated by blanks and has a letter or a digit."""
    words = [word for word in text.split() if any(map(str.isalnum, word))]
    sentences = len(_SENTENCE_END.findall(text.strip()))
    return {
        "words": len(words),
        "sentences": max(sentences, 1) if words else 0,
        "characters": len(" ".join(text.split())),
    }


class WordCount(Skill):
    name = "word-count"
    summary = "Count words, sentences and characters, and check a limit"
    usage = "TEXT|FILE"
    saves = (".json", ".txt")

    class Options(SkillOptions):
        limit: int | None = Field(
            None, ge=1, description="words allowed; where there are more, the exit code is 1"
        )

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        return ""  # a run changes nothing except the file it saves

    def run(self, call: Call) -> Result:
        found = counts(call.read_text())
        lines = [f"{found[unit]:,} {unit}" for unit in found]
        data: dict[str, int] = dict(found)
        over = 0
        if (limit := call.options.limit) is not None:
            over = max(found["words"] - limit, 0)
            data |= {"limit": limit, "over": over}
            lines.append(f"{over:,} over the limit of {limit:,}" if over else "within the limit")
        text = "\n".join(lines)
        renderers = {
            ".json": lambda: json.dumps(data, indent=2) + "\n",
            ".txt": lambda: text + "\n",
        }
        return Result(text, data, renderers, exit_code=1 if over else 0)


@hookimpl
def register_skills(register: Callable[[Skill], None]) -> None:
    register(WordCount())
