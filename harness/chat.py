"""A turn of chat with the producer model; the conversation lives as long as the process."""

from __future__ import annotations

from pydantic import Field

from harness.backends.base import Message, Reply
from harness.errors import UsageError
from harness.models import ServedModel
from harness.skills import Call, Result, Skill, SkillOptions

MAX_TOKENS = 1024
CHARACTERS_PER_TOKEN = 3
"""On the safe side of the 4 or so of English text: a turn too many is dropped, never refused."""


class Chat(Skill):
    """Plain text goes here; `/chat` does too."""

    name = "chat"
    summary = "Talk to the producer model; plain text without a slash does the same"
    text = "optional"
    saves = (".md", ".txt")

    class Options(SkillOptions):
        new: bool = Field(False, description="forget the conversation so far")

    def __init__(self) -> None:
        self._turns: list[Message] = []

    def run(self, call: Call) -> Result:
        if call.options.new:
            self._turns.clear()
        if not call.text.strip():
            if call.options.new:
                return Result("The conversation is forgotten.")
            raise UsageError("there is nothing to say", hint="/chat TEXT")
        pieces: list[str] = []

        def show(piece: str) -> None:
            pieces.append(piece)
            call.screen.emit(piece)

        def answer(model: ServedModel) -> Reply:
            context = model.resolution.chosen.serve.context
            turns = fit([*self._turns, Message("user", call.text)], context - MAX_TOKENS)
            return model.generate(model.request(messages=turns, max_tokens=MAX_TOKENS), show)

        try:
            call.models.run("chat", answer)
        finally:  # an interrupted answer stays in the conversation as far as it came
            if pieces:
                said = Message("assistant", "".join(pieces))
                self._turns += [Message("user", call.text), said]
        text = "".join(pieces).strip()
        return Result(text, renderers={".md": lambda: text + "\n", ".txt": lambda: text + "\n"})


def fit(turns: list[Message], tokens: int) -> tuple[Message, ...]:
    """The newest turns that fit into about `tokens`, starting with one of the user's."""
    room = tokens * CHARACTERS_PER_TOKEN - len(turns[-1].content)
    kept = [turns[-1]]
    for turn in reversed(turns[:-1]):
        room -= len(turn.content)
        if room < 0:
            break
        kept.insert(0, turn)
    while kept[0].role != "user":
        kept.pop(0)
    return tuple(kept)
