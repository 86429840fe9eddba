"""Kill a copy of this process, so that no Python cleanup runs."""

import os
import signal
from collections.abc import Callable


def kill() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def assert_killed(work: Callable[[], object]) -> None:
    """Run `work`, which calls `kill`, in a copy of this process."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)  # `kill` was not called; the fork must not run other tests
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
