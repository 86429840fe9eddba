"""The address of a Ray cluster, and the part of the cluster that a job uses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from harness.errors import UsageError

LOCAL = "local"
"""The value of `--on` with which a job runs in this process."""
RAY_DATA = "ray-data"
"""The value of `--on` for a pipeline of Ray Data; with an address, it is ray-data://HOST:6379."""
_PLACE = re.compile(
    r"(?P<client>ray://)?(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})"
)


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a Ray cluster.

    Attributes:
        kind: "own" for a cluster that is started on this machine and stopped at the end; "client"
            for the port of Ray's client server; "node" for the port of the head, to which a process
            on a node of the cluster connects.
        host, port: the server; unused if `kind` is "own".
    """

    kind: Literal["own", "client", "node"]
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return "ray" if self.kind == "own" else f"{'ray://' * (self.kind == 'client')}{self.server}"

    @property
    def server(self) -> str:
        """The server as HOST:PORT."""
        return f"{self.host}:{self.port}"


def parse_address(text: str, given: str = "--on") -> Address | None:
    """Return the parsed address of a cluster, or None for "local", which is not a cluster.

    Args:
        given: the name of the option, variable or section that contains the text, for messages.

    Raises:
        UsageError: the text is not an address.
    """
    text = text.strip()
    if text == LOCAL:
        return None
    if text == "ray":
        return Address("own")
    found = _PLACE.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 65_536:
        raise UsageError(
            f"{given}: {text!r} is not a place where a job can run",
            hint="Write ray://HOST:10001, HOST:6379 (only on a node of the cluster), ray for a new "
            "cluster on this machine, or local. ray-data is only valid as `--on ray-data`.",
        )
    return Address("client" if found["client"] else "node", found["host"], int(found["port"]))


def ray_data(on: str) -> str | None:
    """Return ADDRESS if `on` is ray-data://ADDRESS; "" for ray-data and ray-data://local.

    The result is None for any other value of `--on`.

    Raises:
        UsageError: the text after "ray-data" is not an address.
    """
    name, _, place = on.strip().partition("://")
    if name != RAY_DATA:
        return None
    return str(parse_address(place) or "") if place else ""


@dataclass(frozen=True, slots=True)
class Placement:
    """A cluster, and the resources of the cluster that a job uses.

    Attributes:
        actors: number of actors, each with a loaded model; None for as many as fit on the nodes.
        slots: number of concurrent generations of each actor; if it is None, `RayExecutor.load`
            determines the number.
        cpus, gpus: the resources that each actor reserves; its model computes with `cpus` threads.
            If `cpus` is None, each actor reserves `node.CPUS` CPUs, or the CPUs of the smallest
            suitable node if this node has fewer CPUs.
    """

    address: Address
    actors: int | None = None
    slots: int | None = None
    cpus: int | None = None
    gpus: float = 0.0
