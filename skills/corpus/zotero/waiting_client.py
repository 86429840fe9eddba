"""pyzotero's client, with waits that Ctrl-C ends; pyzotero's own timers outlive the command."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from pyzotero.zotero import Zotero  # type: ignore[import-untyped]

from harness.errors import SkillFailed
from harness.support.stopping.stop_token import StopToken

UNREADABLE_WAIT = 10.0
"""Seconds to wait if the server states a date."""
LONGEST_WAIT = 300.0
"""Seconds that the server may have us wait; if it states more, the command ends."""


class WaitingClient(Zotero):  # type: ignore[misc]
    """A client of one library.

    Args:
        kind: "user" or "group".
    """

    def __init__(self, number: str, kind: str, key: str, stop: StopToken) -> None:
        self._stop = stop
        super().__init__(number, kind, key)

    def _set_backoff(self, duration: Any) -> None:
        seconds = UNREADABLE_WAIT
        with contextlib.suppress(ValueError):
            seconds = float(duration)
        self.backoff = True
        self.backoff_duration = time.monotonic() + seconds

    def _check_backoff(self) -> None:
        if not self.backoff:
            return
        seconds = max(0.0, self.backoff_duration - time.monotonic())
        if seconds > LONGEST_WAIT:
            raise SkillFailed(
                f"Zotero's server allows no request for {seconds:,.0f} seconds",
                hint="Repeat the line later: what is done is kept.",
            )
        self._stop.wait(seconds)
        self._stop.check()
        self._reset_backoff()
