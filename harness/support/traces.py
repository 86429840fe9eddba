"""Traces of runs, which follow OpenTelemetry's conventions for generative AI.

Traces are on if `OTEL_TRACES_EXPORTER` contains `console` or `otlp`; without this variable, traces
are on if `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set. With
`OTEL_SDK_DISABLED=true`, traces are off. If traces are off, neither opentelemetry nor
`harness.support.trace_recorder` is imported, and the functions of this module do nothing.

    invoke_workflow NAME        a run of a command, or of a skill that a model calls
      row                       a task of a job; only some tasks are traced: see `Recorder.rows`
        chat MODEL              a generation
      invoke_agent chat         a turn of a conversation
        chat MODEL
        execute_tool NAME       a call of a tool by the model

The texts of prompts and answers, and the arguments and results of tool calls, are recorded only if
`OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` is true, span_only or span_and_event.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from harness.models.backend import Reply, Request, ToolCall
    from harness.models.served import ServedModel
    from harness.support.trace_recorder import RecordedSpan, Recorder

T = TypeVar("T")
R = TypeVar("R")


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
        recorder: records the spans; None if traces are off, and before the first run.
    """

    wanted: bool
    recorder: Recorder | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_tracing = _Tracing(_is_wanted(os.environ))


class Unrecorded:
    """The span that is used if traces are off: its methods do nothing.

    The docstrings of the methods describe the methods of `RecordedSpan`.
    """

    def set(self, **attributes: Any) -> None:
        """Set attributes; `__` in a name stands for a dot, and None and "" are left out."""

    def failed(self, kind: str) -> None:
        """Mark the span as failed, and set `kind` as the type of the error."""

    def replied(self, reply: Reply) -> None:
        """Record the reply of a model."""

    def answered(self, content: str, code: int) -> None:
        """Record the answer of a tool; an exit code other than 0 marks the call as failed."""


Traced: TypeAlias = "RecordedSpan | Unrecorded"


def start(notice: Callable[[str], None]) -> None:
    """Create the recorder of spans if traces are on; called at the beginning of each run.

    Args:
        notice: called with a message if traces cannot be recorded.
    """
    if not _tracing.wanted:
        return
    with _tracing.lock:
        try:
            if _tracing.recorder is None:
                from harness.support.trace_recorder import exporting

                use(exporting(_exporters(os.environ)))
        except Exception as exc:  # noqa: BLE001  a variable of the SDK may have an invalid value
            _tracing.wanted = False
            install = 'run `pip install "nanda-harness[otel]"`'
            notice(f"traces are not recorded: {install if isinstance(exc, ImportError) else exc}")


def use(provider: TracerProvider) -> None:
    """Record all later traces with this provider, even if no variable turns traces on."""
    from harness.support.trace_recorder import Recorder

    _tracing.recorder = Recorder(provider)
    _tracing.wanted = True


def end(notice: Callable[[str], None]) -> None:
    """Send the last spans before the program ends.

    Args:
        notice: called with a message if spans could not be sent.
    """
    if _tracing.recorder is not None:
        _tracing.recorder.end(notice)


def _span(name: str, **attributes: Any) -> AbstractContextManager[Traced]:
    """Return a context manager that records its block as a span; see `Recorder.span`."""
    recorder = _tracing.recorder
    return nullcontext(Unrecorded()) if recorder is None else recorder.span(name, **attributes)


def run(
    name: str, subcommand: str, door: str, run_id: int | None
) -> AbstractContextManager[Traced]:
    """Return a context manager that records its block as a run of a skill."""
    workflow = f"{name} {subcommand}".rstrip()
    return _span(
        f"invoke_workflow {workflow}",
        gen_ai__operation__name="invoke_workflow",
        gen_ai__workflow__name=workflow,
        nanda__run__id=run_id,
        nanda__run__door=door,
    )


def turn(session: int | None) -> AbstractContextManager[Traced]:
    """Return a context manager that records its block as a turn of a conversation.

    The model may call tools during the turn.
    """
    return _span(
        "invoke_agent chat",
        gen_ai__operation__name="invoke_agent",
        gen_ai__agent__name="chat",
        gen_ai__conversation__id=None if session is None else str(session),
    )


def tool(call: ToolCall) -> AbstractContextManager[Traced]:
    """Return a context manager that records its block as a call of a tool by a model."""
    return _span(
        f"execute_tool {call.name}",
        gen_ai__operation__name="execute_tool",
        gen_ai__tool__name=call.name,
        gen_ai__tool__type="function",
        gen_ai__tool__call__id=call.id,
        texts={"gen_ai__tool__call__arguments": call.arguments},
    )


def generation(served: ServedModel, request: Request) -> AbstractContextManager[Traced]:
    """Return a context manager that records its block as a request to a model.

    `replied` of the span records the reply.
    """
    recorder = _tracing.recorder
    return nullcontext(Unrecorded()) if recorder is None else recorder.generation(served, request)


def rows(perform: Callable[[T], R]) -> Callable[[T], R]:
    """Return a function that calls `perform` with a task, and traces the call (`Recorder.rows`).

    If traces are off, the result is `perform` itself.
    """
    return perform if _tracing.recorder is None else _tracing.recorder.rows(perform)


def evaluated(name: str, score: float | None, **attributes: Any) -> None:
    """Add an evaluation result to the current span, as an event."""
    if _tracing.recorder is not None:
        _tracing.recorder.evaluated(name, score, attributes)
