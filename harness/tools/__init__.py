"""The built-in tools of the chat model: files, commands, and questions to the user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.chat.tool_calls import Host
    from harness.tools.builtin_tools import BuiltinTool, OfferedTool


def tools_of(host: Host) -> list[OfferedTool]:
    """Return the built-in tools, which run for `host`."""
    from harness.tools.builtin_tools import AskUser, OfferedTool
    from harness.tools.file_tools import ListFiles, ReadFile, SearchFiles, WriteFile
    from harness.tools.run_command import Run

    tools: list[BuiltinTool] = [ReadFile(), ListFiles(), SearchFiles(), WriteFile(), AskUser()]
    if os.name == "posix":  # elsewhere there are no process groups
        tools.insert(4, Run())
    return [OfferedTool(tool, host) for tool in tools]
