"""Where models run: the protocol of executors, and the one that loads them on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from harness.errors import HarnessError, ModelUnavailable
from harness.models.backends.base import Availability, Backend, Model
from harness.models.resolution import Candidate


class Executor(Protocol):
    """Probes and loads candidates: here, or on the nodes of a cluster.

    Everything else stays in this process, wherever the models run: which rows are due, retries,
    what is stored, and progress.
    """

    def probe(self, candidate: Candidate) -> Availability:
        """Return whether `candidate` could serve now.

        Raises:
            ClusterUnavailable: the cluster cannot be used for any candidate.
        """

    def load(self, candidate: Candidate, slots: int | None) -> Model:
        """Load `candidate`; see `Backend.load`.

        Raises:
            ClusterUnavailable: the cluster cannot be used for any candidate.
        """

    def close(self) -> None:
        """Free what the executor itself holds, after its models; may be called twice."""


class LocalExecutor:
    """Loads models with the backends of this process."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = backends

    def probe(self, candidate: Candidate) -> Availability:
        return probe(self._backends, candidate)

    def load(self, candidate: Candidate, slots: int | None) -> Model:
        return load(self._backends, candidate, slots)

    def close(self) -> None:
        """Free nothing: the models are all there is."""


def probe(backends: Mapping[str, Backend], candidate: Candidate) -> Availability:
    """Return whether one of these backends could serve `candidate` now."""
    backend = backends.get(candidate.serve.backend)
    if backend is None:
        return Availability(False, f"there is no backend {candidate.serve.backend!r}")
    try:
        return backend.probe(candidate.serve)
    except Exception as exc:  # noqa: BLE001  the backend of a plugin may raise anything
        return Availability(False, f"the probe failed: {type(exc).__name__}: {exc}")


def load(backends: Mapping[str, Backend], candidate: Candidate, slots: int | None) -> Model:
    """Load `candidate` with its backend.

    Raises:
        ModelUnavailable: it cannot be loaded, for any reason.
        ChecksumMismatch: a file does not match the SHA-256 in the registry.
    """
    try:
        return backends[candidate.serve.backend].load(candidate.serve, slots)
    except HarnessError:
        raise
    except Exception as exc:
        raise ModelUnavailable(f"cannot be loaded: {type(exc).__name__}: {exc}") from exc
