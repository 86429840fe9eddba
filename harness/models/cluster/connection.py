"""Connect this process to a Ray cluster, and wait for the answers of the cluster."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import ClusterUnavailable, HarnessError, UsageError
from harness.models.cluster.address import Address
from harness.support.process import available_cores, remove_left_over, require

ANSWER_SECONDS = 10.0
"""Time limit in seconds for an answer from the address of a cluster."""
OBJECT_STORE = 100_000_000
"""Size in bytes of Ray's shared memory if this process starts Ray; requests need little memory."""
GRPC_METHODS = {
    "node": "/ray.rpc.NodeInfoGcsService/GetClusterId",
    "client": "/ray.rpc.RayletDriver/ClusterInfo",
}
"""The gRPC method that the port of a cluster answers immediately, by `Address.kind`."""
MAX_REASON = 400
"""Maximum number of characters of Ray's error message that are shown."""
ACCESS_HINT = (
    "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the token of the cluster "
    "(`ray get-auth-token` prints it on the head), here and on every node."
)
ENVIRONMENT = {
    # Otherwise, calls after a lost connection would start Ray on this machine.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    # GPUs remain visible to tasks that reserve no GPU, and Ray prints no tip about this setting.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "GRPC_VERBOSITY": "ERROR",
}
"""Environment variables that are set before Ray is imported, unless the user has set them."""
PREFIX = "nanda-"
"""Prefix of the name of Ray's temporary folder; short, since socket paths are limited to 107 bytes.
"""
_in_use = threading.Lock()
"""Held while this process has a connection, since a process can have only one connection."""
T = TypeVar("T")
TICK = 0.05
"""Interval in seconds at which `wait_for` and the methods of `Actors` call `check`."""
MAX_SHOWN = 300
"""Maximum number of characters of a line that `last_line` returns."""


class Connection:
    """The connection of this process to a cluster; functions of `ray` need an open connection."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._folder: Path | None = None
        self._is_open = False

    def open(self) -> None:
        """Connect to the cluster, or start Ray on this machine for the address "own".

        Raises:
            UsageError: Ray is not installed, or this process already has a connection.
            ClusterUnavailable: the address does not answer, the token is missing or wrong, or the
                cluster has another version of Ray or Python.
        """
        require("ray", "grpc", extra="ray")
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if not _in_use.acquire(blocking=False):
            raise UsageError("another line of this session runs on a cluster")
        self._is_open = True
        logging.getLogger("ray").setLevel(logging.ERROR)  # the harness reports the errors
        try:
            if self.address.kind != "own":
                _use_token()
                check_address(self.address)
            self._initialize()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Disconnect, and stop Ray if `open` started it. The method may be called twice."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            import ray

            with contextlib.suppress(Exception):  # the cluster may be unavailable
                ray.shutdown()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
        finally:
            _in_use.release()

    def _initialize(self) -> None:
        options: dict[str, Any] = {"address": str(self.address)}
        if self.address.kind == "own":
            self._folder = own_folder()
            # Ray's default niceness of 15 would make models slower than without Ray.
            os.environ.setdefault("RAY_worker_niceness", "0")
            options = {
                "address": "local",
                "num_cpus": available_cores(),
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE,
                "_temp_dir": str(self._folder),
            }
        import ray

        options |= {"log_to_driver": False, "logging_level": logging.ERROR}
        # `ray.init` replaces the handler of SIGTERM; the `finally` block restores the handler.
        handler = signal.getsignal(signal.SIGTERM)
        try:
            # The head starts a server for each client. This fails if another head has just taken
            # the port of the server, or sometimes if the head uses gRPC while it forks.
            for _ in range(2):
                with contextlib.suppress(ConnectionAbortedError):
                    ray.init(**options)
                    break
            else:
                ray.init(**options)
        except (HarnessError, KeyboardInterrupt):
            raise
        except Exception as exc:
            # Ray raises a RuntimeError if the cluster has another version of Ray or Python.
            versions = "Ray and Python must have the same versions here and on every node."
            hint = versions if isinstance(exc, RuntimeError) else None
            reason = " ".join(str(exc).split())[:MAX_REASON]
            raise ClusterUnavailable(
                f"Ray cannot connect: {reason}", where=str(self.address), hint=hint
            ) from exc
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)


def own_folder() -> Path:
    """Return a new temporary folder for Ray, after removing the folders of killed processes."""
    remove_left_over(Path(tempfile.gettempdir()), f"{PREFIX}*")
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))


def check_address(address: Address) -> None:
    """Check that Ray answers at the address within `ANSWER_SECONDS`, and accepts the token.

    `ray.init` would try for half a minute, and then raise the same error for a missing answer and
    for a refused token.

    Raises:
        ClusterUnavailable: the address does not answer, refuses the token, or belongs to another
            service of Ray; the message contains the address.
    """
    import grpc

    # `init_grpc_channel` uses the token and the certificates of Ray
    from ray._private.grpc_utils import init_grpc_channel

    with init_grpc_channel(address.server) as channel:
        call = channel.unary_unary(
            GRPC_METHODS[address.kind], request_serializer=bytes, response_deserializer=bytes
        )
        try:
            grpc.channel_ready_future(channel).result(timeout=ANSWER_SECONDS)
            call(b"", timeout=ANSWER_SECONDS)
        except grpc.FutureTimeoutError:
            reason = f"no Ray answers within {ANSWER_SECONDS:.0f} s"
            hint = "Check host and port, the firewall, and `ray status` on the head."
        except grpc.RpcError as exc:
            code = exc.code()
            if code is grpc.StatusCode.UNAUTHENTICATED:
                reason, hint = "the cluster refuses the token, or needs a token", ACCESS_HINT
            elif code is grpc.StatusCode.UNIMPLEMENTED:
                reason = "another service of Ray answers"
                hint = "ray:// needs the client port (10001), and HOST:PORT the head's port (6379)."
            elif code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                reason, hint = f"no Ray answers ({code.value[1]})", "Check host and port."
            else:
                return  # the port answers, with an error about the empty request
        else:
            return
    raise ClusterUnavailable(reason, where=str(address), hint=hint)


def _use_token() -> None:
    """Use the token that `ray start --head` stored for this user, unless RAY_AUTH_MODE is set.

    A head requires a token by default. Ray's commands use the stored token, but `ray.init` does
    not.

    Raises:
        ClusterUnavailable: the token cannot be read.
    """
    from ray._private.authentication.authentication_token_setup import (
        maybe_enable_token_auth_if_token_available,
    )
    from ray.exceptions import AuthenticationError

    try:
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    except AuthenticationError as exc:
        raise ClusterUnavailable("the token cannot be read", hint=ACCESS_HINT) from exc


def wait_for(future: Future[T], check: Callable[[], None], seconds: float = math.inf) -> T:
    """Wait for a future, and return its result.

    Args:
        check: called while waiting; may raise an error.

    Raises:
        TimeoutError: the future has no result within `seconds`.
        Exception: the exception of the future, or an error of `check`.
    """
    end = time.monotonic() + seconds
    while True:
        check()
        try:
            return future.result(TICK)
        except TimeoutError:
            if future.done():  # the work has just ended, or raised a TimeoutError itself
                return future.result()
            if time.monotonic() > end:
                raise


def last_line(exc: Exception) -> str:
    """Return the last line of an error's message, or the error's class if the message is empty.

    The earlier lines of an error of Ray are the traceback on the node.
    """
    lines = str(exc).strip().splitlines()
    return lines[-1][:MAX_SHOWN] if lines else type(exc).__name__
