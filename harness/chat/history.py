"""A conversation as it is sent to a model: as much of it as fits, and in a form the model takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.models.backends.base import Message
from harness.models.pool import BYTES_PER_TOKEN

LEFT_OUT = "(left out: the conversation is too long)"
CUT = "... (cut: the conversation is too long)"


def fit(turns: Sequence[Message], tokens: int) -> tuple[Message, ...]:
    """The newest turns that fit into about `tokens`, each from the user's message on.

    The last turn is kept in any case; of its results of tools the oldest are left out, and then the
    newest is cut, where it is too long by itself.
    """
    room = tokens * BYTES_PER_TOKEN
    *earlier, last = _turns(turns)
    last = _shortened(last, room)
    room -= _size(last)
    kept: list[Message] = []
    for turn in reversed(earlier):
        room -= _size(turn)
        if room < 0:
            break
        kept[:0] = turn
    return (*kept, *last)


def without_tools(turns: Sequence[Message]) -> list[Message]:
    """What was said, for a model that knows no tools: no calls, and no results of them."""
    said: list[Message] = []
    for message in turns:
        if message.role == "tool" or not (message.content or message.role == "user"):
            continue
        if said and said[-1].role == message.role == "assistant":  # before a call, and after it
            said[-1] = Message("assistant", f"{said[-1].content}\n{message.content}")
        else:
            said.append(Message(message.role, message.content))
    return said


def _turns(messages: Sequence[Message]) -> list[list[Message]]:
    """The messages, parted before each of the user's."""
    turns: list[list[Message]] = []
    for message in messages:
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def _shortened(turn: list[Message], room: int) -> list[Message]:
    turn = list(turn)
    results = [i for i, message in enumerate(turn) if message.role == "tool"]
    for i in results[:-1]:
        if _size(turn) <= room:
            break
        turn[i] = replace(turn[i], content=LEFT_OUT)
    over = _size(turn) - room
    if results and over > 0:
        newest = turn[results[-1]]
        told = newest.content.encode()
        kept = told[: max(0, len(told) - over - len(CUT))].decode(errors="ignore")
        turn[results[-1]] = replace(newest, content=kept + CUT)
    return turn


def _size(messages: Sequence[Message]) -> int:
    return sum(
        len(text.encode())
        for message in messages
        for text in (message.content, *(c.name + c.arguments for c in message.tool_calls))
    )
