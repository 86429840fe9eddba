"""The protocol of backends: probe a serve entry, load a model, generate with a deadline."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from harness.models.registry import ServeEntry

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length"]
OnText = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a model may call; `parameters` is the JSON Schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call requested by a model.

    Attributes:
        arguments: the text that the model generated, which should be a JSON object.
        id: the id that the server gave the call, or "". The message with the result repeats the id.
    """

    name: str
    arguments: str
    id: str = ""

    @property
    def sendable(self) -> Mapping[str, Any]:
        """The arguments as parsed JSON; {} if they are not a JSON object."""
        try:
            parsed = json.loads(self.arguments)
        except (ValueError, RecursionError):
            return {}
        return parsed if isinstance(parsed, dict) else {}


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a conversation.

    Attributes:
        tool_calls: the tool calls requested by the assistant.
        answers: for the role "tool", the call whose result is in `content`.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    answers: ToolCall | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a generation.

    Attributes:
        messages: the conversation; the last message is the user's, or the result of a tool.
        max_tokens: maximum number of completion tokens; at the maximum, finish_reason is "length".
        temperature: the sampling temperature; 0 selects the most likely token.
        stop: texts that end the completion, and are not part of it.
        json_schema: a JSON Schema that constrains the completion.
        grammar: an LLGuidance grammar; ignored by models without `takes_grammar`.
        deadline: time limit of the generation in seconds.
        prefill: the beginning of the completion, which the model continues; it is not part of
            `Reply.text`. It is sent unchanged: a trailing blank affects the completion.
        top_logprobs: number of alternatives to report for each token of the completion; a server
            may report fewer.
        slot: the slot of the embedded engine, 0 to `Model.slots` - 1; None for any slot. A request
            is faster in a slot whose last prompt has the same beginning. Servers ignore the field.
        tools: the tools that the model may call instead of answering; ignored by models without
            `takes_tools`.
        without_tools: called, perhaps in another thread, if the server refuses `tools`; returns the
            messages to send instead. If the field is None, the same messages are sent.

    Raises:
        ValueError: more than one of `json_schema`, `grammar` and `tools` is set, or `top_logprobs`
            or `slot` is negative.
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
    without_tools: Callable[[], tuple[Message, ...]] | None = None

    def __post_init__(self) -> None:
        if self.json_schema is not None and self.grammar is not None:
            raise ValueError("a request may have a json_schema or a grammar, not both")
        if self.tools and (self.json_schema is not None or self.grammar is not None):
            raise ValueError("a request may have tools, or a json_schema or grammar, not both")
        if self.top_logprobs < 0:
            raise ValueError(f"top_logprobs is {self.top_logprobs}; it must not be negative")
        if self.slot is not None and self.slot < 0:
            raise ValueError(f"slot is {self.slot}; it must not be negative")

    @property
    def conversation(self) -> tuple[Message, ...]:
        """The messages to send: `messages`, and `prefill`, if set, as the assistant's answer."""
        if not self.prefill:
            return self.messages
        return (*self.messages, Message("assistant", self.prefill))


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a completion.

    Attributes:
        text: the text of the token; see `Reply.logprobs` for incomplete characters.
        logprob: the natural logarithm of the token's probability. llama.cpp reports -3.4e38 for a
            probability of 0. OpenAI reports -9999 for a token that is not among the most likely
            tokens.
    """

    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished completion.

    The engine counts the tokens; `seconds` is the elapsed time. `prompt_tokens` includes
    `cached_tokens`, which the engine did not have to evaluate again.

    Attributes:
        logprobs: for each token of the completion, a mapping from the texts of the most likely
            alternatives to the natural logarithms of their probabilities, most likely first.
            `Request.top_logprobs` is the requested number of alternatives. The tuple is empty if
            the server reports no alternatives. The text "" represents the end of the answer. If the
            bytes of a character are in several tokens, only the last of these tokens is listed; an
            incomplete character is U+FFFD. The embedded engine reports the probabilities before
            sampling, and before a schema or grammar is applied; servers may differ.
        tokens: the tokens of the completion, if `Request.top_logprobs` is set; some servers report
            these tokens without alternatives. If a schema or grammar allows only one text, the
            probabilities of its tokens show how likely the model considers this text.
        tool_calls: the tool calls that the model requests before it answers. If the answer was cut
            at `Request.max_tokens`, the calls may be incomplete.
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
    """Whether a serve entry can serve now.

    Attributes:
        reason: why the entry cannot serve, or a remark, such as "98 MB to download".
        absent: True if the entry has neither an address nor a digest, and the default server does
            not run or lacks the model. For example, Ollama is not installed. If another entry of
            the same model serves, `reason` is recorded, but not announced.
    """

    available: bool
    reason: str = ""
    absent: bool = False


class Model(Protocol):
    """A model that is ready to generate.

    Threads may generate concurrently. A generation that fails or is cancelled does not affect other
    generations.

    Attributes:
        takes_grammar: True if `Request.grammar` is supported.
        takes_tools: True if `Request.tools` is supported. If a server does not report whether it
            supports tools, `takes_tools` is True until the server refuses a request with tools.
            That request is then sent again without tools (`Request.without_tools`), and the
            attribute `tools_refused` contains the server's message. A model without the attribute
            `takes_tools` does not support tools.
        slots: the number of generations to run concurrently; further generations may wait.
        digests: the digests by role, such as {"gguf": ..., "adapter": ...} or {"ollama": ...};
            empty if a server does not report digests.

    A model may have more attributes. `continues_prefill` is False if requests with
    `Request.prefill` are refused. `place` contains the names of the model's files, or the model's
    name and the address of its server; it is reported with each run. `in_process` is True if the
    weights are in the memory of this process. The method `report_to(notice)` is called before each
    run; the model then calls `notice`, in any thread, with a line about each change of its servers.
    """

    takes_grammar: bool
    slots: int
    digests: Mapping[str, str]

    @property
    def takes_tools(self) -> bool: ...

    @property
    def context(self) -> int | None:
        """Maximum number of tokens of prompt and completion together in one slot; None if unknown.

        Raises:
            GenerationFailed: the engine does not answer.
        """

    def count_tokens(self, request: Request) -> int | None:
        """Return the number of tokens of the prompt with the chat template, or None if unknown.

        The result equals the later `Reply.prompt_tokens`.

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
        """Generate and return a reply, passing each piece of text to `on_text` as it arrives.

        Raises:
            ModelUnavailable: the server cannot be reached or has no such model.
            ModelBusy: the server's queue is full.
            InputError: the prompt does not fit the model's context.
            SkillFailed: the request is refused, for example because of an unsupported schema; a
                retry does not help.
            GenerationFailed: an error occurred, or the connection was closed, after the generation
                began.
            DeadlineExceeded: `request.deadline` passed, or a server's answer made no progress.
            Interrupted: `cancel` was set.
            KeyboardInterrupt: Ctrl-C was pressed; a stop of the generation has been requested.
            ValueError: the model has no slot `request.slot`.
        """

    def close(self) -> None:
        """Free the model. The method may be called twice."""


class Backend(Protocol):
    """An engine, or a type of server, that runs models."""

    name: str

    def probe(self, entry: ServeEntry) -> Availability:
        """Return whether `entry` could serve.

        The check takes at most a few seconds, and does not load the model.
        """

    def load(self, entry: ServeEntry, slots: int | None = 1) -> Model:
        """Load and return the model of `entry`.

        Args:
            slots: number of concurrent generations, 1 or more. None means `entry.slots`, or the
                default of the backend if `entry.slots` is not set.

        Raises:
            ModelUnavailable: the model is missing, or cannot be loaded or reached.
            ChecksumMismatch: a file does not match the SHA-256 in the registry.
        """
