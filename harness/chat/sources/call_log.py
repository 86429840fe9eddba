"""Rows of the run log for calls that are not runs of a skill."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import HarnessError, InternalError, Interrupted
from harness.models.backends.base import ToolCall
from harness.models.served import Usage
from harness.runs.run_log import WITHOUT_ASKING, Run, RunLog, Status

if TYPE_CHECKING:
    from harness.api.options import GeneralOptions
    from harness.permissions.permissions import Permissions
    from harness.runs.frontend import Caller

INVALID = 2_000
"""Characters of an invalid call that are recorded."""


class Host(Protocol):
    """What the tools need of an application; implemented by `harness.cli.app.App`.

    Attributes:
        run_log: log of the calls.
    """

    run_log: RunLog

    @property
    def caller(self) -> Caller:
        """Who the user's line is run for."""

    @property
    def current_general(self) -> GeneralOptions | None:
        """The general options of that line."""

    @property
    def permissions(self) -> Permissions: ...


@contextlib.contextmanager
def logged(host: Host, tool: str, line: str, options: Mapping[str, Any]) -> Iterator[Run]:
    """Record a call of a tool, and its end in any case.

    It ends as allowed without a question unless `Run.allow` is called.

    Raises:
        Interrupted: Ctrl-C.
        InternalError: the tool failed with another error than a HarnessError.
    """
    run = Run()
    if host.current_general is None or not host.current_general.no_log:
        run = host.run_log.start(door="model", line=line, skill=tool, options=options, job="")
    try:
        yield run
    except KeyboardInterrupt as exc:
        run.close("interrupted", Interrupted.exit_code, Usage())
        raise Interrupted("interrupted") from exc
    except HarnessError as error:
        kind, stopped = type(error).__name__, isinstance(error, Interrupted)
        status: Status = "interrupted" if stopped else "failed"
        run.close(status, error.exit_code, Usage(), error_type=kind, error=str(error))
        raise
    except Exception as exc:
        run.close("failed", 1, Usage(), error_type=type(exc).__name__, error=str(exc))
        raise InternalError(exc) from exc
    if not run.allowed:
        run.allow(WITHOUT_ASKING)
    run.close("done", 0, Usage())


@contextlib.contextmanager
def failures_logged(host: Host, tool: str, line: str, run: Run) -> Iterator[None]:
    """Record a call of a tool if the block raises an error before `run` has a row."""
    try:
        yield
    except HarnessError as error:
        if run.id is not None:
            raise
        with logged(host, tool, line, {}):
            raise error


def log_invalid(host: Host, call: ToolCall, error: HarnessError) -> None:
    """Record a call that is not run, since its arguments are invalid or the tool is unknown."""
    line = f"{call.name} {call.arguments}"[:INVALID]
    with contextlib.suppress(HarnessError), logged(host, call.name, line, {}):
        raise error
