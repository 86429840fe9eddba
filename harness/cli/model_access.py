"""The registry of the current line, and the models that are loaded from it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import RegistryError
from harness.models.pool import ModelPool
from harness.models.resolution import Resolution
from harness.settings import Settings

if TYPE_CHECKING:
    from harness.models.backends.base import Backend
    from harness.models.registry import Registry


class ModelAccess:
    """Reads the registry and loads models, each on first use.

    Args:
        settings: returns those of the application.
        path: the registry that the user named; None for the one in the settings.
        backends: returns the backends by name.
        notice: receives one line for each registered model that is left out.

    Attributes:
        preferred: models by task, chosen with /model.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        path: Path | None,
        backends: Callable[[], Mapping[str, Backend]],
        notice: Callable[[str], None],
    ) -> None:
        self.path = path
        self.preferred: dict[str, str] = {}
        self._settings, self._backends, self._notice = settings, backends, notice
        self._registry: Registry | None = None
        self._pool: ModelPool | None = None

    @property
    def registry(self) -> Registry:
        """The registry.

        Raises:
            RegistryError: it cannot be used.
        """
        if self._registry is None:
            self._registry = self.read()
        return self._registry

    @property
    def pool(self) -> ModelPool:
        """The loaded models; its registry is read on first use."""
        if self._pool is None:
            self._pool = ModelPool(lambda: self.registry, self._backends(), self.preferred)
        return self._pool

    @property
    def last_resolution(self) -> Resolution | None:
        """The model in use, and why it was chosen."""
        return self._pool.last if self._pool is not None else None

    @property
    def settings(self) -> Settings:
        """The settings with the registry of the current line."""
        if self.path is None:
            return self._settings()
        return replace(self._settings(), user_registry=self.path, registry_required=True)

    @contextlib.contextmanager
    def switched(self, path: Path | None) -> Iterator[None]:
        """Change the path of the registry, unless the block raises RegistryError."""
        before, self.path = self.path, path
        try:
            yield
        except RegistryError:
            self.path = before
            raise

    def read(self) -> Registry:
        """Read the registry again; raises as `registry`."""
        from harness.models.registry import load

        settings, user = self.settings, self.settings.user_registry
        if settings.registry_required and not user.is_file():
            raise RegistryError("there is no such registry file", where=str(user))
        return load(settings.shipped_registry, user, left_out=self._leave_out)

    def _leave_out(self, error: RegistryError) -> None:
        self._notice(f"registered model left out: {error}")

    def use(self, registry: Registry) -> None:
        """Use another registry; loaded models are freed."""
        self.close()
        self._registry, self._pool = registry, None

    def close(self) -> None:
        """Free the loaded models."""
        if self._pool is not None:
            self._pool.close()
