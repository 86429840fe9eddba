"""The rows of a data set, read from a file of whoever made it.

A line is a JSON object of one of these, the first being what `/finetune dataset` writes:

    {"prompt": "...", "completion": "...", "system": "...", "id": ..., "source": ..., ...}
    {"prompt": [{"role": ..., "content": ...}, ...], "completion": [{"role": "assistant", ...}]}
    {"messages": [{"role": ..., "content": ...}, ..., {"role": "assistant", "content": ...}]}

What a row does not say is taken to be: no system text, source gold, weight 1, and for an id the
beginning of the digest of what the user says. Other keys are not looked at.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from harness.errors import InputError
from harness.support.text_input import place, regular_file, text_lines
from skills.corpus.tables.reader import paper_key
from skills.finetune.data.annotation_pairs import chat_messages
from skills.finetune.data.rows import SOURCES, Source
from skills.nanda.paper import abstract_digest, own_id

ROLES = ("system", "user", "assistant")
Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Example:
    """A row.

    Attributes:
        sha256: of the abstract, or of what the user says, on one line.
        messages: what the model is told, for a chat template.
        where: file and line.
    """

    id: str
    source: Source
    weight: float
    sha256: str
    messages: Messages
    completion: str
    where: str

    @property
    def key(self) -> str:
        """The paper, as papers are told apart."""
        return paper_key(self.id)


def read_examples(path: Path) -> list[Example]:
    """All rows of a data set.

    Raises:
        InputError: naming file and line: the line is no JSON object, or none of the forms; a part
            is missing or empty; or there is no row.
    """
    rows = []
    for number, line in enumerate(text_lines(regular_file(path)), start=1):
        if line.strip():
            where = place(path, "line", number)
            rows.append(_example(_object(line, where), where))
    if not rows:
        raise InputError(
            "has no rows", where=str(path), hint="`/finetune dataset ... save to FILE` makes some."
        )
    return rows


def _object(line: str, where: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise InputError(f"is no JSON: {exc}", where=where) from exc
    if not isinstance(found, dict):
        raise InputError(f"is no JSON object but a {type(found).__name__}", where=where)
    return found


def _example(row: Mapping[str, Any], where: str) -> Example:
    messages, completion = _conversation(row, where)
    said = messages[-1]["content"]
    source, weight = row.get("source") or "gold", row.get("weight", 1.0)
    if source not in SOURCES:
        raise InputError(
            f"has the source {source!r}", where=where, hint=f"It is one of {', '.join(SOURCES)}."
        )
    number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    if not number or not math.isfinite(weight) or weight <= 0:
        raise InputError(f"has the weight {weight!r}", where=where, hint="It is a number above 0.")
    own = row.get("id")
    sha256 = row.get("sha256")
    return Example(
        own_id(said) if own is None or own == "" else str(own),
        cast("Source", source),
        float(weight),
        sha256 if isinstance(sha256, str) and sha256 else abstract_digest(said),
        messages,
        completion,
        where,
    )


def _conversation(row: Mapping[str, Any], where: str) -> tuple[Messages, str]:
    """What the model is told, and what it should answer."""
    if "messages" in row and not {"prompt", "completion"} & row.keys():
        *messages, last = _messages(row["messages"], "messages", where)
        completion = [last]
    elif "prompt" not in row or "completion" not in row or "messages" in row:
        raise _untold(row, where)
    elif isinstance(row["prompt"], str) and isinstance(row["completion"], str):
        return _texts(row, where), _filled(row["completion"], "completion", where)
    else:
        messages = _messages(row["prompt"], "prompt", where)
        completion = _messages(row["completion"], "completion", where)
    if len(completion) != 1 or completion[0]["role"] != "assistant":
        raise InputError("does not end with one message of the assistant", where=where)
    if not messages or messages[-1]["role"] != "user":
        raise InputError("has no message of the user before the assistant's", where=where)
    return messages, completion[0]["content"]


def _untold(row: Mapping[str, Any], where: str) -> InputError:
    lacking = [name for name in ("prompt", "completion") if name not in row]
    keys = ", ".join(map(str, row))[:120] or "none"
    one = len(lacking) == 1 and "messages" not in row
    return InputError(
        f"has no {lacking[0]}"
        if one
        else f"has the keys {keys}, of which no prompt and completion can be told",
        where=where,
        hint="A row has prompt and completion, or messages that end with the assistant's.",
    )


def _texts(row: Mapping[str, Any], where: str) -> Messages:
    prompt = _filled(row["prompt"], "prompt", where)
    if row.get("system") is None:
        return [{"role": "user", "content": prompt}]
    return chat_messages({"system": _filled(row["system"], "system", where), "prompt": prompt})


def _messages(found: object, name: str, where: str) -> Messages:
    if not isinstance(found, list) or not found:
        raise InputError(f"its {name} is neither a text nor a list of messages", where=where)
    return [_message(one, name, where) for one in found]


def _message(found: object, name: str, where: str) -> dict[str, str]:
    if not isinstance(found, dict) or found.get("role") not in ROLES:
        raise InputError(
            f"its {name} holds what is no message",
            where=where,
            hint=f"A message has content and a role: {', '.join(ROLES)}.",
        )
    content = _filled(found.get("content"), f"message in {name}", where)
    return {"role": str(found["role"]), "content": content}


def _filled(text: object, name: str, where: str) -> str:
    if not isinstance(text, str):
        raise InputError(f"its {name} is no text but a {type(text).__name__}", where=where)
    if not text.strip():
        raise InputError(f"its {name} is empty", where=where)
    return text
