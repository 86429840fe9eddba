"""Ray nodes on this machine, each with ports and processes of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from repository import ROOT, SUPPORT

OBJECT_STORE = 80_000_000
START_SECONDS = 90
PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process receives when its parent ends."""


class RayNodes:
    """A cluster: a head and other nodes, as `ray start` starts them.

    Attributes:
        token: the file with the token of the cluster.
        nodes: the process of each node, the head's first.
    """

    def __init__(self, cpus: int = 2) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rn"))
        self.token = self.folder / "token"
        self.token.write_text(secrets.token_hex(32))
        self.cpus = cpus
        self.port, self.client_port = free_port(), free_port()
        self.host = ""
        self.nodes: list[psutil.Process] = []
        write_plugin(self.folder / "plugin")

    @property
    def address(self) -> str:
        """HOST:PORT of the head, for `--on`."""
        return f"{self.host}:{self.port}"

    @property
    def client_address(self) -> str:
        return f"ray://{self.host}:{self.client_port}"

    @property
    def access(self) -> dict[str, str]:
        """The variables with which a process may use the cluster."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token)}

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the nodes, with this checkout and cluster_backend.py."""
        folders = (SUPPORT / name for name in ("annotate", "cluster", "curate"))
        code = [ROOT, SUPPORT, *folders, self.folder / "plugin"]
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("HARNESS_FAKE")},
            **self.access,
            "PYTHONPATH": os.pathsep.join(map(str, code)),
            "RAY_USAGE_STATS_ENABLED": "0",
            # Seconds after which a client connects again if the head has failed to fork its server.
            "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "12",
        }

    def start_head(self) -> None:
        ports = f"--port={self.port}", f"--ray-client-server-port={self.client_port}"
        self._start("--head", "--include-dashboard=false", "--disable-usage-stats", *ports)

    def add_node(self) -> psutil.Process:
        return self._start(f"--address={self.address}")

    def _start(self, *options: str) -> psutil.Process:
        log = self.folder / f"node{len(self.nodes)}.log"
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", *options]
        command += [f"--num-cpus={self.cpus}", f"--object-store-memory={OBJECT_STORE}"]
        command += ["--min-worker-port=0", "--max-worker-port=0"]
        command += [f"--dashboard-agent-listen-port={free_port()}"]
        if "--head" in options:
            command.append(f"--temp-dir={self.folder}")
        with log.open("w") as file:
            process = psutil.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        self.nodes.append(process)
        limit = time.monotonic() + START_SECONDS
        while "Ray runtime started" not in log.read_text(errors="replace"):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < limit, log.read_text(errors="replace")
            time.sleep(0.1)
        if not self.host:
            [line] = [one for one in log.read_text().splitlines() if "Local node IP" in one]
            self.host = line.rpartition(" ")[2]
        return process

    def workers(self, title: str) -> list[psutil.Process]:
        """Return the workers of all nodes whose title contains a text, such as "ray::NodeModel"."""
        found = []
        for node in self.nodes:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in node.children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        found += [child] * (title in " ".join(child.cmdline()))
        return found

    def kill(self, node: psutil.Process) -> None:
        """Kill all processes of a node at once, as if its machine were switched off."""
        for process in [*node.children(recursive=True), node]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        node.wait()

    def stop(self) -> None:
        """Stop all nodes; kill the processes that run after 3 s, since a head may take longer.

        Raises:
            AssertionError: a process is left.
        """
        started = [one for node in self.nodes for one in _family(node)]
        for node in reversed(self.nodes):
            with contextlib.suppress(psutil.NoSuchProcess):
                node.terminate()
        _, alive = psutil.wait_procs(started, timeout=3)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = psutil.wait_procs(alive, timeout=10)
        for node in self.nodes:
            node.wait(timeout=10)
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not alive, alive


def _end_with_parent() -> None:
    """Stop the node also if the tests are killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _family(node: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [node, *node.children(recursive=True)]
    return []


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def write_plugin(folder: Path) -> None:
    """Write the metadata with which cluster_backend.py counts as an installed plugin."""
    about = folder / "cluster_backend-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: cluster-backend\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[harness.skills]\nfake = cluster_backend\n")
