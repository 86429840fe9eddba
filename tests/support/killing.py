"""A process that is killed in the middle of its work: nothing of Python's own ending runs in it."""

import os
import signal
from collections.abc import Callable


def kill() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def assert_killed(work: Callable[[], object]) -> None:
    """Do the work in a copy of this process, which `kill` ends in the middle of it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)  # it should not have come this far, and must not run the other tests
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
