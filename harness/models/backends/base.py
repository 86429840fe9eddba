"""The one protocol of all backends: probe cheaply, load, generate with a deadline.

A backend answers three questions about a `ServeEntry` of the registry: could it serve (`probe`),
give me the model (`load`), and, of the model, generate (`generate`). Nothing here knows a server.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from harness.models.schema import ServeEntry

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length"]
OnText = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Tool:
    """What a model may call: `parameters` is the JSON Schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to have a tool run.

    Attributes:
        arguments: as the model wrote them. They should be a JSON object, and need not be.
        id: what its result is told by; "" where the server gives none.
    """

    name: str
    arguments: str
    id: str = ""

    @property
    def sendable(self) -> Mapping[str, Any]:
        """The arguments as an object, empty if they are none: servers refuse to be told anything
        else, even in what the model itself said."""
        try:
            parsed = json.loads(self.arguments)
        except (ValueError, RecursionError):
            return {}
        return parsed if isinstance(parsed, dict) else {}


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    Attributes:
        tool_calls: what the assistant wants to have run.
        answers: of a message with the role "tool", the call whose result it is.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    answers: ToolCall | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One generation.

    Attributes:
        messages: the conversation; the last one is the user's, or the result of a tool.
        max_tokens: completion tokens at most; reaching it gives finish_reason "length".
        temperature: 0 is greedy.
        stop: texts that end the completion; they are not part of it.
        json_schema: the completion must be JSON under this schema; every backend honours it.
        grammar: an LLGuidance grammar; only models with `takes_grammar` honour it.
        deadline: seconds the whole generation may take.
        prefill: the beginning of the completion, which the model goes on from; it is not part of
            `Reply.text`. It is sent as it is: whether it ends in a blank decides what follows.
        top_logprobs: how many alternatives to tell for each token of the completion. A server that
            tells 20 at most tells 20.
        slot: which of the model's slots serves it, 0 to `Model.slots` - 1: requests that begin
            alike find their beginning read there. Servers choose by themselves.
        tools: what the model may call instead of answering; only models with `takes_tools` honour
            it.

    Raises:
        ValueError: fields that contradict each other, or a negative number.
    """

    messages: tuple[Message, ...]
    max_tokens: int = 1024
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    json_schema: Mapping[str, Any] | None = None
    grammar: str | None = None
    deadline: float = 600.0
    prefill: str = ""
    top_logprobs: int = 0
    slot: int | None = None
    tools: tuple[Tool, ...] = ()

    def __post_init__(self) -> None:
        if self.json_schema is not None and self.grammar is not None:
            raise ValueError("a request takes a json_schema or a grammar, not both")
        if self.tools and (self.json_schema is not None or self.grammar is not None):
            raise ValueError("a request takes tools, or a json_schema or grammar, not both")
        if self.top_logprobs < 0:
            raise ValueError(f"top_logprobs is {self.top_logprobs}, and must not be negative")
        if self.slot is not None and self.slot < 0:
            raise ValueError(f"slot is {self.slot}, and must not be negative")

    @property
    def conversation(self) -> tuple[Message, ...]:
        """The messages as they are sent: with `prefill` as a last one of the assistant."""
        if not self.prefill:
            return self.messages
        return (*self.messages, Message("assistant", self.prefill))


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a completion.

    Attributes:
        text: as of `Reply.logprobs`.
        logprob: the natural logarithm of its probability, of the kind that `Reply.logprobs` tells.
            A very small number stands for 0: llama.cpp's is -3.4e38, and OpenAI tells -9999 of
            every token that is not among the likeliest.
    """

    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished completion. Tokens are the engine's own counts; `seconds` is wall time.

    `prompt_tokens` includes `cached_tokens`, those the engine did not have to evaluate again.

    Attributes:
        logprobs: for each token of the completion, the texts of its `Request.top_logprobs` most
            likely alternatives with the natural logarithm of their probability, most likely first.
            Empty where a server tells none. "" stands for the end of the answer. A character whose
            bytes took several tokens has one entry, that of the last; bytes that are no whole
            character stand as U+FFFD. The embedded engine tells the model's own probabilities,
            before sampling and before a schema or grammar; of a server that is hoped, not known.
        tokens: the tokens of the completion themselves, told where `Request.top_logprobs` are asked
            for, also by a server that tells no alternatives. Under a schema or grammar that allows
            one text alone they tell how likely the model holds that text to be.
        tool_calls: what the model wants to have run before it answers, in its order. Those of an
            answer that was cut at `Request.max_tokens` may be cut too.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cached_tokens: int = 0
    logprobs: tuple[Mapping[str, float], ...] = ()
    tokens: tuple[Token, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether an entry could serve now, and why (not): "98 MB to download"."""

    available: bool
    reason: str = ""


class Model(Protocol):
    """A model that is ready to generate.

    Threads may generate at the same time, and each generation ends by itself: one that fails or is
    cancelled never takes another along.

    Attributes:
        takes_grammar: whether `Request.grammar` is honoured.
        takes_tools: whether `Request.tools` is honoured. Where a server does not tell before it is
            asked, this is True until it has refused a request for its tools; that request is then
            answered without them, and a `tools_refused` tells the user in which words. A model that
            has no such attribute takes none.
        slots: how many generations are served at once; any more of them wait.
        digests: sha256 of what is served, by role: {"gguf": ..., "adapter": ...} or
            {"ollama": ...}; empty where a server does not tell.
    """

    takes_grammar: bool
    slots: int
    digests: Mapping[str, str]

    @property
    def takes_tools(self) -> bool: ...

    @property
    def context(self) -> int | None:
        """Tokens of context of one slot, prompt and completion together; None: not known.

        Raises:
            GenerationFailed: the engine does not answer.
        """

    def count_tokens(self, request: Request) -> int | None:
        """Tokens of the prompt after the chat template: what `Reply.prompt_tokens` will be.

        Returns: None where a server has no way to tell.

        Raises:
            SkillFailed: the engine refuses the messages.
            GenerationFailed: the engine does not answer.
        """

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Generate, handing each piece of text to `on_text` as it comes.

        Raises:
            ModelUnavailable: the server cannot be reached or has no such model (nothing came yet).
            ModelBusy: the server's queue is full.
            InputError: the prompt does not fit the model's context.
            SkillFailed: the request itself is refused, such as a schema that the engine does not
                know; asking again cannot help.
            GenerationFailed: an error or a cut after the generation began.
            DeadlineExceeded: `request.deadline` passed.
            Interrupted: `cancel` was set.
            KeyboardInterrupt: Ctrl-C; the engine has been told to stop.
            ValueError: the model has no slot of that number.
        """

    def close(self) -> None:
        """Free the model. Calling it twice is allowed."""


class Backend(Protocol):
    """Where models are served."""

    name: str

    def probe(self, entry: ServeEntry) -> Availability:
        """Say whether `entry` could serve, within about a second and without loading anything."""

    def load(self, entry: ServeEntry, slots: int | None = 1) -> Model:
        """Make `entry` ready.

        Args:
            slots: generations to serve at once, 1 or more; None: as many as the place is good for.

        Raises:
            ModelUnavailable: it is absent, or cannot be loaded or reached.
            ChecksumMismatch: a file is not the one the registry names.
        """
