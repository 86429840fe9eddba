"""What the tests share: the embedded model, loaded once, and servers that generate with it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from hub_server import TOKEN, Hub, hub_server
from protocol_server import ProtocolServer
from ray_nodes import RayNodes
from repository import EMBEDDED

from harness import settings
from harness.errors import ModelUnavailable
from harness.models import registry
from harness.models.backend import Model
from harness.models.backends.llamacpp import LlamaCppBackend
from harness.models.weights import FileStore

TRAINING = ("torch", "transformers", "peft", "bitsandbytes", "llama_cpp_py_sync", "matplotlib")
E2E = Path(__file__).parent / "e2e"
MEMORY = Path("/dev/shm")
ENOUGH = 4 * 2**30
"""Bytes of memory; the folders of a whole run take less than one GB."""


def pytest_configure(config: pytest.Config) -> None:
    if config.option.markexpr != "train" and _has_room(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    _pin_worker()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return more workers than there are cores, since many tests wait for processes.

    Without the slow families, which have time limits or train, two workers share a core.
    """
    cores = os.cpu_count() or 1
    return min(2 * cores, cores + 4) if "slow" in config.option.markexpr else cores + 1


def _has_room(memory: Path) -> bool:
    """Return True if folders of tests fit into memory: on a disk, most of the time is fsync."""
    if not memory.is_dir() or not hasattr(os, "ST_NOEXEC"):
        return False
    found = os.statvfs(memory)
    free = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available)
    return free > ENOUGH and not found.f_flag & os.ST_NOEXEC


def _pin_worker() -> None:
    """Give each worker of pytest-xdist one core, so that threads of models do not compete."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in tests/e2e, and the tests that use a browser.

    The tests with the longest time limits are started first, so that all workers end together.
    """
    items.sort(key=lambda item: -_time_limit(item))
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
        if E2E in item.path.parents:
            item.add_marker("e2e")


def _time_limit(item: pytest.Item) -> float:
    """Return the seconds of the marker "timeout", or 0 without this marker."""
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what trains, or uses Ray, where the extra is not installed."""
    if item.get_closest_marker("train"):
        missing = [name for name in TRAINING if importlib.util.find_spec(name) is None]
        if missing:
            pytest.skip(f"needs the finetune extra: {', '.join(missing)} not installed")
    if item.get_closest_marker("ray") and importlib.util.find_spec("ray") is None:
        pytest.skip("needs the extra ray")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hugging Face Hub for which the user has a token, with an empty cache and without waits."""
    library = pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    from huggingface_hub import file_download
    from huggingface_hub.utils import _http

    monkeypatch.setattr(library.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(library.constants, "HF_HUB_DISABLE_XET", True)
    for module in (_http, file_download):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with hub_server() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running
        _http.close_session()


@pytest.fixture(scope="session")
def model_files() -> FileStore:
    """The shipped registry's files, in the user's cache (HARNESS_CACHE), base model fetched."""
    configured = settings.from_environment()
    shipped = registry.load(configured.shipped_registry)
    store = FileStore(shipped.files, configured.cache_dir, print)
    try:
        store.ensure(str(EMBEDDED.gguf))
    except ModelUnavailable as exc:
        reason = f"the embedded model can be neither found nor fetched: {exc}"
        if os.environ.get("CI"):  # in CI, a missing model fails the tests
            pytest.fail(reason)
        pytest.skip(reason)
    return store


@pytest.fixture(scope="session")
def embedded(model_files: FileStore) -> Iterator[Model]:
    """SmolLM2-135M-Instruct in this process, with a context of 2,048 tokens."""
    model = LlamaCppBackend(model_files).load(EMBEDDED)
    yield model
    model.close()


@pytest.fixture
def protocol_server(embedded: Model) -> Iterator[ProtocolServer]:
    """A server of both protocols that generates with the embedded model."""
    with ProtocolServer(embedded) as server:
        yield server


@pytest.fixture
def dead_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that leads every request to a proxy that nobody runs."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name.lower(), raising=False)
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def failing_server() -> Iterator[ProtocolServer]:
    """A server of both protocols for tests in which nothing is generated."""
    with ProtocolServer() as server:
        yield server


@pytest.fixture(scope="session")
def cluster() -> Iterator[RayNodes]:
    """Two nodes with two CPUs each, and the backend "fake" of cluster_backend.py."""
    nodes = RayNodes()
    try:
        nodes.start_head()
        nodes.add_node()
        yield nodes
    finally:
        nodes.stop()


@pytest.fixture
def access(cluster: RayNodes, monkeypatch: pytest.MonkeyPatch) -> RayNodes:
    """The cluster, with its token in the environment of this process."""
    from ray._raylet import AuthenticationTokenLoader, Config

    for name, value in cluster.access.items():
        monkeypatch.setenv(name, value)
    Config.initialize("")  # Ray reads the environment only at its import
    AuthenticationTokenLoader.instance().reset_cache()
    return cluster
