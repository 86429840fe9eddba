"""The backends of a node of a cluster, where no application runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from harness import settings
from harness.models.backends.base import Backend
from harness.models.weights import FileStore
from harness.plugins.catalogue import BUILT_IN
from harness.plugins.discovery import ENTRY_POINTS, BuiltinBackends
from harness.plugins.loader import PluginHost
from harness.plugins.locations import distribution, entry_points
from harness.plugins.shipped import import_shipped, shipped_folders
from harness.settings import PLUGIN_DEADLINE


def node_backends(files: FileStore) -> Mapping[str, Backend]:
    """Return the backends of the program and its skills, and those of installed packages."""
    host = PluginHost(files, deadline=PLUGIN_DEADLINE)
    host.load("backends", BUILT_IN, BuiltinBackends, ours=True)
    shipped = settings.from_environment().shipped_skills
    for folder in shipped_folders(shipped):
        load = partial(import_shipped, shipped, folder.name)
        host.load(folder.name, BUILT_IN, load, ours=True)
    for point in entry_points(ENTRY_POINTS):
        host.load(point.name, distribution(point), point.load)
    return host.catalogue.backends
