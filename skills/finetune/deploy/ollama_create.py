"""The stage `ollama`: create the model on a server from the Modelfile, and verify it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.terminal.console import Screen
from skills.finetune.deploy.ollama_api import Ollama, host_of
from skills.finetune.deploy.ollama_plan import check_version, make_plan
from skills.finetune.deploy.ollama_verify import verify
from skills.finetune.export.artifact_files import file_digest
from skills.finetune.run.run_dir import Done, RunDir
from skills.finetune.run.stage import Stage, StageContext


def _connect(context: StageContext) -> Ollama:
    return Ollama(host_of(getattr(context.call.options, "host", None)))


def _inputs(context: StageContext) -> Mapping[str, Any]:
    plan, entry = make_plan(context), context.run_dir.entry("ollama")
    with _connect(context) as ollama:
        version = ollama.version()
        check_version(version, plan)
        digest = ollama.digest(plan.model)
    # False if the model of an earlier run is gone, or was found faulty.
    stands = entry is None or (
        entry.facts.get("digest") == digest and bool(entry.facts.get("verified"))
    )
    request = plan.request(context.run_dir)
    return {"host": ollama.host, "version": version, "stands": stands, "create": request}


def _perform(context: StageContext) -> Done:
    plan, screen = make_plan(context), context.call.screen
    with _connect(context) as ollama:
        version = ollama.version()
        check_version(version, plan)
        paths = (*plan.files.values(), *plan.adapters.values())
        sent = sum(_send(ollama, context.run_dir, path, screen) for path in paths)
        _create(ollama, plan.request(context.run_dir), screen)
        with screen.progress("verifying"):
            found = verify(ollama, plan, version, context.framework)
        digest = ollama.digest(plan.model)
    for line in (*found.problems, *found.notes):
        screen.notice(f"ollama: {line}")
    facts = {
        "model": plan.model,
        "host": ollama.host,
        "version": version,
        "digest": digest,
        "sent_bytes": sent,
        "verified": not found.problems,
        "problems": found.problems,
        "notes": found.notes,
        **found.facts,
    }
    return Done([], facts)


def _send(ollama: Ollama, run_dir: RunDir, path: Path, screen: Screen) -> int:
    """Send a file unless the server has it; return the number of bytes sent."""
    sha256, size = file_digest(run_dir, path), path.stat().st_size
    if ollama.has_blob(sha256):
        screen.notice(f"ollama: the server already has {path.name}")
        return 0
    screen.notice(f"ollama: sending {path.name}, {size / 1e6:,.1f} MB")
    with screen.progress(f"sending {path.name}") as tick:
        ollama.send_blob(
            path, sha256, lambda sent: tick(f"{sent / 1e6:,.0f} of {size / 1e6:,.0f} MB")
        )
    return size


def _create(ollama: Ollama, request: dict[str, Any], screen: Screen) -> None:
    last = ""

    def on_status(status: str) -> None:
        nonlocal last
        tick(status)
        step = status.rstrip("0123456789%").strip()
        if step != last:  # the percentage changes many times a second
            screen.notice(f"ollama: {step}")
        last = step

    with screen.progress("creating the model") as tick:
        ollama.create(on_status, request)


STAGE = Stage("ollama", "create the model in Ollama, and verify it", _inputs, _perform)
