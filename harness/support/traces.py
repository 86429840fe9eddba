"""Traces of runs, which follow OpenTelemetry's conventions for generative AI.

Traces are on if `OTEL_TRACES_EXPORTER` contains `console` or `otlp`; without this variable, traces
are on if `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set. With
`OTEL_SDK_DISABLED=true`, traces are off. If traces are off, opentelemetry is not imported.

    invoke_workflow NAME        a run of a command, or of a skill that a model calls
      row                       a task of a job; only some tasks are traced, see `rows`
        chat MODEL              a generation
      invoke_agent chat         a turn of a conversation
        chat MODEL
        execute_tool NAME       a call of a tool by the model

The texts of prompts and answers, and the arguments and results of tool calls, are recorded only if
`OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` is true, span_only or span_and_event.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from harness._version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

    from harness.models.backend import Message, Reply, Request, ToolCall
    from harness.models.served import ServedModel

T = TypeVar("T")
R = TypeVar("R")

FIRST_ROWS, EACH_ROW = 20, 100
"""The first `FIRST_ROWS` tasks of a job are traced, and then one in `EACH_ROW` tasks."""
TIMEOUT = 3
"""Maximum number of seconds of an export, unless an environment variable sets a timeout."""
PATIENCE = 4.0
"""Maximum number of seconds that the end of the program waits for the last export."""
SHOWN = 400
"""Maximum number of characters of a problem in a notice."""
_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def _is_wanted(variables: Mapping[str, str]) -> bool:
    """Return True if the environment variables turn traces on."""
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if exporters := _exporters(variables):
        return bool(exporters & {"console", "otlp"})
    names = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    return any(variables.get(name, "").strip() for name in names)


def _exporters(variables: Mapping[str, str]) -> set[str]:
    names = variables.get("OTEL_TRACES_EXPORTER", "").lower().split(",")
    return {name.strip() for name in names} - {""}


@dataclass(slots=True)
class _Tracing:
    """The state of tracing.

    Attributes:
        wanted: True if traces are recorded, or will be recorded from the first run on.
        content: True if texts are recorded.
        problem: the first warning of the SDK, for example about a failed export, or "".
    """

    wanted: bool
    content: bool = False
    provider: TracerProvider | None = None
    tracer: Tracer | None = None
    problem: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


_tracing = _Tracing(_is_wanted(os.environ))


@dataclass(slots=True)
class Traced:
    """A span that is recorded, or a placeholder if traces are off."""

    _span: Span | None = None

    def set(self, **attributes: Any) -> None:
        """Set attributes; `__` in a name stands for a dot, and None and "" are left out."""
        if self._span is not None:
            self._span.set_attributes(_dotted(attributes))

    def failed(self, kind: str) -> None:
        """Mark the span as failed, and set `kind` as the type of the error.

        The message of the error is not recorded, since it may contain texts.
        """
        if self._span is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_attribute("error.type", kind)
            self._span.set_status(StatusCode.ERROR)

    def replied(self, reply: Reply) -> None:
        """Record the reply of a model."""
        reason = "tool_calls" if reply.tool_calls else reply.finish_reason
        self.set(
            gen_ai__response__finish_reasons=[reason],
            gen_ai__usage__input_tokens=reply.prompt_tokens,
            gen_ai__usage__output_tokens=reply.completion_tokens,
            gen_ai__usage__cache_read__input_tokens=reply.cached_tokens or None,
        )
        if _tracing.content:
            parts = [{"type": "text", "content": reply.text}, *map(_call_part, reply.tool_calls)]
            answer = {"role": "assistant", "parts": parts, "finish_reason": reason}
            self.set(gen_ai__output__messages=_json([answer]))

    def answered(self, content: str, code: int) -> None:
        """Record the answer of a tool; an exit code other than 0 marks the call as failed.

        The content is recorded only if texts are recorded.
        """
        if code:
            self.failed(f"exit_{code}")
        if _tracing.content:
            self.set(gen_ai__tool__call__result=content)


def start(notice: Callable[[str], None]) -> None:
    """Prepare the recording of traces at the first run, if traces are on.

    Args:
        notice: called with a message if traces cannot be recorded.
    """
    if not _tracing.wanted:
        return
    with _tracing.lock:
        try:
            if _tracing.tracer is None:
                use(_provider(_exporters(os.environ)))
        except Exception as exc:  # noqa: BLE001  a variable of the SDK may have an invalid value
            _tracing.wanted = False
            install = 'run `pip install "nanda-harness[otel]"`'
            notice(f"traces are not recorded: {install if isinstance(exc, ImportError) else exc}")


def use(provider: TracerProvider) -> None:
    """Record all later traces with this provider, even if no variable turns traces on."""
    setting = os.environ.get(_CONTENT, "").strip().lower()
    _tracing.content = setting in ("true", "span_only", "span_and_event")
    _tracing.provider = provider
    _tracing.tracer = provider.get_tracer("nanda-harness", __version__)
    _tracing.wanted = True


def _provider(exporters: set[str]) -> TracerProvider:
    """Return a provider that exports spans with the named exporters.

    Args:
        exporters: a set with "otlp", "console" or both; an empty set means "otlp".
    """
    import logging

    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import (
        BatchSpanProcessor,
        ConsoleSpanExporter,
        SimpleSpanProcessor,
    )

    class Problems(logging.Handler):
        """Keeps the first warning of the SDK; without a handler, warnings are printed to stderr."""

        def emit(self, record: logging.LogRecord) -> None:
            _tracing.problem = _tracing.problem or record.getMessage()

    log = logging.getLogger("opentelemetry")
    log.addHandler(Problems(logging.WARNING))
    log.propagate = False
    named = "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    service = {"service.version": __version__}
    if not named and not os.environ.get("OTEL_SERVICE_NAME"):
        service["service.name"] = "nanda-harness"
    provider = TracerProvider(resource=Resource.create(service), shutdown_on_exit=False)
    if not exporters or "otlp" in exporters:
        names = "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"
        timeout = None if any(map(os.environ.get, names)) else TIMEOUT
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=timeout)))
    if "console" in exporters:
        import sys

        console = ConsoleSpanExporter(out=sys.stderr, formatter=lambda s: s.to_json(None) + "\n")
        provider.add_span_processor(SimpleSpanProcessor(console))
    return provider


def end(notice: Callable[[str], None]) -> None:
    """Send the last spans before the program ends, within `PATIENCE` seconds.

    Args:
        notice: called with a message if spans could not be sent.
    """
    provider = _tracing.provider
    if provider is None:
        return
    ending = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
    ending.start()
    ending.join(PATIENCE)
    if _tracing.problem or ending.is_alive():
        reason = " ".join(_tracing.problem.split())[:SHOWN] or f"no answer within {PATIENCE:g} s"
        notice(f"traces were not sent: {reason}")


@contextlib.contextmanager
def _span(name: str, *, client: bool = False, **attributes: Any) -> Iterator[Traced]:
    """Record the block as a span if traces are on.

    Args:
        client: True for a request to a server.
        attributes: the attributes of the span; `__` in a name stands for a dot.
    """
    if _tracing.tracer is None:
        yield Traced()
        return
    from opentelemetry.trace import SpanKind

    with _tracing.tracer.start_as_current_span(
        name,
        kind=SpanKind.CLIENT if client else SpanKind.INTERNAL,
        attributes=_dotted(attributes),
        record_exception=False,  # the message of an exception may contain texts
        set_status_on_exception=False,
    ) as span:
        traced = Traced(span)
        try:
            yield traced
        except BaseException as exc:
            traced.failed(type(exc).__name__)
            raise


def run(
    name: str, subcommand: str, door: str, run_id: int | None
) -> contextlib.AbstractContextManager[Traced]:
    """Return a context manager that records its block as a run of a skill."""
    workflow = f"{name} {subcommand}".rstrip()
    return _span(
        f"invoke_workflow {workflow}",
        gen_ai__operation__name="invoke_workflow",
        gen_ai__workflow__name=workflow,
        nanda__run__id=run_id,
        nanda__run__door=door,
    )


def turn(session: int | None) -> contextlib.AbstractContextManager[Traced]:
    """Return a context manager that records its block as a turn of a conversation.

    The model may call tools during the turn.
    """
    return _span(
        "invoke_agent chat",
        gen_ai__operation__name="invoke_agent",
        gen_ai__agent__name="chat",
        gen_ai__conversation__id=None if session is None else str(session),
    )


def tool(call: ToolCall) -> contextlib.AbstractContextManager[Traced]:
    """Return a context manager that records its block as a call of a tool by a model."""
    return _span(
        f"execute_tool {call.name}",
        gen_ai__operation__name="execute_tool",
        gen_ai__tool__name=call.name,
        gen_ai__tool__type="function",
        gen_ai__tool__call__id=call.id,
        gen_ai__tool__call__arguments=call.arguments if _tracing.content else None,
    )


def generation(served: ServedModel, request: Request) -> contextlib.AbstractContextManager[Traced]:
    """Return a context manager that records its block as a request to a model.

    `Traced.replied` records the reply.
    """
    if _tracing.tracer is None:
        return contextlib.nullcontext(Traced())
    serve, model = served.resolution.chosen.serve, served.resolution.resolved
    server = urlsplit(served.place) if "://" in served.place else urlsplit("")
    texts: dict[str, Any] = {}
    if _tracing.content:
        system = [m.content for m in request.messages if m.role == "system"]
        others = [_message(m) for m in request.conversation if m.role != "system"]
        instructions = [{"type": "text", "content": text} for text in system]
        texts["gen_ai__input__messages"] = _json(others)
        texts["gen_ai__system_instructions"] = _json(instructions) if system else None
    return _span(
        f"chat {model}",
        client=bool(server.hostname),
        gen_ai__operation__name="chat",
        gen_ai__provider__name=serve.backend,
        gen_ai__request__model=model,
        gen_ai__response__model=serve.where,
        gen_ai__request__max_tokens=request.max_tokens,
        gen_ai__request__temperature=request.temperature,
        gen_ai__request__seed=request.seed,
        gen_ai__request__stop_sequences=list(request.stop) or None,
        gen_ai__output__type="text" if request.json_schema is None else "json",
        server__address=server.hostname,
        server__port=server.port,
        **texts,
    )


def rows(perform: Callable[[T], R]) -> Callable[[T], R]:
    """Return a function that calls `perform` with a task, and records the task as a span.

    If traces are off, the result is `perform` itself.

    The first `FIRST_ROWS` tasks are sampled, and then one in `EACH_ROW` tasks. The other
    tasks have a parent that is not sampled. They and their generations are recorded only by a
    sampler that ignores the parent, such as `OTEL_TRACES_SAMPLER=always_on`.
    """
    if _tracing.tracer is None:
        return perform
    from opentelemetry import context, trace

    parent, numbers = context.get_current(), itertools.count()
    of_run = trace.get_current_span(parent).get_span_context()
    unsampled = trace.SpanContext(of_run.trace_id, of_run.span_id, is_remote=False)
    unsampled_parent = trace.set_span_in_context(trace.NonRecordingSpan(unsampled), parent)

    def traced(task: T) -> R:
        number = next(numbers)
        sampled = number < FIRST_ROWS or number % EACH_ROW == 0
        token = context.attach(parent if sampled else unsampled_parent)
        try:
            with _span("row", nanda__row=number):
                return perform(task)
        finally:
            context.detach(token)

    return traced


def evaluated(name: str, score: float | None, **attributes: Any) -> None:
    """Add an evaluation result to the current span, as an event."""
    if _tracing.tracer is None:
        return
    from opentelemetry import trace

    attributes |= {"gen_ai__evaluation__name": name, "gen_ai__evaluation__score__value": score}
    trace.get_current_span().add_event("gen_ai.evaluation.result", _dotted(attributes))


def _dotted(attributes: Mapping[str, Any]) -> dict[str, Any]:
    given = {name.replace("__", "."): value for name, value in attributes.items()}
    return {name: value for name, value in given.items() if value is not None and value != ""}


def _message(message: Message) -> dict[str, Any]:
    if message.answers is not None:
        answer = {"type": "tool_call_response", "response": message.content}
        return {"role": "tool", "parts": [{**answer, "id": message.answers.id}]}
    parts = [{"type": "text", "content": message.content}] if message.content else []
    return {"role": message.role, "parts": [*parts, *map(_call_part, message.tool_calls)]}


def _call_part(call: ToolCall) -> dict[str, Any]:
    called = {"type": "tool_call", "id": call.id, "name": call.name}
    return {**called, "arguments": dict(call.sendable)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
