"""What the framework's commands may see and change of the application they serve."""

from __future__ import annotations

from typing import Protocol

from harness.chat.skill import Chat
from harness.models.pool import ModelPool
from harness.plugins.catalogue import Catalogue
from harness.runs.run_log import RunLog


class Host(Protocol):
    """The application, as its own commands know it: `harness.cli.app.App`."""

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

    def disable(self, name: str) -> None:
        """Disable all that has this name, and read everything anew without it."""

    def enable(self, name: str) -> None:
        """Undo `disable`."""

    def names(self) -> frozenset[str]:
        """The names that plugins and skills have, as far as can be told without importing any."""
