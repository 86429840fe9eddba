"""Shortening and conversion of a conversation before it is sent to a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.models.backends.base import Message
from harness.models.served import BYTES_PER_TOKEN

LEFT_OUT = "(left out: the conversation is too long)"
CUT = "... (cut: the conversation is too long)"


def fit(messages: Sequence[Message], tokens: int) -> tuple[Message, ...]:
    """Return the newest turns within about `tokens`, each starting with the user's message.

    The last turn is always kept. If it is too long by itself, its oldest tool results are replaced
    first, and then the newest one is cut.
    """
    room = tokens * BYTES_PER_TOKEN
    *earlier, last = _turns(messages)
    last = _shortened(last, room)
    room -= _size(last)
    kept: list[Message] = []
    for turn in reversed(earlier):
        room -= _size(turn)
        if room < 0:
            break
        kept[:0] = turn
    return (*kept, *last)


def without_tools(messages: Sequence[Message]) -> list[Message]:
    """Return the conversation without tool calls and results, for a model without tools."""
    kept: list[Message] = []
    for message in messages:
        if message.role == "tool" or not (message.content or message.role == "user"):
            continue
        if kept and kept[-1].role == message.role == "assistant":  # before and after a call
            kept[-1] = Message("assistant", f"{kept[-1].content}\n{message.content}")
        else:
            kept.append(Message(message.role, message.content))
    return kept


def _turns(messages: Sequence[Message]) -> list[list[Message]]:
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
    excess = _size(turn) - room
    if results and excess > 0:
        newest = turn[results[-1]]
        content = newest.content.encode()
        kept = content[: max(0, len(content) - excess - len(CUT))].decode(errors="ignore")
        turn[results[-1]] = replace(newest, content=kept + CUT)
    return turn


def _size(messages: Sequence[Message]) -> int:
    return sum(
        len(text.encode())
        for message in messages
        for text in (message.content, *(c.name + c.arguments for c in message.tool_calls))
    )
