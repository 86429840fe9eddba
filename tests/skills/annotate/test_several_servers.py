"""/annotate TABLE with a model on several servers; one dies within its answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from annotate_workspace import Annotator, Workspace, paper, write_table
from protocol_server import ProtocolServer

from harness.errors import ModelUnavailable
from harness.models.pool import Models
from harness.testing import temporary_registry
from skills.annotate import annotator
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

ROWS = 12


@pytest.fixture
def servers() -> Iterator[tuple[ProtocolServer, ProtocolServer]]:
    with ProtocolServer(Annotator()) as one, ProtocolServer(Annotator()) as other:
        yield one, other


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder; a job that repeats a row does not wait before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.runs.jobs.LONGEST_WAIT", 0.05)


def served_by(folder: Path, **addresses: Any) -> Workspace:
    entry = {"backend": "openai", "model": "smollm2:latest", "slots": 2, **addresses}
    with temporary_registry({"mine": {"tasks": ["annotate"], "serve": [entry]}}) as path:
        workspace = Workspace(folder, registry=path)
        assert workspace.app.registry.models
    write_table(workspace.table, *map(paper, range(ROWS)))
    return workspace


def urls(*servers: ProtocolServer) -> list[str]:
    return [f"{server.url}/v1" for server in servers]


@pytest.mark.parametrize("how", ["cut", "drop"])
def test_rows_of_a_server_that_dies_are_annotated_by_another(
    tmp_path: Path, servers: tuple[ProtocolServer, ProtocolServer], how: str
) -> None:
    servers[1].fail(how)
    workspace = served_by(tmp_path, urls=urls(*servers))
    outcome = workspace.annotate()
    summary = outcome.result.summary
    assert outcome.result.code == 0
    assert summary is not None
    assert (summary["done"], summary["failed"]) == (ROWS, 0)
    assert len(workspace.ids()) == ROWS
    assert f"{ROWS} papers to do, 4 at a time" in workspace.stderr
    assert workspace.stderr.count("server left out: ") == 1
    assert servers[1].url in workspace.stderr.partition("server left out: ")[2].partition("\n")[0]
    record = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert record["provenance"]["place"] == f"smollm2:latest at {', '.join(urls(*servers))}"
    assert record["provenance"]["attempts"] == 1


def test_without_servers_the_rows_remain(
    tmp_path: Path, servers: tuple[ProtocolServer, ProtocolServer]
) -> None:
    for server in servers:
        server.fail("drop")
    workspace = served_by(tmp_path, urls=urls(*servers))
    with pytest.raises(ModelUnavailable, match="no server serves smollm2") as caught:
        workspace.annotate()
    assert all(server.url in caught.value.message for server in servers)
    for server in servers:
        server.fail(None)
    outcome = workspace.annotate()
    assert outcome.result.summary is not None
    assert outcome.result.summary["done"] == ROWS


def test_keys_depend_neither_on_the_number_of_servers_nor_on_their_addresses(
    tmp_path: Path, servers: tuple[ProtocolServer, ProtocolServer]
) -> None:
    one, other = urls(*servers)
    found = set()
    for number, addresses in enumerate([{"url": one}, {"urls": [one, other]}, {"urls": [other]}]):
        folder = tmp_path / str(number)
        folder.mkdir()
        workspace = served_by(folder, **addresses)
        text = Paper("id", "1", "", paper(1)["abstract"])
        found.add(
            Models(workspace.app.pool).run(
                "annotate",
                lambda model, text=text: annotator.Annotator(model, nanda()).prepare(text).key,
            )
        )
    assert len(found) == 1


def test_models_states_how_many_servers_serve(
    tmp_path: Path, servers: tuple[ProtocolServer, ProtocolServer]
) -> None:
    workspace = served_by(tmp_path, urls=[*urls(*servers), "http://127.0.0.1:9/v1"])
    outcome = workspace.app.dispatch("/models")
    [mine] = [model for model in outcome.result.data["models"] if model["id"] == "mine"]
    assert mine["serve"][0]["available"]
    assert mine["serve"][0]["reason"].startswith("2 of 3 servers; ")
    assert "http://127.0.0.1:9/v1" in mine["serve"][0]["reason"]
