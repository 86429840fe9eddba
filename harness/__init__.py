"""The harness: skills over local models, behind a command line and a session.

What a skill's author needs is importable from here; `harness.testing` has what its tests need.
"""

from harness._version import __version__
from harness.backends.base import Message, Reply, Request
from harness.errors import (
    GenerationFailed,
    HarnessError,
    InputError,
    Interrupted,
    InvalidReply,
    ModelError,
    ModelUnavailable,
    NothingFound,
    OutputError,
    SkillFailed,
    UsageError,
)
from harness.hookspecs import hookimpl
from harness.models import ServedModel
from harness.skills import Call, Result, Skill, SkillOptions

__all__ = [
    "Call",
    "GenerationFailed",
    "HarnessError",
    "InputError",
    "Interrupted",
    "InvalidReply",
    "Message",
    "ModelError",
    "ModelUnavailable",
    "NothingFound",
    "OutputError",
    "Reply",
    "Request",
    "Result",
    "ServedModel",
    "Skill",
    "SkillFailed",
    "SkillOptions",
    "UsageError",
    "__version__",
    "hookimpl",
]
