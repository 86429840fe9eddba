"""The conversation with the producer model, which chat and prompt skills share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.models.backends.base import Message


@dataclass(slots=True)
class Conversation:
    """The finished turns of a conversation.

    Attributes:
        messages: messages of all turns, without a system message. Each turn begins with the user's
            message and is complete: each tool call has its result.
        skills: names of the skills whose instructions are part of the conversation, in the order
            of their activation, with the text that they were activated with.
        session: id of the stored session; None if the conversation is not stored.
    """

    messages: list[Message] = field(default_factory=list)
    skills: dict[str, str] = field(default_factory=dict)
    session: int | None = None

    def add(self, messages: Iterable[Message]) -> None:
        """Add the messages of a turn."""
        self.messages += messages

    def activate(self, skill: str, text: str) -> None:
        """Make a skill the one that was activated last."""
        self.skills.pop(skill, None)
        self.skills[skill] = text

    def forget(self) -> None:
        """Start a new conversation."""
        self.messages.clear()
        self.skills.clear()
        self.session = None
