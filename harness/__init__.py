"""The harness: skills over local models, behind a command line and a session.

What the author of a plugin needs is importable from here; `harness.testing` has what the tests of
one need, and `harness.api.hookspecs` says what a plugin can be.
"""

from harness._version import __version__
from harness.api.events import RunFinished, RunStarted
from harness.api.formats import Format
from harness.api.hookspecs import (
    API_VERSION,
    RegisterBackend,
    RegisterFormat,
    RegisterFramework,
    RegisterSkill,
    hookimpl,
)
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.errors import (
    ChecksumMismatch,
    DeadlineExceeded,
    GenerationFailed,
    HarnessError,
    InputError,
    Interrupted,
    InvalidReply,
    ModelBusy,
    ModelError,
    ModelUnavailable,
    NothingFound,
    OutputError,
    SkillFailed,
    UsageError,
)
from harness.models.backends.base import (
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
from harness.models.pool import Models, ServedModel
from harness.models.schema import ServeEntry
from harness.models.weights import FileStore
from harness.terminal.console import Screen

__all__ = [
    "API_VERSION",
    "Availability",
    "Backend",
    "Call",
    "ChecksumMismatch",
    "DeadlineExceeded",
    "FileStore",
    "FinishReason",
    "Format",
    "GenerationFailed",
    "HarnessError",
    "InputError",
    "Interrupted",
    "InvalidReply",
    "Message",
    "Model",
    "ModelBusy",
    "ModelError",
    "ModelUnavailable",
    "Models",
    "NothingFound",
    "OnText",
    "OutputError",
    "RegisterBackend",
    "RegisterFormat",
    "RegisterFramework",
    "RegisterSkill",
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
    "UsageError",
    "__version__",
    "hookimpl",
]
