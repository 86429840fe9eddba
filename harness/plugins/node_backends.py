"""The backends of a node of a cluster, where no application runs."""

from __future__ import annotations

from collections.abc import Mapping

from harness.models.backends.base import Backend
from harness.models.weights import FileStore
from harness.plugins.catalogue import BUILT_IN
from harness.plugins.discovery import ENTRY_POINTS, BuiltinBackends
from harness.plugins.loader import PluginHost
from harness.plugins.locations import distribution, entry_points
from harness.settings import PLUGIN_DEADLINE


def node_backends(files: FileStore) -> Mapping[str, Backend]:
    """Return the backends that come with the harness, and those of installed packages."""
    host = PluginHost(files, deadline=PLUGIN_DEADLINE)
    host.load("backends", BUILT_IN, BuiltinBackends, ours=True)
    for point in entry_points(ENTRY_POINTS):
        host.load(point.name, distribution(point), point.load)
    return host.catalogue.backends
