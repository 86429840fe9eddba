"""What the framework's commands may see and change of the application they serve."""

from __future__ import annotations

from typing import Protocol

from harness.chat import Chat
from harness.models import ModelPool
from harness.plugins import Catalogue
from harness.runlog import RunLog


class Host(Protocol):
    """The application, as its own commands know it: `harness.app.App`."""

    chat: Chat
    run_log: RunLog

    @property
    def catalogue(self) -> Catalogue: ...

    @property
    def pool(self) -> ModelPool: ...

    def reload(self) -> None:
        """Read the registry and find the skills anew."""

    def trust(self, name: str) -> None:
        """Trust the project's plugin `name` as it is now, and load it."""
