"""The stage `ollama`: create the model on a server from the Modelfile, and verify it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.terminal.console import Screen
from skills.finetune.deploy.ollama_api import Ollama
from skills.finetune.deploy.ollama_plan import Plan, check_version, make_plan
from skills.finetune.deploy.ollama_verify import verify
from skills.finetune.export.artifact_files import file_digest
from skills.finetune.run.run_dir import Done, RunDir
from skills.finetune.run.stage import Stage, StageContext
from skills.nanda.forms import TaggedForm


@contextmanager
def _planned(context: StageContext) -> Iterator[tuple[Plan, Ollama, str]]:
    """Yield the plan, a server that accepts it, and the server's version."""
    plan = make_plan(context)
    with Ollama(getattr(context.call.options, "host", None)) as ollama:
        version = ollama.version()
        check_version(version, plan)
        yield plan, ollama, version


def _inputs(context: StageContext) -> Mapping[str, Any]:
    entry = context.run_dir.entry("ollama")
    with _planned(context) as (plan, ollama, version):
        digest = ollama.digest(plan.model)
    # False if the model of an earlier run is gone, or was found faulty.
    is_kept = entry is None or (
        entry.facts.get("digest") == digest and bool(entry.facts.get("verified"))
    )
    request = plan.request(context.run_dir)
    return {"host": ollama.host, "version": version, "stands": is_kept, "create": request}


def _perform(context: StageContext) -> Done:
    screen, run_dir = context.call.screen, context.run_dir
    with _planned(context) as (plan, ollama, version):
        paths = [path for path in (plan.file, plan.adapter) if path is not None]
        _check_consent(context, ollama.host, plan.model, paths)
        sent = sum(_send(ollama, run_dir, path, screen) for path in paths)
        _create(ollama, plan.request(run_dir), screen)
        with screen.progress("verifying"):
            prepared = run_dir.prepared_facts()
            form = TaggedForm(context.framework)
            found = verify(ollama, plan, version, form, prepared.get("template_sha256"))
        facts = {"digest": ollama.digest(plan.model), "sent_bytes": sent, **found}
    for line in (*found["problems"], *found["notes"]):
        screen.notice(f"ollama: {line}")
    return Done([], {"model": plan.model, "host": ollama.host, "version": version, **facts})


def _check_consent(context: StageContext, host: str, model: str, paths: Sequence[Path]) -> None:
    """Ask the user before a model is sent to a server that nobody has named.

    A server is named by --host, by an entry of the registry, or in the answer to an earlier
    question about this run. OLLAMA_HOST and the default port only state where to look.

    Raises:
        UsageError: the user refuses, or there is nobody to ask.
    """
    call, entry = context.call, context.run_dir.entry("ollama")
    places = [place for one in call.models.registry.models.values() for place in one.serve]
    ours = [place for place in places if place.backend == "ollama"]
    named = {_address(url) for place in ours for url in place.addresses}
    before = entry.facts.get("host") if entry else None
    if getattr(call.options, "host", None) or host in {*named, before}:
        return
    size = sum(path.stat().st_size for path in paths)
    question = f"Send {model} ({size / 1e6:,.1f} MB) to Ollama at {host}?"
    if call.confirm is None or not call.confirm(question):
        raise UsageError(
            f"{model} is not sent to Ollama at {host}, which nobody has named: `--host {host}` "
            "names it"
        )


def _address(url: str) -> str:
    with Ollama(url) as ollama:  # as the client completes it
        return ollama.host


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
