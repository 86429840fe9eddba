"""Start the program as a server: `agent.py mcp` for MCP clients, `agent.py acp` for editors."""

from __future__ import annotations

import gc
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.cli.app import App
from harness.errors import UsageError
from harness.runs.frontend import Frontend
from harness.settings import Settings
from harness.support.process import require


def serve_mcp(settings: Settings, general: Mapping[str, object], options: Sequence[str]) -> int:
    """Serve the skills to an MCP client until it closes stdin; return the exit code."""
    words = [*"".join(options[:1]).split("=", 1), *options[1:]]
    skills = words[1].replace(",", " ").split() if words[:-1] == ["--skills"] else []
    if options and not skills:
        raise UsageError(
            f"`mcp` cannot be started with {shlex.join(options)}",
            hint="`mcp` has only the option --skills NAME[,NAME ...]; general options go before "
            "`mcp`.",
        )
    require("mcp", extra="mcp")
    # Imported objects are never freed, so garbage collection is off during the imports. This saves
    # a tenth of the time that the client waits.
    gc.disable()
    from harness.mcp.skill_server import serve

    app = App(settings, Frontend("mcp", is_model=True), general=general)
    gc.freeze()
    gc.enable()
    if serve(app, skills):
        app.close()
    return 0


def serve_acp(settings: Settings, general: Mapping[str, object], options: Sequence[str]) -> int:
    """Serve an editor until it closes stdin; return the exit code.

    Each project folder has its own application.
    """
    if options:
        raise UsageError(
            f"`acp` cannot be started with {shlex.join(options)}",
            hint="`acp` has no options; general options go before `acp`.",
        )
    require("acp", extra="acp")
    from harness.acp.agent import serve

    # paths must be absolute, since a prompt changes the working folder
    names = "cache_dir", "data_dir", "config_dir", "user_registry"
    here = replace(settings, **{name: getattr(settings, name).absolute() for name in names})

    def make_app(project: Path) -> App:
        return App(replace(here, project_dir=project), Frontend("acp"), general=general)

    serve(make_app, here)
    return 0
