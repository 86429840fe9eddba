"""Run lines in `agent.py acp` as an editor does, and print each update of the session.

    python examples/acp_client.py "/annotate examples/papers.csv save to out/annotated.jsonl"

Needs `pip install "nanda-harness[acp]"`. Ctrl-C cancels the line; the same line continues it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import acp
from acp import schema

AGENT = Path(__file__).resolve().parent.parent / "agent.py"


class Printer:
    """A client that prints updates, and asks on the terminal for permissions."""

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        match update:
            case schema.AvailableCommandsUpdate(available_commands=commands):
                print("commands:", ", ".join(f"/{command.name}" for command in commands))
            case schema.AgentMessageChunk(content=schema.TextContentBlock(text=text)):
                print(text, end="", flush=True)
            case schema.AgentThoughtChunk(content=schema.TextContentBlock(text=text)):
                print(f"({text.strip()})")
            case schema.ToolCallStart() | schema.ToolCallProgress():
                texts = [one.content.text for one in update.content or () if one.type == "content"]
                print(f"[{update.tool_call_id}] {update.status} {update.title}", *texts, sep="\n")
            case _:
                print(f"\n({update.session_update})")

    async def request_permission(
        self, session_id: str, tool_call: Any, options: list[Any], **_: Any
    ) -> schema.RequestPermissionResponse:
        print(tool_call.title, *(block.content.text for block in tool_call.content or ()), sep="\n")
        for number, option in enumerate(options, start=1):
            print(f"  {number} {option.name}")
        given = await asyncio.to_thread(input, "Answer: ")
        if given.isdecimal() and 0 < int(given) <= len(options):
            chosen = options[int(given) - 1].option_id
            outcome = schema.AllowedOutcome(outcome="selected", option_id=chosen)
            return schema.RequestPermissionResponse(outcome=outcome)
        return schema.RequestPermissionResponse(outcome=schema.DeniedOutcome(outcome="cancelled"))


async def main(lines: list[str]) -> None:
    client: Any = Printer()
    agent = [sys.executable, str(AGENT), "acp"]
    streams = {"stderr": None, "limit": 10_000_000}
    started = acp.spawn_agent_process(client, *agent, env=os.environ, transport_kwargs=streams)
    async with started as (editor, _):
        await editor.initialize(protocol_version=acp.PROTOCOL_VERSION)
        session = (await editor.new_session(cwd=str(Path.cwd()))).session_id
        loop = asyncio.get_running_loop()
        cancel = lambda: loop.create_task(editor.cancel(session_id=session))  # noqa: E731
        loop.add_signal_handler(signal.SIGINT, cancel)
        for line in lines:
            answer = await editor.prompt(session_id=session, prompt=[acp.text_block(line)])
            print(f"\n{answer.stop_reason}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
