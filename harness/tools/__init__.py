"""The built-in tools of the chat model: files, commands, and questions to the user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.cli.app import App
    from harness.tools.builtin_tools import BuiltinTool


def tools_of(app: App) -> list[BuiltinTool]:
    """Return the built-in tools; `app` permits and logs their calls."""
    from harness.tools.builtin_tools import AskUser
    from harness.tools.file_tools import ListFiles, ReadFile, SearchFiles, WriteFile
    from harness.tools.run_command import Run

    tools = [ReadFile(app), ListFiles(app), SearchFiles(app), WriteFile(app), AskUser(app)]
    if os.name == "posix":  # other systems do not have process groups
        tools.insert(4, Run(app))
    return tools
