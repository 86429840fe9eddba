"""Determine where the models of a run are loaded: in this process, or on a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from harness.api.options import ClusterOptions, cases_of
from harness.api.skill import Call, Skill
from harness.errors import UsageError
from harness.models.cluster.address import Address, Placement, parse_address
from harness.models.pool import ModelPool
from harness.models.registry import ClusterEntry
from harness.plugins.loader import node_backends

_OWN = {"actors", "slots", "cpus", "gpus"}


def placement(call: Call, skill: Skill, variant: str) -> Placement | None:
    """Return the cluster on which the models of a run are loaded, or None for this process.

    The options of the line take precedence over HARNESS_ON, and HARNESS_ON over the section
    `cluster` of the registry. The result is also None for a pipeline of Ray Data, which loads
    models itself (`data_placement`).

    Raises:
        UsageError: an address is invalid, or an option has no effect here.
    """
    options, cases = call.options, cases_of(skill, "on")
    if not isinstance(options, ClusterOptions) or (cases and variant not in cases):
        return None
    if options.ray_data is not None:
        if not getattr(skill.variants.get(variant, options), "takes_ray_data", False):
            raise UsageError(
                "--on ray-data does not apply here",
                hint="Ray Data writes a folder of parts: `/annotate TABLE save to FOLDER/ --on "
                "ray-data`. Other jobs run on a cluster with `--on ray`.",
            )
        return None
    address = _address(call, options.on)
    if address is None:
        if given := sorted(options.model_dump(include=_OWN, exclude_none=True)):
            raise UsageError(
                f"--{given[0]} goes with --on", hint="Add --on, for example `--on ray`."
            )
        return None
    return _placement(call, address)


def data_placement(call: Call) -> Placement:
    """Return the cluster for a pipeline of Ray Data; this process must run on one of the nodes.

    Raises:
        UsageError: the address is invalid, or is an address for Ray's client.
    """
    address = _address(call, call.options.ray_data) or Address("own")
    if address.kind == "client":
        raise UsageError(
            "Ray Data does not work through Ray's client",
            where=str(address),
            hint="Run the line on a node of the cluster, with `--on ray-data://HOST:6379`.",
        )
    return _placement(call, address)


def _address(call: Call, on: str | None) -> Address | None:
    default = call.models.registry.cluster
    places = {
        "--on": on,
        "HARNESS_ON": call.settings.on,
        "`cluster` in the registry": default and default.on,
    }
    return next((parse_address(text, given) for given, text in places.items() if text), None)


def _placement(call: Call, address: Address) -> Placement:
    """Return the placement on a cluster; options of the line override values of the registry."""
    default = call.models.registry.cluster or ClusterEntry()
    given = call.options.model_dump(include=_OWN, exclude_none=True)
    return Placement(address, **{**default.model_dump(include=_OWN, exclude_none=True), **given})


@contextlib.contextmanager
def placed(call: Call, found: Placement, *, quietly: bool = False) -> Iterator[None]:
    """In the block, load the models of a call on a cluster; stop the models at the end.

    Args:
        found: the cluster, and the options for loading models.
        quietly: True to omit all notices about the actors.
    """
    from harness.models.cluster.executor import RayExecutor

    here = call.models.pool
    notice = (lambda _: None) if quietly else call.screen.notice
    executor = RayExecutor(
        found, lambda: here.registry.files, node_backends, notice, call.cancel.check
    )
    pool = ModelPool(lambda: here.registry, here.backends, here.preferred, executor)
    call.models.pool, call.screen.rates = pool, executor.rates
    try:
        yield
    finally:
        pool.close()
        executor.close()
