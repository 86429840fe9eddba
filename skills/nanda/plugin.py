"""Register the built-in framework: `--framework nanda`."""

from __future__ import annotations

from pathlib import Path

from harness.api.hookspecs import RegisterFramework, hookimpl


@hookimpl
def register_frameworks(register: RegisterFramework) -> None:
    register("nanda", Path(__file__).with_name("nanda.yaml"))
