"""Reports the start and end of a run to the log and to listening plugins, in any case."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from harness.api.events import End, Listener, RunFinished, RunStarted, notify
from harness.api.skill import Call, Result
from harness.errors import HarnessError, InternalError, Interrupted, ReaderGone
from harness.runs.run_log import Run


@dataclass(slots=True)
class Recording:
    """A run in progress."""

    call: Call
    run: Run
    started: RunStarted
    listeners: Sequence[Listener]

    def finish(self, result: Result) -> None:
        """Close the run with its result."""
        if result.stopped is not None:
            self.fail(result.stopped)
        else:
            self._close("failed" if result.code else "done", result.code)

    def fail(self, error: HarnessError) -> None:
        """Close the run with the error that ended it."""
        stopped = isinstance(error, (Interrupted, ReaderGone))
        cause = error.__cause__
        self._close(
            "interrupted" if stopped else "failed",
            error.exit_code,
            error_type=type(error).__name__,
            error=str(error),
            raw_reply=error.reply or None,
            traceback="".join(traceback.format_exception(cause)) if cause else None,
        )

    def _close(self, status: End, exit_code: int, **error: str | None) -> None:
        usage, resolution = self.call.models.usage, self.run.resolution
        self.run.close(status, exit_code, usage, **error)
        finished = RunFinished(
            **asdict(self.started),
            status=status,
            exit_code=exit_code,
            seconds=round(time.monotonic() - self.run.started, 3),
            requested=resolution.requested if resolution else None,
            resolved=resolution.resolved if resolution else None,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            written=tuple(self.run.written),
            error_type=error.get("error_type"),
        )
        notify(self.listeners, "run_finished", finished, self.call.screen)


@contextlib.contextmanager
def recorded(recording: Recording) -> Iterator[Recording]:
    """Report the start of a run, and its end if the work raises.

    Raises:
        Interrupted: Ctrl-C; the call's `cancel` is set.
    """
    try:
        notify(recording.listeners, "run_started", recording.started, recording.call.screen)
        yield recording
    except KeyboardInterrupt as exc:
        recording.call.cancel.request_stop()
        recording.fail(Interrupted("interrupted"))
        raise Interrupted("interrupted") from exc
    except HarnessError as exc:
        recording.fail(exc)
        raise
    except Exception as exc:
        recording.fail(InternalError(exc))
        raise
