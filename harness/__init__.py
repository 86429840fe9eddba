"""The harness: skills over local models, behind a command line and a session.

What the author of a plugin needs is importable from here; `harness.testing` has what the tests of
one need, and `harness.hookspecs` says what a plugin can be.
"""

from harness._version import __version__
from harness.backends.base import (
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
from harness.entries import ServeEntry
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
from harness.events import RunFinished, RunStarted
from harness.files import FileStore
from harness.formats import Format
from harness.hookspecs import (
    API_VERSION,
    RegisterBackend,
    RegisterFormat,
    RegisterFramework,
    RegisterSkill,
    hookimpl,
)
from harness.models import Models, ServedModel
from harness.screen import Screen
from harness.skills import Call, Result, Skill, SkillOptions

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
