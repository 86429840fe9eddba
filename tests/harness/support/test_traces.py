"""Traces: spans by the conventions, their sampling and their texts, and a collector."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import curate_workspace
import pytest
from evaluate_workspace import Workspace as EvaluateWorkspace
from local_http import Handler, local_server
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from harness import Call, GenerationFailed, Result, Skill
from harness.runs.jobs import Job
from harness.settings import CODE_ROOT
from harness.support import traces
from harness.support.stop_token import StopToken
from harness.testing import FakeModel, calling, fake_app, tool_call
from skills.curate import panel

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
SECRET = "a secret word"


class Spans:
    """The spans that a test has recorded."""

    def __init__(self, sampler: sampling.Sampler) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def named(self, beginning: str) -> list[ReadableSpan]:
        return [span for span in self.all if span.name.startswith(beginning)]

    def parent_of(self, span: ReadableSpan) -> str | None:
        names = {one.context.span_id: one.name for one in self.all}
        return names[span.parent.span_id] if span.parent else None


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of tracing, which the test may change."""
    monkeypatch.setattr(traces, "_tracing", traces._Tracing(False))


@pytest.fixture
def spans(state: None) -> Spans:
    recorded = Spans(sampling.DEFAULT_ON)
    traces.use(recorded.provider)
    return recorded


class Free(Skill):
    """A skill of a test."""

    name = "free"
    summary = "do it"
    text = "optional"

    def effects(self, options: object, subcommand: str) -> str:
        return ""

    def run(self, call: Call) -> Result:
        if call.text == "fail":
            raise GenerationFailed(f"it failed on {SECRET}")
        return Result(SECRET)


def converse(folder: Path, text: str = "") -> None:
    model = FakeModel(calling(tool_call("free", text=text)), f"Done: {SECRET}.", takes_tools=True)
    model.place = "http://127.0.0.1:1234/v1"
    fake_app(folder, model, Free()).dispatch(f"do it, {SECRET}")


def test_a_turn_has_its_generations_and_the_runs_of_its_calls(spans: Spans, tmp_path: Path) -> None:
    converse(tmp_path)
    tree = {(span.name, spans.parent_of(span)) for span in spans.all}
    assert tree == {
        ("invoke_workflow chat", None),
        ("invoke_agent chat", "invoke_workflow chat"),
        ("chat producer", "invoke_agent chat"),
        ("execute_tool free", "invoke_agent chat"),
        ("invoke_workflow free", "execute_tool free"),
    }
    assert len({span.context.trace_id for span in spans.all}) == 1
    [root] = spans.named("invoke_workflow chat")
    assert root.attributes["nanda.run.id"] == 1
    assert root.attributes["nanda.run.status"] == "done"
    first, second = (dict(span.attributes) for span in spans.named("chat"))
    assert first["gen_ai.operation.name"] == "chat"
    assert first["gen_ai.provider.name"] == "fake"
    assert first["gen_ai.request.model"] == "producer"
    assert (first["server.address"], first["server.port"]) == ("127.0.0.1", 1234)
    assert first["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert second["gen_ai.response.finish_reasons"] == ("stop",)
    assert second["gen_ai.usage.output_tokens"] == 4
    assert spans.named("chat")[0].kind.name == "CLIENT"
    [tool] = spans.named("execute_tool")
    assert tool.attributes["gen_ai.tool.type"] == "function"
    assert tool.attributes["gen_ai.tool.call.id"]


def test_errors_have_their_class_and_no_text(spans: Spans, tmp_path: Path) -> None:
    converse(tmp_path, text="fail")
    [tool], [inner] = spans.named("execute_tool"), spans.named("invoke_workflow free")
    assert inner.attributes["error.type"] == "GenerationFailed"
    assert inner.attributes["nanda.run.status"] == "failed"
    assert tool.attributes["error.type"] == f"exit_{GenerationFailed.exit_code}"
    assert not tool.status.is_ok


def test_texts_are_recorded_only_on_request(
    spans: Spans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converse(tmp_path, text="fail")
    assert SECRET not in "".join(span.to_json() for span in spans.all)
    spans.exporter.clear()
    monkeypatch.setenv(CONTENT, "true")
    traces.use(spans.provider)
    converse(tmp_path)
    first, second = (dict(span.attributes) for span in spans.named("chat"))
    [message] = json.loads(first["gen_ai.input.messages"])
    assert message["role"] == "user"
    assert SECRET in message["parts"][0]["content"]
    assert json.loads(first["gen_ai.system_instructions"])[0]["type"] == "text"
    _, called, answered = json.loads(second["gen_ai.input.messages"])
    assert called["parts"][-1]["name"] == "free"
    assert answered["parts"][0]["type"] == "tool_call_response"
    [answer] = json.loads(second["gen_ai.output.messages"])
    assert (answer["finish_reason"], SECRET in answer["parts"][0]["content"]) == ("stop", True)
    [tool] = spans.named("execute_tool")
    assert json.loads(tool.attributes["gen_ai.tool.call.arguments"]) == {"text": ""}
    assert SECRET in tool.attributes["gen_ai.tool.call.result"]


@pytest.mark.parametrize(
    ("sampler", "rows"), [(sampling.DEFAULT_ON, 20 + 9), (sampling.ALWAYS_ON, 1000)]
)
def test_a_part_of_the_rows_of_a_job_is_recorded(
    state: None, sampler: sampling.Sampler, rows: int
) -> None:
    spans = Spans(sampler)
    traces.use(spans.provider)

    def perform(number: int) -> int:
        with traces.tool(SimpleNamespace(name="inner", id="", arguments="")):  # type: ignore[arg-type]
            return number

    kept: list[int] = []
    with traces.run("annotate", "", "test", 7):
        job = Job[int, int](perform, lambda t, r: kept.append(r), lambda t, e: None, 3, StopToken())
        job.run(range(1000))
    assert sorted(kept) == list(range(1000))
    assert len(spans.named("row")) == len(spans.named("execute_tool inner")) == rows
    parents = {(span.name, spans.parent_of(span)) for span in spans.named("execute_tool inner")}
    assert parents == {("execute_tool inner", "row")}
    assert {span.context.trace_id for span in spans.all} == {spans.all[-1].context.trace_id}


def test_evaluate_and_curate_add_their_results(
    spans: Spans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    EvaluateWorkspace(tmp_path / "evaluate", 3).evaluate()
    [run] = spans.named("invoke_workflow evaluate")
    results = [dict(event.attributes) for event in run.events]
    assert {
        "gen_ai.evaluation.name": "kappa",
        "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.request.model": "producer",
    } in results
    monkeypatch.setattr(panel, "shipped", lambda: curate_workspace.PANEL)
    workspace = curate_workspace.Workspace(tmp_path / "curate")
    workspace.rows(1, 2)
    workspace.curate()
    votes = [event for span in spans.named("row") for event in span.events]
    assert {event.name for event in votes} == {"gen_ai.evaluation.result"}
    assert {event.attributes["gen_ai.evaluation.name"] for event in votes} == set(
        curate_workspace.PANEL.names
    )


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_environment_variables_turn_traces_on(variables: dict[str, str], wanted: bool) -> None:
    assert traces._is_wanted(variables) is wanted


@pytest.mark.usefixtures("state")
def test_without_the_package_one_notice_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "_tracing", traces._Tracing(True))
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    app = fake_app(tmp_path, FakeModel("Hello."))
    app.dispatch("hi")
    app.dispatch("hi")
    assert app.screen.err.getvalue().count('pip install "nanda-harness[otel]"') == 1


# The command, which sends traces to a collector


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    folders = {name: str(tmp_path / name) for name in ("HARNESS_DATA", "HARNESS_CONFIG")}
    known = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**known, **folders, "OLLAMA_HOST": "http://127.0.0.1:9"}


def annotate(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, CODE_ROOT / "agent.py", f"/annotate {CODE_ROOT}/examples/abstract.txt"],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=True,
    )


@pytest.fixture
def collector() -> Iterator[SimpleNamespace]:
    """A collector that decodes what it receives."""
    received: list[ExportTraceServiceRequest] = []

    class Collector(Handler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send(200, b"", {"Content-Type": "application/x-protobuf"})

    with local_server(Collector) as port:
        yield SimpleNamespace(url=f"http://127.0.0.1:{port}", received=received)


def test_a_collector_receives_the_spans_of_a_command(
    collector: SimpleNamespace, environment: dict[str, str], tmp_path: Path
) -> None:
    done = annotate(tmp_path, {**environment, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    assert json.loads(done.stdout)["claim"]
    [resource] = [one for request in collector.received for one in request.resource_spans]
    names = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert names["service.name"] == "nanda-harness"
    [scope] = resource.scope_spans
    child, root = scope.spans
    assert [child.name, root.name] == ["chat nanda-annotator", "invoke_workflow annotate"]
    assert child.parent_span_id == root.span_id
    assert child.trace_id == root.trace_id
    assert "traces" not in done.stderr


def test_the_console_exporter_writes_to_stderr(environment: dict[str, str], tmp_path: Path) -> None:
    done = annotate(tmp_path, {**environment, "OTEL_TRACES_EXPORTER": "console"})
    assert json.loads(done.stdout)["claim"]
    shown = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [one["name"] for one in shown] == ["chat nanda-annotator", "invoke_workflow annotate"]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, r"traces were not sent: .*refused"),
        (
            {"OTEL_TRACES_EXPORTER": "console", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"},
            r"traces are not recorded: .*many",
        ),
    ],
    ids=["dead collector", "invalid variable"],
)
def test_a_problem_with_traces_is_one_notice(
    variables: dict[str, str], message: str, environment: dict[str, str], tmp_path: Path
) -> None:
    done = annotate(tmp_path, {**environment, **variables})
    assert json.loads(done.stdout)["claim"]
    assert len(re.findall(message, done.stderr)) == 1
    assert len(re.findall("^traces ", done.stderr, re.M)) == 1
