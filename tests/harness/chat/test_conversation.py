"""The conversation that chat and prompt skills share."""

from __future__ import annotations

from harness.chat.conversation import Conversation
from harness.models.backends.base import Message


def test_a_forgotten_conversation_is_a_new_one() -> None:
    conversation = Conversation([Message("user", "before")], {"review": ""}, 7)
    conversation.add([Message("assistant", "so far")])
    assert [m.content for m in conversation.messages] == ["before", "so far"]
    conversation.forget()
    assert conversation == Conversation()
