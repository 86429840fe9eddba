"""The built-in tools of the chat model: files, commands, and questions to the user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.chat.tool_calls import Host
    from harness.tools.builtin_tools import BuiltinTool


def tools_of(host: Host) -> list[BuiltinTool]:
    """Return the built-in tools; `host` permits and logs their calls."""
    from harness.tools.builtin_tools import AskUser
    from harness.tools.file_tools import ListFiles, ReadFile, SearchFiles, WriteFile
    from harness.tools.run_command import Run

    tools = [ReadFile(host), ListFiles(host), SearchFiles(host), WriteFile(host), AskUser(host)]
    if os.name == "posix":  # other systems do not have process groups
        tools.insert(4, Run(host))
    return tools
