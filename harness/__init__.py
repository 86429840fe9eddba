"""A harness that runs skills with local models, from a command line or in a session.

A plugin can import every name that it needs from this module; `harness.testing` provides names for
tests, and `harness.api.hookspecs` lists the hooks of a plugin. The names are imported on first use,
so that the program starts quickly.
"""

import importlib
from typing import TYPE_CHECKING, Any

from harness._version import __version__

if TYPE_CHECKING:
    from harness.api.hookspecs import (
        API_VERSION,
        RegisterBackend,
        RegisterFormat,
        RegisterFramework,
        RegisterSkill,
        RunFinished,
        RunStarted,
        ToolFinished,
        ToolStarted,
        hookimpl,
    )
    from harness.api.result import Format
    from harness.api.skill import Call, Document, DocumentSource, Result, Skill, SkillOptions
    from harness.cli.app import App
    from harness.errors import (
        ChecksumMismatch,
        DeadlineExceeded,
        GenerationFailed,
        HarnessError,
        InputError,
        Interrupted,
        InvalidReply,
        LoopingReply,
        ModelBusy,
        ModelError,
        ModelUnavailable,
        NotAllowed,
        NothingFound,
        OutputError,
        RegistryError,
        SkillFailed,
        UsageError,
    )
    from harness.models.backend import (
        Availability,
        Backend,
        FinishReason,
        Message,
        Model,
        OnText,
        Reply,
        Request,
        Token,
        Tool,
        ToolCall,
    )
    from harness.models.pool import Models
    from harness.models.registry import ServeEntry
    from harness.models.served import ServedModel
    from harness.models.weights import FileStore
    from harness.runs.frontend import Frontend, Outcome
    from harness.terminal.console import Progress, Screen, render_markdown

__all__ = [
    "API_VERSION",
    "App",
    "Availability",
    "Backend",
    "Call",
    "ChecksumMismatch",
    "DeadlineExceeded",
    "Document",
    "DocumentSource",
    "FileStore",
    "FinishReason",
    "Format",
    "Frontend",
    "GenerationFailed",
    "HarnessError",
    "InputError",
    "Interrupted",
    "InvalidReply",
    "LoopingReply",
    "Message",
    "Model",
    "ModelBusy",
    "ModelError",
    "ModelUnavailable",
    "Models",
    "NotAllowed",
    "NothingFound",
    "OnText",
    "Outcome",
    "OutputError",
    "Progress",
    "RegisterBackend",
    "RegisterFormat",
    "RegisterFramework",
    "RegisterSkill",
    "RegistryError",
    "Reply",
    "Request",
    "Result",
    "RunFinished",
    "RunStarted",
    "Screen",
    "ServeEntry",
    "ServedModel",
    "Skill",
    "SkillFailed",
    "SkillOptions",
    "Token",
    "Tool",
    "ToolCall",
    "ToolFinished",
    "ToolStarted",
    "UsageError",
    "__version__",
    "hookimpl",
    "render_markdown",
]

_MODULES = (
    "errors",
    "models.backend",
    "api.hookspecs",
    "models.served",
    "models.pool",
    "models.weights",
    "models.registry",
    "terminal.console",
    "api.result",
    "api.skill",
    "runs.frontend",
    "cli.app",
)
"""The modules that define the exported names, with the slowest imports last."""


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            found = getattr(importlib.import_module(f"harness.{module}"), name, None)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
