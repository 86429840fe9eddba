"""Rows of the run log for tools that are not skills."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import HarnessError, InternalError, Interrupted
from harness.models.served import Usage
from harness.runs.run_log import Run, RunLog, Status

if TYPE_CHECKING:
    from harness.api.options import GeneralOptions
    from harness.permissions.permissions import Permissions
    from harness.runs.frontend import Caller


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
    run.close("done", 0, Usage())
