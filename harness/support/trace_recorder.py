"""Record spans with opentelemetry, and export the spans.

`harness.support.traces` describes the spans, and imports this module if traces are on.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry import context, trace

from harness._version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from harness.models.backend import Message, Reply, Request, ToolCall
    from harness.models.served import ServedModel

FIRST_ROWS, EACH_ROW = 20, 100
"""The first `FIRST_ROWS` tasks of a job are traced, and then one in `EACH_ROW` tasks."""
TIMEOUT = 3
"""Maximum number of seconds of an export, unless an environment variable sets a timeout."""
PATIENCE = 4.0
"""Maximum number of seconds that the end of the program waits for the last export."""
SHOWN = 400
"""Maximum number of characters of a problem in a notice."""
_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class _Problems(logging.Handler):
    """Keeps the first warning of the SDK, for example about a failed export.

    Without a handler, the warnings are printed to stderr.
    """

    first = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or record.getMessage()


_problems = _Problems(logging.WARNING)


def exporting(exporters: set[str]) -> TracerProvider:
    """Return a provider that exports spans with the named exporters.

    Args:
        exporters: a set with "otlp", "console" or both; an empty set means "otlp".
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import (
        BatchSpanProcessor,
        ConsoleSpanExporter,
        SimpleSpanProcessor,
    )

    log = logging.getLogger("opentelemetry")
    log.addHandler(_problems)
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
        console = ConsoleSpanExporter(out=sys.stderr, formatter=lambda s: s.to_json(None) + "\n")
        provider.add_span_processor(SimpleSpanProcessor(console))
    return provider


@dataclass(slots=True)
class RecordedSpan:
    """A span that is recorded; `traces.Unrecorded` describes the methods.

    Attributes:
        content: True if the texts of prompts, answers and tool calls are recorded.
    """

    span: trace.Span
    content: bool

    def set(self, **attributes: Any) -> None:
        self.span.set_attributes(_dotted(attributes))

    def failed(self, kind: str) -> None:
        # the message of the error is not recorded, since it may quote a prompt or an answer
        self.span.set_attribute("error.type", kind)
        self.span.set_status(trace.StatusCode.ERROR)

    def replied(self, reply: Reply) -> None:
        reason = "tool_calls" if reply.tool_calls else reply.finish_reason
        self.set(
            gen_ai__response__finish_reasons=[reason],
            gen_ai__usage__input_tokens=reply.prompt_tokens,
            gen_ai__usage__output_tokens=reply.completion_tokens,
            gen_ai__usage__cache_read__input_tokens=reply.cached_tokens or None,
        )
        if self.content:
            parts = [{"type": "text", "content": reply.text}, *map(_call_part, reply.tool_calls)]
            answer = {"role": "assistant", "parts": parts, "finish_reason": reason}
            self.set(gen_ai__output__messages=_json([answer]))

    def answered(self, content: str, code: int) -> None:
        if code:
            self.failed(f"exit_{code}")
        if self.content:
            self.set(gen_ai__tool__call__result=content)


class Recorder:
    """Records spans with a provider of opentelemetry."""

    def __init__(self, provider: TracerProvider) -> None:
        setting = os.environ.get(_CONTENT, "").strip().lower()
        self._content = setting in ("true", "span_only", "span_and_event")
        self._provider = provider
        self._tracer = provider.get_tracer("nanda-harness", __version__)

    def end(self, notice: Callable[[str], None]) -> None:
        """Send the last spans within `PATIENCE` seconds.

        Args:
            notice: called with a message if spans could not be sent.
        """
        ending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(PATIENCE)
        if _problems.first or ending.is_alive():
            reason = " ".join(_problems.first.split())[:SHOWN] or f"no answer within {PATIENCE:g} s"
            notice(f"traces were not sent: {reason}")

    @contextlib.contextmanager
    def span(
        self, name: str, *, client: bool = False, texts: Mapping[str, Any] = {}, **attributes: Any
    ) -> Iterator[RecordedSpan]:
        """Record the block as a span.

        Args:
            client: True for a request to a server.
            texts: attributes with prompts, answers or tool calls, which are recorded only if
                `RecordedSpan.content` is True.
            attributes: the attributes of the span; `__` in a name stands for a dot.
        """
        with self._tracer.start_as_current_span(
            name,
            kind=trace.SpanKind.CLIENT if client else trace.SpanKind.INTERNAL,
            attributes=_dotted({**attributes, **(texts if self._content else {})}),
            record_exception=False,  # the message may quote a prompt or an answer
            set_status_on_exception=False,
        ) as span:
            traced = RecordedSpan(span, self._content)
            try:
                yield traced
            except BaseException as exc:
                traced.failed(type(exc).__name__)
                raise

    def generation(
        self, served: ServedModel, request: Request
    ) -> contextlib.AbstractContextManager[RecordedSpan]:
        """Return a context manager that records its block as a request to a model."""
        serve, model = served.resolution.chosen.serve, served.resolution.resolved
        server = urlsplit(served.place) if "://" in served.place else urlsplit("")
        texts: dict[str, Any] = {}
        if self._content:
            system = [m.content for m in request.messages if m.role == "system"]
            others = [_message(m) for m in request.conversation if m.role != "system"]
            instructions = [{"type": "text", "content": text} for text in system]
            texts["gen_ai__input__messages"] = _json(others)
            texts["gen_ai__system_instructions"] = _json(instructions) if system else None
        return self.span(
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
            texts=texts,
        )

    def rows(self, perform: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a function that calls `perform` with a task, and records the task as a span.

        The first `FIRST_ROWS` tasks are sampled, and then one in `EACH_ROW` tasks. The other
        tasks have a parent that is not sampled. They and their generations are recorded only by a
        sampler that ignores the parent, such as `OTEL_TRACES_SAMPLER=always_on`.
        """
        parent, numbers = context.get_current(), itertools.count()
        of_run = trace.get_current_span(parent).get_span_context()
        unsampled = trace.SpanContext(of_run.trace_id, of_run.span_id, is_remote=False)
        unsampled_parent = trace.set_span_in_context(trace.NonRecordingSpan(unsampled), parent)

        def traced(task: Any) -> Any:
            number = next(numbers)
            sampled = number < FIRST_ROWS or number % EACH_ROW == 0
            token = context.attach(parent if sampled else unsampled_parent)
            try:
                with self.span("row", nanda__row=number):
                    return perform(task)
            finally:
                context.detach(token)

        return traced

    def evaluated(self, name: str, score: float | None, attributes: Mapping[str, Any]) -> None:
        """Add an evaluation result to the current span, as an event."""
        result = {"gen_ai__evaluation__name": name, "gen_ai__evaluation__score__value": score}
        event = _dotted({**attributes, **result})
        trace.get_current_span().add_event("gen_ai.evaluation.result", event)


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
    return {"type": "tool_call", "id": call.id, "name": call.name, "arguments": dict(call.sendable)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
