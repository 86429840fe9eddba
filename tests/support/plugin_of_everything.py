"""A third-party plugin with all hooks, valid under `mypy --strict`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event
from typing import IO, Any, ClassVar, Literal

from pydantic import Field

from harness import (
    Availability,
    Call,
    FileStore,
    Format,
    Message,
    Model,
    NotAllowed,
    OnText,
    RegisterBackend,
    RegisterFormat,
    RegisterFramework,
    RegisterSkill,
    Reply,
    Request,
    Result,
    RunFinished,
    RunStarted,
    ServedModel,
    ServeEntry,
    Skill,
    SkillOptions,
    ToolFinished,
    ToolStarted,
    UsageError,
    hookimpl,
)

harness_api = "1.0"


class Ask(Skill):
    """Sends the text to the model with a tone."""

    name = "ask"
    summary = "Ask the model in a tone"
    saves = (".txt",)

    class Options(SkillOptions):
        tone: Literal["kind", "curt"] = Field("kind", description="how to answer")

    def run(self, call: Call) -> Result:
        if call.text.isspace():
            raise UsageError("there is nothing to ask")

        def answer(model: ServedModel) -> str:
            messages = (Message("system", call.options.tone), Message("user", call.text))
            return model.generate(model.request(messages=messages, max_tokens=64)).text

        text = call.models.run("chat", answer)
        data = {"id": "1", "title": text}
        return Result(text, data, renderers={".txt": lambda: text + "\n"})


class ParrotModel:
    """Repeats the last message."""

    takes_grammar = False
    takes_tools = False
    slots = 1
    context: int | None = None
    digests: Mapping[str, str] = {}

    def generate(
        self, request: Request, on_text: OnText | None = None, cancel: Event | None = None
    ) -> Reply:
        text = request.messages[-1].content
        if on_text is not None:
            on_text(text)
        return Reply(text, "stop", 1, 1, 0.0)

    def count_tokens(self, request: Request) -> int:
        return 1

    def close(self) -> None:
        pass


class Parrot:
    """A backend without requirements."""

    name = "parrot"

    def probe(self, entry: ServeEntry) -> Availability:
        return Availability(True)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> Model:
        return ParrotModel()


class OrgMode(Format):
    suffix = ".org"
    summary = "headings for Org mode"

    def write(self, records: Iterator[Any], file: IO[bytes]) -> None:
        for record in records:
            key = record.get("arxiv_id") or record.get("paper_id") or record["id"]
            file.write(f"* {record['title']}\n  {key}\n".encode())


class Listener:
    """Collects events."""

    told: ClassVar[list[RunStarted]] = []


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Ask())


@hookimpl
def register_backends(register: RegisterBackend, files: FileStore) -> None:
    register(Parrot())


@hookimpl
def register_frameworks(register: RegisterFramework) -> None:
    register("two-moves", Path(__file__).with_name("two_moves.yaml"))


@hookimpl
def register_formats(register: RegisterFormat) -> None:
    register(OrgMode())


@hookimpl
def run_started(run: RunStarted) -> None:
    Listener.told.append(run)


@hookimpl
def run_finished(run: RunFinished) -> None:
    Listener.told.append(run)


@hookimpl
def before_tool(call: ToolStarted) -> str | None:
    if call.tool == "run" and "sudo" in call.line:
        raise NotAllowed("this project never needs sudo")
    return None


@hookimpl
def after_tool(call: ToolFinished) -> str | None:
    return "this file is generated" if "generated" in call.result else None
